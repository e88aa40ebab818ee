"""Which value counts: defaults, then the file, the environment (VCB_NAME), the command line; the last one wins."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config.document import Document, open_document
from engine.config.finding import Finding
from engine.config.option_types import nearest
from engine.config.options import OPTIONS, Origin, Settings, read_value
from engine.config.spelling import spelling
from engine.errors import ConfigError

ENVIRONMENT_PREFIX = "VCB_"
_NOT_OPTIONS = frozenset({"VCB_CONFIG", "VCB_STATE_DIR"})
_MOST_SHOWN = 20


@dataclass
class _Gathering:
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def take(self, name: str, value: object, origin: Origin, base: Path) -> None:
        """Reads one value; a bad one becomes a finding, so that all of them are told at once."""
        place = str(origin.file) if origin.file else f"{origin.kind} {_outer_name(name, origin)}"
        try:
            self.values[name] = read_value(name, value, base)
            self.origins[name] = origin
        except ConfigError as error:
            rule = "value" if name in OPTIONS else "unknown-option"
            self.findings.append(
                Finding(rule, "error", error.sentence, (name,), file=place, line=origin.line, column=origin.column)
            )


def load(file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Settings:
    """The settings in effect.

    `file` ends with .js (VCB's config.js) or .toml; `overrides` are the command line's, by option name. Relative
    paths in a file start at its directory. Raises ConfigError for everything that is wrong, all of it in one error
    whose `file`, `line` and `column` are those of the first; what is only odd stays in `Settings.findings`.
    """
    gathering = _Gathering()
    if file is not None:
        _from_document(gathering, open_document(file))
    _from_outside(gathering, environ, overrides)
    errors = [finding for finding in gathering.findings if finding.severity == "error"]
    if errors:
        raise error_of(errors)
    warnings = tuple(finding for finding in gathering.findings if finding.severity == "warning")
    return Settings(gathering.values, gathering.origins, warnings, file)


def settings_of(document: Document, environ: Mapping[str, str]) -> Settings:
    """The settings as `document` and the environment say them, for a check: a value that cannot be read keeps its
    default, and `Settings.findings` has everything, errors and notes as well."""
    gathering = _Gathering()
    _from_document(gathering, document)
    _from_outside(gathering, environ, {})
    return Settings(gathering.values, gathering.origins, tuple(gathering.findings), Path(document.file))


def _from_outside(gathering: _Gathering, environ: Mapping[str, str], overrides: Mapping[str, str]) -> None:
    for name, value in _from_environment(environ):
        gathering.take(name, value, Origin("environment"), Path.cwd())
    gathering.findings += _misspelt_environment(environ)
    for name, value in overrides.items():
        if name in OPTIONS and OPTIONS[name].secret:
            gathering.findings.append(_secret_in_arguments(name))
            continue
        gathering.take(name, value, Origin("command line"), Path.cwd())


def error_of(findings: list[Finding]) -> ConfigError:
    """One error that tells them all: a single one in a sentence, several as a list with a line each."""
    first = findings[0]
    if len(findings) == 1:
        return ConfigError(first.text, file=first.file, line=first.line, column=first.column, hint=first.fix)
    shown = [f"  {finding}" + (f" ({finding.fix})" if finding.fix else "") for finding in findings[:_MOST_SHOWN]]
    if len(findings) > _MOST_SHOWN:
        shown.append(f"  and {len(findings) - _MOST_SHOWN} more")
    error = ConfigError("\n".join([f"{len(findings)} errors in the configuration:", *shown]))
    error.file, error.line, error.column = first.file, first.line, first.column
    return error


def _from_document(gathering: _Gathering, document: Document) -> None:
    file = Path(document.file)
    gathering.findings += [*document.findings(), *spelling(document)]
    for name, entry in document.values().items():
        if name in OPTIONS:
            gathering.take(name, entry.value, Origin("file", file, entry.line, entry.column), file.absolute().parent)
    gathering.findings.sort(key=lambda finding: (finding.line, finding.column))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in OPTIONS:
        value = environ.get(ENVIRONMENT_PREFIX + name)
        if value is not None:
            yield name, value


def _misspelt_environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that look like an option of ours but are none; foreign VCB_ variables are left in peace."""
    for variable in environ:
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in OPTIONS or variable in _NOT_OPTIONS:
            continue
        if guess := nearest(name, list(OPTIONS)):
            text = f"the environment variable {variable} names no option{guess.replace('mean ', 'mean VCB_')}"
            yield Finding("environment", "warning", text, fix=f"unset {variable}, or correct it")


def _outer_name(name: str, origin: Origin) -> str:
    return ENVIRONMENT_PREFIX + name if origin.kind == "environment" else name


def _secret_in_arguments(name: str) -> Finding:
    text = f"{name} cannot be given on the command line: every user of this machine sees it there (CVE-2008-2101)"
    return Finding("secret-argument", "error", text, (name,), fix="use PASSWORD_FILE, the keyring, or the prompt")


def default_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file that is read when none is named: $VCB_CONFIG, else vcb.toml or config.js in the user's, then in the
    machine's configuration directory (~/.config/vcb, /etc/xdg/vcb on Debian)."""
    if named := environ.get("VCB_CONFIG"):
        return Path(named)
    candidates = (directory / name for directory in config_directories() for name in ("vcb.toml", "config.js"))
    return next((path for path in candidates if path.is_file()), None)


def config_directories() -> list[Path]:
    """Where configuration files are looked for, the user's own directory first."""
    import platformdirs  # noqa: PLC0415 - only here

    return [platformdirs.user_config_path("vcb"), platformdirs.site_config_path("vcb"), Path("/etc/vcb")]

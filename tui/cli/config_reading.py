"""vcb config check, show, diff and history: commands that change nothing."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from engine.config.check import check as findings_of
from engine.config.document import Document, open_document
from engine.config.effective import default_file, load
from engine.config.masking import masked
from engine.config.options import OPTIONS, Settings
from engine.errors import ConfigError
from engine.secret import MASK, redact
from tui.cli.findings_view import finding_lines, summary
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.screen import Screen
from tui.figures import clean

ConfigFile = Annotated[
    Path | None, Parameter(name="FILE", help="The file; without it the one that every command reads (see --config).")
]
_NAME_WIDTH = max(map(len, OPTIONS))


def file_or_default(file: Path | None) -> Path:
    """The named file, else the one in effect. Raises ConfigError where there is none."""
    found = file or default_file(os.environ)
    if found is None:
        raise ConfigError("there is no configuration file in its usual places", hint="Name one.")
    return found


def check(file: ConfigFile = None, /, *, json: JsonFlag = False) -> int:
    """Tell everything that is wrong or odd in a configuration file, its values, and what they need of this machine.

    VCB_* variables of the environment count as they do in a run. Exit code: 0 without errors, 2 with.
    """
    screen = Screen(as_json=json)
    document = open_document(file_or_default(file))
    findings = findings_of(document, os.environ)
    for finding in findings:
        source = document.line if finding.file in ("", document.file) else lambda number: ""
        screen.show(finding_lines(finding, source, screen.width, screen.console if screen.live else None))
    screen.line(f"{document.file}: {summary(findings)}")
    errors = sum(finding.severity == "error" for finding in findings)
    told = [
        finding.to_json() | {"text": redact(finding.text), "source": masked(document.line(finding.line))}
        for finding in findings
    ]
    code = 2 if errors else 0
    screen.result({"file": document.file, "errors": errors, "findings": told, "exit_code": code})
    return code


def show(
    file: ConfigFile = None,
    /,
    *,
    origin: Annotated[bool, Parameter(negative=(), help="Say where each value comes from.")] = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Show the settings in effect: the default, else the file's, the environment's (VCB_NAME), the command line's.

    Never shows a password.
    """
    screen = Screen(as_json=json)
    if file and not common:
        settings = load(file, os.environ, {})
    else:
        settings = unchecked_settings(replace(common, config=file) if file else common)
    section = ""
    for name, option in OPTIONS.items():
        if option.section != section:
            section = option.section
            screen.line(f"{section}:", "dim")
        screen.line(_row(settings, name, origin))
    screen.result({"file": str(settings.file or ""), "settings": {name: _setting(settings, name) for name in OPTIONS}})
    return 0


def _row(settings: Settings, name: str, with_origin: bool) -> Text:
    kind = settings.origin(name).kind
    value = clean(OPTIONS[name].text(settings.value_of(name))) or "-"
    unit = f" {OPTIONS[name].unit}" if OPTIONS[name].kind == "number" and OPTIONS[name].unit else ""
    row = Text.assemble(f"  {name:<{_NAME_WIDTH}}  ", (value + unit, "dim" if kind == "default" else "bold"))
    if with_origin:
        row.append(f"  ({clean(str(settings.origin(name)))})", "cyan" if kind != "default" else "dim")
    return row


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    origin = settings.origin(name)
    option = OPTIONS[name]
    return {
        "value": option.text(settings.value_of(name)),
        "default": option.text(option.default),
        "unit": option.unit,
        "origin": origin.kind,
        "file": str(origin.file or ""),
        "line": origin.line,
    }


def diff(file: Path, other: Path | None = None, /, *, json: JsonFlag = False) -> int:
    """Compare two files option by option, whatever their form; or show what the last save of one file changed.

    A password is compared, and not shown. The exit code is 0 whether they differ or not.

    Parameters
    ----------
    file
        The file to look at.
    other
        The file to compare it with.
    """
    screen = Screen(as_json=json)
    if other is None:
        lines = _last_change(file)
        screen.show(diff_line(line) for line in lines)
        if not lines:
            screen.line(f"{file} is as it was before its last save, or was never saved by vcb.")
        screen.result({"file": str(file), "diff": lines, "different": bool(lines)})
        return 0
    rows = _differences(open_document(file), open_document(other))
    for name, mine, theirs in rows:
        screen.line(Text(name, "bold"))
        screen.line(Text(f"  - {clean(_shown(mine))}", "red"))
        screen.line(Text(f"  + {clean(_shown(theirs))}", "green"))
    screen.line(f"{len(rows)} of the options differ." if rows else "Both say the same.")
    told = [{"option": name, "file": mine, "other": theirs} for name, mine, theirs in rows]
    screen.result({"file": str(file), "other": str(other), "options": told, "different": bool(rows)})
    return 0


def diff_line(line: str) -> Text:
    style = {"+": "green", "-": "red", "@": "cyan", "\\": "dim"}.get(line[:1], "")
    return Text(clean(line), style)


def _shown(value: str | None) -> str:
    return "(not set)" if value is None else value or '""'


def _differences(mine: Document, other: Document) -> list[tuple[str, str | None, str | None]]:
    """(name, value here, value there) where the two say different things; None is "not set"."""
    here, there = mine.values(), other.values()
    rows: list[tuple[str, str | None, str | None]] = []
    for name in dict.fromkeys([*OPTIONS, *here, *there]):
        left = here[name].value if name in here else None
        right = there[name].value if name in there else None
        if (left is None and right is None) or (left is not None and right is not None and _same(name, left, right)):
            continue
        secret = name not in OPTIONS or OPTIONS[name].secret
        rows.append((name, MASK, MASK) if secret else (name, left, right))
    return rows


def _same(name: str, left: str, right: str) -> bool:
    """Whether two texts mean the same value: 2 MiB and 2097152 do."""
    option = OPTIONS.get(name)
    try:
        return left == right or (option is not None and option.read(left, Path()) == option.read(right, Path()))
    except ValueError:
        return False


def _last_change(file: Path) -> list[str]:
    from engine.config.difference import unified  # noqa: PLC0415 - history and diff are not for check
    from engine.config.history import History  # noqa: PLC0415
    from engine.config.saving import read  # noqa: PLC0415

    data, base = read(file)
    kept = History(base.real)
    here = kept.current(data)
    before = kept.undo_target(here) if here else kept.last_saved()
    return unified(before.data, data, file) if before else []


def history(file: ConfigFile = None, /, *, json: JsonFlag = False) -> int:
    """List the saved versions of a file, the oldest first; the arrow is at the one that the file is now."""
    from engine.config.history import History  # noqa: PLC0415 - not for check
    from engine.config.saving import read  # noqa: PLC0415

    screen = Screen(as_json=json)
    path = file_or_default(file)
    data, base = read(path)
    kept = History(base.real)
    here = kept.current(data) if base.exists else None
    rows = []
    for version in kept.versions():
        current = here is not None and version.number == here.number
        when = f"{version.at.astimezone():%Y-%m-%d %H:%M:%S}"
        arrow, size = "->" if current else "  ", len(version.data)
        screen.line(f"{arrow} {version.number:>4}  {when}  {size:>6} bytes  {version.what}", "bold" if current else "")
        rows.append(
            {
                "version": version.number,
                "at": version.at.isoformat(),
                "what": version.what,
                "sha256": version.sha256,
                "from": version.parent,
                "current": current,
            }
        )
    if not rows:
        screen.line(f"vcb has not saved {path} yet.")
    elif here is None:
        screen.line(f"{path} was changed by another program since.", "yellow")
    screen.result({"file": str(path), "versions": rows})
    return 0

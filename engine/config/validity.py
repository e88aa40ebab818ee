"""Whether a configuration may be saved: the errors that lie in the file itself.

A file need not be complete (the environment and the command line add to it), and what the machine is like today (a
directory that is missing, a mode) forbids a run, not a save. `engine.config.check` tells all of that.
"""

from pathlib import Path
from typing import Any

from engine.config import configjs, toml_file
from engine.config.finding import Finding
from engine.config.options import OPTIONS, Origin, Settings, read_value
from engine.config.rules import check_rules
from engine.errors import ConfigError

_OF_THE_RUN = frozenset({"mandatory", "password-readable", "sspi"})


def errors_of(data: bytes, file: Path) -> list[Finding]:
    """Errors of the text, of single values and between options, in the order of the file. Raises ConfigError when the
    name of the file does not say what it is."""
    entries, found = _read(data, file)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name, (value, origin) in entries.items():
        try:
            values[name] = read_value(name, value, file.absolute().parent)
            origins[name] = origin
        except ConfigError as error:
            rule = "value" if name in OPTIONS else "unknown-option"
            place = {"file": str(file), "line": origin.line, "column": origin.column}
            found.append(Finding(rule, "error", error.sentence, (name,), **place))
    found += check_rules(Settings(values, origins, file=file))
    errors = [finding for finding in found if finding.severity == "error" and finding.rule_id not in _OF_THE_RUN]
    return sorted(errors, key=lambda finding: (finding.line, finding.column))


def _read(data: bytes, file: Path) -> tuple[dict[str, tuple[object, Origin]], list[Finding]]:
    suffix = file.suffix.lower()
    if suffix == ".js":
        script = configjs.parse(data, file)
        assignments = script.effective().items()
        origins = {name: Origin("file", file, item.line, item.value_token.column) for name, item in assignments}
        return {name: (item.value, origins[name]) for name, item in assignments}, list(script.findings)
    if suffix == ".toml":
        table, findings = toml_file.parse(data, file)
        return {name: (value, Origin("file", file, line)) for name, (value, line) in table.items()}, findings
    raise ConfigError('the name of a configuration file ends with ".js" (VCB\'s config.js) or ".toml"', file=str(file))

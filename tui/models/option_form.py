"""The option table as a form: sections and rows, with value, origin and findings, drawn from an OpenConfig."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.config.finding import Finding, Severity
from engine.config.option_types import ChoiceListOption, ChoiceOption, Option
from engine.config.options import OPTIONS
from engine.secret import redact
from engine.transport.modes import MODES
from tui.models.open_config import OpenConfig


class Row(msgspec.Struct, frozen=True):
    """One option, or the title of a section (`name` is empty).

    `value` is the effective one, never a secret. `unreadable`: the file says something that is no value, and `value` is
    what it says. `origin` is default, the place in the file as line number, environment or command line.
    """

    section: str
    name: str = ""
    value: str = ""
    origin: str = ""
    is_default: bool = True
    changed: bool = False
    unreadable: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity | None:
        kinds = {finding.severity for finding in self.findings}
        return "error" if "error" in kinds else "warning" if "warning" in kinds else "note" if kinds else None


def rows(config: OpenConfig, wanted: str = "") -> list[Row]:
    """The form's lines. `wanted` keeps the options whose name holds all of its words, or whose help does."""
    words = wanted.upper().split()
    found: list[Row] = []
    section = ""
    for name, option in OPTIONS.items():
        if not all(word in name or word in option.section.upper() for word in words):
            continue
        if option.section != section:
            section = option.section
            found.append(Row(section))
        found.append(_row(config, option))
    return found


def _row(config: OpenConfig, option: Option[Any]) -> Row:
    name = option.name
    origin = config.settings.origin(name)
    findings = tuple(finding for finding in config.findings if name in finding.options)
    entry = config.values.get(name)
    unreadable = entry is not None and any(f.rule_id == "value" and f.line == entry.line for f in findings)
    text = option.text(config.settings.value_of(name))
    if option.secret:
        text = "set, not shown" if config.settings.value_of(name) or (entry and entry.value) else ""
    elif unreadable and entry:
        text = redact(entry.value)
    elif option.kind == "number" and option.unit:
        text = f"{text} {option.unit}"
    return Row(
        section=option.section,
        name=name,
        value=text,
        origin=f"line {origin.line}" if origin.file else f"line {entry.line}" if unreadable and entry else origin.kind,
        is_default=origin.kind == "default" and not unreadable,
        changed=name in config.changed_names,
        unreadable=unreadable,
        findings=findings,
    )


class Choice(msgspec.Struct, frozen=True):
    """A word that may be chosen: what it means here, and why it would not work (`hindrance`, "" when it would)."""

    word: str
    meaning: str
    hindrance: str = ""
    needs: str = ""


def choices(option: ChoiceOption | ChoiceListOption) -> list[Choice]:
    """Each allowed word with what the engine knows of it."""
    if option.choices.keys() != MODES.keys():
        return [Choice(word, meaning) for word, meaning in option.choices.items()]
    return [Choice(word, MODES[word].meaning, needs=f"Needs {MODES[word].needs}.") for word in option.choices]


def edit_text(config: OpenConfig, name: str) -> str:
    """What the field holds when its editing begins: what the file says, else the effective value."""
    option = OPTIONS[name]
    if option.secret:
        return ""
    entry = config.values.get(name)
    return redact(entry.value) if entry else option.text(config.settings.value_of(name))


def about(config: OpenConfig, row: Row) -> list[tuple[str, str]]:
    """What is to be said about an option, as (kind, sentence); the findings first. Kinds: error, warning, note, fix,
    repair, help, cost, allowed, origin."""
    option = OPTIONS[row.name]
    said: list[tuple[str, str]] = []
    for finding in _by_severity(row.findings):
        said.append((finding.severity, redact(finding.text)))
        if finding.repair:
            said.append(("repair", f"x repairs it: {finding.repair.text}"))
        elif finding.fix:
            said.append(("fix", redact(finding.fix)))
    said.append(("help", option.help))
    if isinstance(option, ChoiceOption):
        said.append(("allowed", f"{row.value}: {option.choices.get(row.value, 'no value of this option')}"))
    elif not option.secret:
        said.append(("allowed", f"Allowed: {option.allowed}."))
    if option.cost:
        said.append(("cost", f"Costs: {option.cost}"))
    default = option.text(option.default)
    origin = config.settings.origin(row.name)
    place = f"{Path(origin.file).name}, line {origin.line}" if origin.file else origin.kind
    said.append(("origin", f"From: {place}. Default: {default or 'none'}."))
    return said


def _by_severity(findings: Sequence[Finding]) -> list[Finding]:
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def command_line(config: OpenConfig) -> str:
    """The command that does what was done here; "" where none does: to the text, or to a password."""
    file = shlex.quote(str(config.path))
    if config.only_repaired:
        return f"vcb config repair {file}"
    words = [f"vcb config set {file}"]
    for name in sorted(config.changed_names):
        if name not in OPTIONS or OPTIONS[name].secret:
            return ""
        entry = config.values.get(name)
        words.append(shlex.quote(f"{name}={redact(entry.value)}") if entry else f"--unset {name}")
    return " ".join(words) if len(words) > 1 else ""


def set_command(path: Path, name: str, value: str) -> str:
    return f"vcb config set {shlex.quote(str(path))} {shlex.quote(f'{name}={value}')}"

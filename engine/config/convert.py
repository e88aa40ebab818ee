"""config.js as TOML and TOML as config.js, written fresh, and a report of what did not come along as it was.

Values go over as texts, valid or not: whoever saves the result checks it. Comments stay behind in either direction,
sections and lists where config.js has none.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import tomli_w

from engine.config.configjs_literals import literal_of
from engine.config.document import Document, Kind
from engine.config.option_types import TextListOption
from engine.config.options import OPTIONS
from engine.config.toml_document import TomlDocument
from engine.config.toml_reading import SECTIONS, section_key
from engine.config.toml_values import native


class Remark(NamedTuple):
    """What is different in the converted file. `lost` is True where something of the source is missing there;
    `line` (from 1) is its line in the source, 0 for none."""

    option: str
    text: str
    lost: bool = False
    line: int = 0


class Converted(NamedTuple):
    data: bytes
    remarks: tuple[Remark, ...]


def convert(document: Document, target: Path, kind: Kind) -> Converted:
    """The bytes of a file `target` of the form `kind` that sets what `document` sets. Nothing is written."""
    remarks = list(_left_behind(document, kind))
    values: dict[str, str] = {}
    for name in OPTIONS:
        if entry := document.values().get(name):
            values[name], told = _placed(name, entry.value, Path(document.file), target)
            remarks += [Remark(name, text, line=entry.line) for text in told]
    if kind == "toml":
        return Converted(_toml(values, document.newline), tuple(remarks))
    text, more = _configjs(values, document)
    return Converted(text, (*remarks, *more))


def _left_behind(document: Document, kind: Kind) -> Iterator[Remark]:
    for finding in document.findings():
        if finding.severity == "error":
            name = finding.options[0] if finding.options else ""
            yield Remark(name, f"not read, so not converted: {finding.text}", True, finding.line)
    for name, entry in document.values().items():
        if name not in OPTIONS:
            yield Remark(name, f"{name} is not an option; it is left out", True, entry.line)
    comments = _comments(document)
    if comments:
        lines = "line" if comments == 1 else "lines"
        yield Remark("", f"{comments} {lines} of comments, commented-out settings among them, stay behind", True)
    if kind == "config.js" and isinstance(document, TomlDocument):
        used = sorted(
            {SECTIONS[one.statement.path[0]] for one in document.settings().values() if _in_section(one.statement.path)}
        )
        if used:
            yield Remark("", f"config.js has no sections; the options of {', '.join(used)} stand among the others")


def _in_section(path: tuple[str, ...]) -> bool:
    return len(path) > 1 and path[0] in SECTIONS


def _comments(document: Document) -> int:
    """Lines that hold something, but no setting and no section."""
    settings = {entry.line for entry in document.values().values()} | {one.line for one in document.findings()}
    lines = [
        document.line(number).strip() for number in range(1, document.text.count("\n") + document.text.count("\r") + 2)
    ]
    return sum(
        bool(line) and not line.startswith("[") and line != "]" and line.lstrip("/*# ") != "" and line[0] in "/*#"
        for number, line in enumerate(lines, 1)
        if number not in settings
    )


def _placed(name: str, value: str, source: Path, target: Path) -> tuple[str, list[str]]:
    """The value at its new place: a relative path means another file when the directory is another."""
    here, there = source.absolute().parent, target.absolute().parent
    if (
        OPTIONS[name].kind != "path"
        or not value
        or here == there
        or value.startswith(("/", "~", "\\"))
        or value[1:2] == ":"
    ):
        return value, []
    whole = str(here / value)
    return whole, [f"{name} was relative to {here}; it is written as {whole}"]


def _toml(values: Mapping[str, str], newline: str) -> bytes:
    """VCB's options at the top, ours in their sections."""
    tree: dict[str, object] = {name: native(OPTIONS[name], text) for name, text in values.items() if _is_vcb(name)}
    for section in SECTIONS:
        ours = {
            name: native(OPTIONS[name], text)
            for name, text in values.items()
            if not _is_vcb(name) and section_key(OPTIONS[name].section) == section
        }
        if ours:
            tree[section] = ours
    return tomli_w.dumps(tree).replace("\n", newline).encode()


def _configjs(values: Mapping[str, str], document: Document) -> tuple[bytes, list[Remark]]:
    lines: list[str] = []
    remarks: list[Remark] = []
    for name, value in values.items():
        line = document.values()[name].line
        try:
            lines.append(f"{name}={literal_of(value, chr(34))};{document.newline}")
        except ValueError as error:
            remarks.append(Remark(name, f"{name} is left out: {error}", True, line))
            continue
        if not _is_vcb(name):
            remarks.append(
                Remark(name, f"{name} is not an option of VCB: this program reads it, VCB does not", line=line)
            )
        if _has_comma(name, document):
            text = f"a list is one text in config.js, separated by commas: an item of {name} that holds one becomes two"
            remarks.append(Remark(name, text, True, line))
    return "".join(lines).encode(), remarks


def _has_comma(name: str, document: Document) -> bool:
    if not isinstance(OPTIONS[name], TextListOption) or not isinstance(document, TomlDocument):
        return False
    value = document.settings()[name].value
    return isinstance(value, list) and any("," in str(item) for item in value)


def _is_vcb(name: str) -> bool:
    return OPTIONS[name].since == "VCB"

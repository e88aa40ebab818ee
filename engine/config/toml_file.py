"""Reader of our own format for whoever needs the values alone; `toml_document` is for those who show or edit."""

from pathlib import Path
from typing import NamedTuple

from engine.config.finding import Finding
from engine.config.toml_document import TomlDocument


class TomlValue(NamedTuple):
    """A value with TOML's own type, and the line (from 1) it begins in."""

    value: object
    line: int


def parse(data: bytes, file: Path | str = "vcb.toml") -> tuple[dict[str, TomlValue], list[Finding]]:
    """The options by name, sections resolved, and what is wrong with the text."""
    document = TomlDocument.parse(data, file)
    entries = document.values()
    values = {name: TomlValue(item.value, entries[name].line) for name, item in document.settings().items()}
    return values, list(document.findings())

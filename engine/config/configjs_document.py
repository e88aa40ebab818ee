"""config.js as a document: every edit replaces bytes in place and leaves all others as they were."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from engine.config import configjs
from engine.config.configjs import Assignment, ConfigJs
from engine.config.configjs_edits import Default, Editor, defaults
from engine.config.configjs_lexer import LINE_END
from engine.config.edits import Edit, Entry, apply
from engine.config.encoding import Decoded, decode
from engine.config.finding import Finding
from engine.config.option_types import nearest
from engine.config.options import OPTIONS
from engine.errors import ConfigError


class ConfigJsDocument:
    """See `engine.config.document.Document`."""

    kind: Literal["config.js"] = "config.js"

    def __init__(self, read: ConfigJs) -> None:
        """Use `parse`."""
        self._read = read
        self.file = read.file
        self.encoding = read.source.encoding
        self.text = read.source.text

    @classmethod
    def parse(cls, data: bytes, file: Path | str = "config.js") -> "ConfigJsDocument":
        return cls(configjs.parse(data, file))

    def to_bytes(self) -> bytes:
        return self._read.data

    @property
    def newline(self) -> str:
        return self._editor.newline()

    def line(self, number: int) -> str:
        return self._lines[number - 1] if 1 <= number <= len(self._lines) else ""

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._read.findings)

    def values(self) -> Mapping[str, Entry]:
        return {name: _entry(assignment) for name, assignment in self._read.effective().items()}

    def commented(self) -> Mapping[str, Entry]:
        return {default.assignment.name: _entry(default.assignment) for default in self._defaults}

    def set(self, name: str, value: str) -> "ConfigJsDocument":
        """As the protocol says. A setting of `name` that cannot be read is replaced to the end of its line."""
        old = self.values().get(name)
        if old is None and name not in OPTIONS:
            raise ConfigError(f"{name} is not an option{nearest(name, list(OPTIONS))}", file=self.file)
        if old and old.value == value:
            return self
        try:
            for edits in self._editor.ways_to_set(name, value):
                changed = self._with(edits)
                if changed and changed._differs(self, name, value):
                    return changed
        except ValueError as error:
            raise ConfigError(f"{name} cannot be set: {error}", file=self.file) from None
        raise ConfigError(f"{name} cannot be set without changing something else", file=self.file,
                          hint="Repair what the check reports first.")  # fmt: skip

    def remove(self, name: str) -> "ConfigJsDocument":
        found = [assignment for assignment in self._read.assignments if assignment.name == name]
        if not found:
            return self
        changed = self._with(self._editor.removal(assignment) for assignment in found)
        if changed is None or not changed._differs(self, name, None):
            raise ConfigError(f"{name} cannot be removed without changing something else", file=self.file,
                              hint="Repair what the check reports first.")  # fmt: skip
        return changed

    def repair(self, finding: Finding) -> "ConfigJsDocument":
        if finding.repair is None:
            raise ConfigError(f"there is no safe repair for this: {finding.text}", file=self.file, line=finding.line)
        return ConfigJsDocument(self._reread(finding.repair.made_in(self.to_bytes())))

    @cached_property
    def _lines(self) -> list[str]:
        return LINE_END.split(self.text)

    @cached_property
    def _defaults(self) -> list[Default]:
        return defaults(self._read)

    @cached_property
    def _editor(self) -> Editor:
        return Editor(self._read, self._defaults)

    def _with(self, edits: Iterable[Edit]) -> "ConfigJsDocument | None":
        """The document with the edits made; None when whoever opens it would take it for another encoding."""
        data = apply(self.to_bytes(), edits)
        read = self._reread(data)
        return ConfigJsDocument(read) if decode(data).text == read.source.text else None

    def _reread(self, data: bytes) -> ConfigJs:
        bom = self._read.source.bom
        source = Decoded(data[len(bom) :].decode(self.encoding), self.encoding, bom)
        return configjs.parse(data, self.file, source)

    def _differs(self, before: "ConfigJsDocument", name: str, value: str | None) -> bool:
        """Whether this says what `before` says, but for `name`, and has no error more."""
        meant = {other: entry.value for other, entry in before.values().items() if other != name}
        if value is not None:
            meant[name] = value
        mine = {other: entry.value for other, entry in self.values().items()}
        return mine == meant and self._errors() <= before._errors()

    def _errors(self) -> int:
        return sum(finding.severity == "error" for finding in self._read.findings)


def _entry(assignment: Assignment) -> Entry:
    name, value = assignment.name_token, assignment.value_token
    span, name_span = (value.byte_start, value.byte_end), (name.byte_start, name.byte_end)
    return Entry(assignment.value, value.line, value.column, span, name.column, name_span)

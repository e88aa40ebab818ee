"""TOML as a document: every edit replaces bytes in place and leaves all others as they were.

What an edit would do is tried, read again, and taken only when the result says what was meant and nothing else.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from engine.config import toml_values
from engine.config.edits import Edit, Entry, apply
from engine.config.encoding import decode
from engine.config.finding import Finding
from engine.config.option_types import nearest
from engine.config.options import OPTIONS
from engine.config.toml_mistakes import read_literal
from engine.config.toml_reading import Reading, Setting, section_key
from engine.config.toml_statements import LINE_END, Statement
from engine.errors import ConfigError


class TomlDocument:
    """See `engine.config.document.Document`."""

    kind: Literal["toml"] = "toml"

    def __init__(self, data: bytes, file: str) -> None:
        """Use `parse`."""
        self._data = data
        self._source = decode(data)
        self._read = Reading(data, self._source, file)
        self.file = file
        self.encoding = self._source.encoding
        self.text = self._source.text

    @classmethod
    def parse(cls, data: bytes, file: Path | str = "vcb.toml") -> "TomlDocument":
        return cls(data, str(file))

    def to_bytes(self) -> bytes:
        return self._data

    @property
    def newline(self) -> str:
        ends = [match.group() for match in LINE_END.finditer(self.text)]
        return max(("\n", "\r\n"), key=ends.count)

    def line(self, number: int) -> str:
        return self._read.lines.line(number)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._read.findings)

    def settings(self) -> Mapping[str, Setting]:
        """What the file sets with the values' own types; of several the last."""
        return self._read.settings

    def values(self) -> Mapping[str, Entry]:
        return {name: self._entry(setting) for name, setting in self._read.settings.items()}

    def commented(self) -> Mapping[str, Entry]:
        return {setting.name: self._entry(setting) for setting, _ in self._read.commented()}

    def set(self, name: str, value: str) -> "TomlDocument":
        if name not in OPTIONS:
            raise ConfigError(f"{name} is not an option{nearest(name, list(OPTIONS))}", file=self.file)
        old = self._read.settings.get(name)
        written = toml_values.written(OPTIONS[name], value, like=self._read.written(old.statement.value) if old else "")
        if old and not old.inline and read_literal(written)[1] == old.value:
            return self
        for edits in self._ways_to_set(name, written):
            changed = self._with(edits)
            if changed._says(self, name, written):
                return changed
        line = self._read.lines.place(old.statement.start)[0] if old else 0
        hint = f"Write it as a line of its own under [{section_key(OPTIONS[name].section)}]."
        raise ConfigError(f"{name} cannot be set without changing something else", file=self.file, line=line, hint=hint)

    def remove(self, name: str) -> "TomlDocument":
        found = [setting for setting in self._read.all_settings if setting.name == name]
        if not found:
            return self
        if not any(setting.inline for setting in found):
            changed = self._with([self._whole_lines(setting.statement) for setting in found])
            if changed._says(self, name, None):
                return changed
        line = self._read.lines.place(found[0].statement.start)[0]
        raise ConfigError(f"{name} cannot be removed without changing something else", file=self.file, line=line)

    def repair(self, finding: Finding) -> "TomlDocument":
        if finding.repair is None:
            raise ConfigError(f"there is no safe repair for this: {finding.text}", file=self.file, line=finding.line)
        return TomlDocument(finding.repair.made_in(self._data), self.file)

    def _entry(self, setting: Setting) -> Entry:
        statement = setting.statement
        line, column = self._read.lines.place(statement.value[0])
        name_column = self._read.lines.place(statement.name[0])[1]
        value, name = self._read.byte_span(statement.value), self._read.byte_span(statement.name)
        return Entry(setting.text, line, column, value, name_column, name)

    def _with(self, edits: list[Edit]) -> "TomlDocument":
        return TomlDocument(apply(self._data, edits), self.file)

    def _says(self, before: "TomlDocument", name: str, written: str | None) -> bool:
        """Whether `name` is now `written` (None: absent) and everything else as it was."""
        mine, old = self._read.settings, before._read.settings
        if written is None:
            if name in mine:
                return False
        elif name not in mine or mine[name].value != read_literal(written)[1]:
            return False
        others = {other: setting.value for other, setting in mine.items() if other != name}
        same = repr(others) == repr({other: setting.value for other, setting in old.items() if other != name})
        return same and _errors(self, name) <= _errors(before, name)

    def _edit(self, start: int, end: int, new: str) -> Edit:
        try:
            return self._read.edit(start, end, new)
        except UnicodeEncodeError as error:
            text = f"the encoding of this file, {self.encoding}, has no {error.object[error.start]!r}"
            raise ConfigError(text, file=self.file, hint="Save the file as UTF-8 first.") from None

    def _whole_lines(self, statement: Statement) -> Edit:
        first, last = (self._read.lines.place(at)[0] for at in (statement.start, statement.end))
        return self._edit(*self._read.lines.span(first, last), "")

    def _ways_to_set(self, name: str, written: str) -> Iterator[list[Edit]]:
        if (old := self._read.settings.get(name)) is not None:
            if not old.inline:
                yield [self._edit(*old.statement.value, written)]
            return
        for setting, sign in self._read.commented():
            if setting.name == name:
                yield [self._edit(*sign, ""), self._edit(*setting.statement.value, written)]
        section = section_key(OPTIONS[name].section)
        if any(statement.kind == "table" and statement.path == (section,) for statement in self._read.statements):
            yield [self._addition(name, written, (section,))]
        yield [self._addition(name, written, ())]

    def _addition(self, name: str, written: str, table: tuple[str, ...]) -> Edit:
        """A line of its own in `table` (() is the top): after the nearest option before it in the option table, else
        at the end of the table's settings, else right after its header (at the top: before the first header)."""
        order = list(OPTIONS)
        earlier = order[: order.index(name)]
        settings = [item for item in self._read.all_settings if item.statement.table == table and not item.inline]
        before = [item for item in settings if item.name in earlier]
        if before:
            after = max(before, key=lambda item: order.index(item.name)).statement
        elif settings:
            after = settings[-1].statement
        elif table:
            after = next(one for one in self._read.statements if one.kind == "table" and one.path == table)
        else:
            return self._first_at_the_top(name, written)
        _, at = self._read.lines.span(1, self._read.lines.place(after.end)[0])
        return self._line_at(at, f"{name} = {written}{self.newline}")

    def _first_at_the_top(self, name: str, written: str) -> Edit:
        """Before the first section and the comment that belongs to it; at the end of a file without sections."""
        header = next((one for one in self._read.statements if one.kind in ("table", "tables")), None)
        if header is None:
            return self._line_at(len(self.text), f"{name} = {written}{self.newline}")
        number = self._read.lines.place(header.start)[0]
        while number > 1 and self._read.lines.line(number - 1).lstrip().startswith("#"):
            number -= 1
        return self._line_at(self._read.lines.span(number, number)[0], f"{name} = {written}{self.newline * 2}")

    def _line_at(self, at: int, line: str) -> Edit:
        unfinished = at > 0 and self.text[at - 1] not in "\r\n"
        return self._edit(at, at, f"{self.newline}{line}" if unfinished else line)


def _errors(document: TomlDocument, name: str) -> int:
    """How many errors the text has, beside those that an edit of `name` may take away or that are about sections."""
    return sum(finding.severity == "error" and name not in finding.options for finding in document.findings())

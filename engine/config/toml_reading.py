"""What a TOML configuration says: options at the top level or in their sections, and what is wrong with the text.

The names are those of config.js. Options that VCB had stand at the top, ours in the section of the option table that
they belong to (`[transport]`, `[image]`); both may stand in either place, once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.config import toml_mistakes
from engine.config.edits import Edit
from engine.config.encoding import Decoded
from engine.config.finding import Finding, Repair, Severity
from engine.config.option_types import Option, nearest
from engine.config.options import OPTIONS
from engine.config.toml_mistakes import Mistake
from engine.config.toml_statements import Lines, Statement, statements


class Setting(NamedTuple):
    """One option as written. `value` is typed as in TOML; `text` is its text, a list joined with ", ".

    `inline` marks one inside `section = { ... }`, whose statement is the whole of that.
    """

    name: str
    value: object
    text: str
    statement: Statement
    inline: bool = False


def section_key(section: str) -> str:
    """The name of a section in TOML: `Backup root` is `[backup_root]`."""
    return section.lower().replace(" ", "_")


SECTIONS = {section_key(option.section): option.section for option in OPTIONS.values()}
"""Sections by their TOML name, in the order of the option table."""
_ALL_SECTIONS = f"the sections are {', '.join(SECTIONS)}"
_TYPES = {float: "a number with a fraction", list: "a list", dict: "a table"}


class Reading:
    """A text, read. `settings` are by name, the last one first where a name is set twice (`all_settings` has all)."""

    def __init__(self, data: bytes, source: Decoded, file: str) -> None:
        self.source, self.file = source, file
        self.lines = Lines(source.text)
        self.statements = list(statements(source.text))
        self.findings: list[Finding] = []
        self.all_settings: list[Setting] = []
        self._data = data
        for statement in self.statements:
            self._take(statement)
        self.settings = {setting.name: setting for setting in self.all_settings}
        self._of_the_whole()
        self.findings.sort(key=lambda finding: (finding.line, finding.column))

    def written(self, span: tuple[int, int]) -> str:
        return self.source.text[slice(*span)]

    def byte_at(self, offset: int) -> int:
        """Where a character begins in the file."""
        if len(self.source.text) + len(self.source.bom) == len(self._data):
            return offset + len(self.source.bom)
        return len(self.source.bom) + len(self.source.text[:offset].encode(self.source.encoding))

    def byte_span(self, span: tuple[int, int]) -> tuple[int, int]:
        return self.byte_at(span[0]), self.byte_at(span[1])

    def edit(self, start: int, end: int, new: str) -> Edit:
        """Replaces characters. Raises UnicodeEncodeError when the file's encoding lacks one of the new."""
        return Edit(self.byte_at(start), self.byte_at(end), new.encode(self.source.encoding))

    def say(self, at: int, mistake: Mistake, *options: str, severity: Severity = "error", end: int = 0) -> None:
        """Reports a mistake of the piece of text from `at`; one that can be mended needs its `end`."""
        repair = None
        if mistake.mended is not None:
            repair = Repair.of(self._data, mistake.fix, self.edit(at, end, mistake.mended))
        line, column = self.lines.place(at + mistake.at)
        self.findings.append(
            Finding(mistake.rule_id, severity, mistake.text, options, mistake.fix, self.file, line, column, repair)
        )

    def _take(self, statement: Statement) -> None:
        match statement.kind:
            case "unreadable":
                line = self.written((statement.start, statement.end))
                self.say(statement.start, toml_mistakes.in_line(line), end=statement.end)
            case "table" | "tables":
                self._take_header(statement)
            case "setting":
                self._take_setting(statement)

    def _take_header(self, statement: Statement) -> None:
        known = len(statement.path) == 1 and statement.path[0] in SECTIONS
        if statement.kind == "tables" or not known:
            shown = ".".join(statement.path)
            text = f"{shown} is not a section{nearest(shown, list(SECTIONS))}"
            self.say(statement.name[0], Mistake("section", text, _ALL_SECTIONS))

    def _take_setting(self, statement: Statement) -> None:
        written = self.written(statement.value)
        name = statement.path[-1]
        readable, value = toml_mistakes.read_literal(written)
        if not readable:
            start, end = statement.value
            mistake = toml_mistakes.in_value(name, written)
            if mistake.rule_id == "quote" and self._rest_of_line(end):
                mistake = mistake._replace(mended=None)  # whether that is a comment or the value, nobody can know
            self.say(start, mistake, name, end=end)
            return
        if isinstance(value, str) and (odd := toml_mistakes.in_text(name, value, written)):
            self.say(statement.value[0], odd, name, end=statement.value[1])
            return
        if isinstance(value, dict) and statement.path[0] in SECTIONS and len(statement.path) == 1:
            for inner, its_value in value.items():
                self._place(inner, its_value, str(its_value), statement, (*statement.path, inner))
            return
        self._place(name, value, _text_of(value, written), statement, statement.path)

    def _rest_of_line(self, at: int) -> str:
        number, column = self.lines.place(at)
        return self.lines.line(number)[column - 1 :].strip()

    def _place(self, name: str, value: object, text: str, statement: Statement, path: tuple[str, ...]) -> None:
        """Accepts a setting that stands where it may."""
        at = statement.name[0]
        if len(path) == 2 and path[0] in SECTIONS:
            home = section_key(OPTIONS[name].section) if name in OPTIONS else path[0]
            if home != path[0]:
                wrong = f"{name} does not belong into [{path[0]}]"
                self.say(at, Mistake("section", wrong, f"move it to [{home}]"), name)
                return
        elif len(path) > 1:
            if len(statement.table) == 0:
                self.say(at, Mistake("section", f"{path[0]} is not a section", _ALL_SECTIONS))
            return
        if any(earlier.name == name for earlier in self.all_settings):
            again = f"{name} is set more than once; TOML allows one, other programs refuse the whole file"
            self.say(at, Mistake("assigned-twice", again, "delete one of the lines"), name)
        self.all_settings.append(Setting(name, value, text, statement, path != statement.path))
        self._say_odd_type(name, value, text, statement)

    def _say_odd_type(self, name: str, value: object, text: str, statement: Statement) -> None:
        """A value of a type that config.js has not (a table, a date, a list of numbers), which as a text would pass."""
        option = OPTIONS.get(name)
        if option is None or isinstance(value, (str, int)):
            return
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not (texts and option.kind in ("choices", "texts")) and _reads(option, text):
            text = f"{name} must be {option.allowed}, and this is {_TYPES.get(type(value), 'something else')}"
            self.say(statement.value[0], Mistake("value", text, ""), name)

    def _of_the_whole(self) -> None:
        if self.source.encoding != "utf-8":
            text = f"this file is in the encoding {self.source.encoding}; TOML is UTF-8, other programs cannot read it"
            self.say(0, Mistake("encoding", text, "save it as UTF-8"), severity="warning")
        if any(finding.severity == "error" for finding in self.findings):
            return
        if problem := toml_mistakes.syntax_problem(self.source.text):
            line = problem.line or len(self.lines.starts)
            fix = 'settings are written NAME = "value"'
            self.findings.append(
                Finding("toml-syntax", "error", problem.text, fix=fix, file=self.file, line=line, column=problem.column)
            )

    def commented(self) -> Iterator[tuple[Setting, tuple[int, int]]]:
        """Options in a comment on a line of its own that would be settings without its sign; with the sign's span."""
        for statement in self.statements:
            number = self.lines.place(statement.start)[0]
            indent = self.written((self.lines.starts[number - 1], statement.start))
            if statement.kind == "comment" and not indent.strip() and (setting := self._default_in(statement)):
                yield setting, (statement.start, setting.statement.start)

    def _default_in(self, comment: Statement) -> Setting | None:
        text = self.written((comment.start, comment.end))
        start = comment.start + len(text) - len(text.lstrip("# \t"))
        inside = list(statements(self.written((start, comment.end))))
        if [one.kind for one in inside] not in (["setting"], ["setting", "comment"]) or len(inside[0].path) != 1:
            return None
        name = inside[0].path[0]
        if name not in OPTIONS or comment.table not in ((), (section_key(OPTIONS[name].section),)):
            return None
        found = _moved(inside[0], start, comment.table)
        written = self.written(found.value)
        readable, value = toml_mistakes.read_literal(written)
        return Setting(name, value, _text_of(value, written), found) if readable else None


def _moved(statement: Statement, by: int, table: tuple[str, ...]) -> Statement:
    """A statement found in a part of the text that begins at character `by`."""
    name = (statement.name[0] + by, statement.name[1] + by)
    value = (statement.value[0] + by, statement.value[1] + by)
    path = (*table, *statement.path)
    return Statement("setting", table, path, statement.start + by, statement.end + by, name, value)


def _reads(option: Option[Any], text: str) -> bool:
    try:
        option.read(text, Path())
    except ValueError:
        return False
    return True


def _text_of(value: Any, written: str) -> str:
    """The text of a value as config.js would hold it; what has none there (a table, a date) is as written."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return written

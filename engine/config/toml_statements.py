"""Where the statements of a TOML text stand, and their values: what an editor needs and tomllib does not tell.

tomllib says what a text means; this says where it is written. Unlike tomllib it goes on at the next line when a
statement is broken, so that one mistake does not hide the next.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Literal, NamedTuple

LINE_END = re.compile(r"\r\n|\r|\n")
_KEY_PART = r"""[A-Za-z0-9_-]+|"(?:[^"\\\r\n]|\\[^\r\n])*"|'[^'\r\n]*'"""
_KEY = rf"(?:{_KEY_PART})(?:[ \t]*\.[ \t]*(?:{_KEY_PART}))*"
_PART = re.compile(_KEY_PART)
_SETTING = re.compile(rf"(?P<key>{_KEY})[ \t]*=[ \t]*")
_HEADER = re.compile(rf"\[(?:(?P<many>\[)[ \t]*)?[ \t]*(?P<key>{_KEY})[ \t]*\]?\][ \t]*(?=#|\r|\n|\Z)")
_BLANK = re.compile(r"(?:[ \t]|\r\n|\r|\n)+")
_REST = re.compile(r"[^\r\n]*")
_COMMENT = re.compile(r"#[^\r\n]*")
_LOOKS_LIKE_SETTING = re.compile(rf"(?:\r\n|\r|\n)[ \t]*(?:{_KEY}[ \t]*=|\[{_KEY}\][ \t]*(?:#|\r|\n|\Z))")
_VALUE_TOKEN = re.compile(
    r'''
      (?P<string>"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}
        |"(?!"")(?:[^"\\\r\n]|\\[^\r\n])*"|'(?!'')[^'\r\n]*'|""|\'\')
    | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<comment>\#[^\r\n]*) | (?P<end>\r\n|\r|\n) | (?P<space>[ \t]+)
    | (?P<other>[^\[\]{}\#\r\n"'\x20\t]+|.)
    ''',
    re.VERBOSE | re.DOTALL,
)

Path = tuple[str, ...]


class Statement(NamedTuple):
    """A piece of the text that says something; offsets are characters.

    `setting`: `path` is that of the key with its tables, `name` the span of its last part, `value` that of the value.
    `table` and `tables` (an element of an array of tables): `path` is the table's. `comment`, and `unreadable` for a
    line that is nothing of these: only the span. `table` is the path of the table that the statement stands in.
    """

    kind: Literal["setting", "table", "tables", "comment", "unreadable"]
    table: Path
    path: Path
    start: int
    end: int
    name: tuple[int, int] = (0, 0)
    value: tuple[int, int] = (0, 0)


class Lines:
    """Line and column (both from 1) of the characters of a text, and the lines themselves."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in LINE_END.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        number = bisect_right(self.starts, offset)
        return number, offset - self.starts[number - 1] + 1

    def line(self, number: int) -> str:
        """Without its end; "" where there is none."""
        return self.text[slice(*self.span(number, number))].rstrip("\r\n") if 1 <= number <= len(self.starts) else ""

    def span(self, first: int, last: int) -> tuple[int, int]:
        """From the beginning of line `first` to the end of line `last`, its line end included."""
        return self.starts[first - 1], self.starts[last] if last < len(self.starts) else len(self.text)


def statements(text: str) -> Iterator[Statement]:
    """All statements in their order. Never raises."""
    table: Path = ()
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        statement = _statement(text, at, table)
        if statement.kind in ("table", "tables"):
            table = statement.path
        yield statement
        at = max(statement.end, at + 1)


def _statement(text: str, at: int, table: Path) -> Statement:
    if comment := _COMMENT.match(text, at):
        return Statement("comment", table, (), at, comment.end())
    if header := _HEADER.match(text, at):
        kind = "tables" if header["many"] else "table"
        return Statement(kind, table, parts(header["key"]), at, header.end(), header.span("key"))
    setting = _SETTING.match(text, at)
    if setting is None:
        return Statement("unreadable", table, (), at, at + len(_line_from(text, at).rstrip()))
    end = _end_of_value(text, setting.end())
    keys = list(_PART.finditer(text, *setting.span("key")))
    path = (*table, *(_unquoted(key.group()) for key in keys))
    return Statement("setting", table, path, at, end, keys[-1].span(), (setting.end(), end))


def parts(key: str) -> Path:
    """The parts of a dotted key, quotes gone."""
    return tuple(_unquoted(part) for part in _PART.findall(key))


def _unquoted(part: str) -> str:
    return part[1:-1] if part[0] in "\"'" else part


def _end_of_value(text: str, start: int) -> int:
    """Where the value ends that begins at `start`. One that is never closed ends with its line."""
    brackets: list[str] = []
    at = end = start
    while match := _VALUE_TOKEN.match(text, at):
        kind = match.lastgroup
        if kind in ("comment", "end") and not brackets:
            return end
        if kind == "end" and (brackets[-1] == "{" or _LOOKS_LIKE_SETTING.match(text, at)):
            break
        if kind == "open":
            brackets.append(match.group())
        elif kind == "close" and brackets:
            brackets.pop()
        at = match.end()
        end = end if kind in ("space", "comment", "end") else at
    return end if not brackets else start + len(_line_from(text, start).rstrip())


def _line_from(text: str, start: int) -> str:
    match = _REST.match(text, start)
    return match.group() if match else ""

"""Where and how config.js is edited: the bytes to replace so that a name has a value, or none.

What a function offers are candidates; `ConfigJsDocument` takes the first whose result, read again, says what was
meant and nothing else.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from engine.config.configjs import Assignment, ConfigJs, parse_comment
from engine.config.configjs_lexer import LINE_END, SINGLE_QUOTES, Token
from engine.config.configjs_literals import literal_of
from engine.config.edits import Edit
from engine.config.options import OPTIONS

Edits = tuple[Edit, ...]

_DISABLED = re.compile(r"//+[\x20\t]*(?=([A-Z_]+)[\x20\t]*=)")


class Default(NamedTuple):
    """An option in a `//` comment that would be an assignment without the comment's first `marker` characters.
    The tokens of `assignment` have their places in the file; `index` is that of the comment among its tokens."""

    index: int
    marker: int
    assignment: Assignment


def defaults(read: ConfigJs) -> list[Default]:
    """The commented-out options, in the order of the file."""
    found: list[Default] = []
    for index, token in enumerate(read.tokens):
        if token.kind == "comment" and (match := _DISABLED.match(token.text)) and match[1] in OPTIONS:
            if not _begins_line(read, index):
                continue
            if assignment := parse_comment(token, match.end(), read):
                found.append(Default(index, match.end(), assignment))
    return found


class Editor:
    """Makes edits of one file as read."""

    def __init__(self, read: ConfigJs, defaults_found: list[Default]) -> None:
        self.read = read
        self.defaults = defaults_found

    def encoded(self, text: str) -> bytes:
        """Raises ValueError naming the first character that the file's encoding does not have."""
        encoding = self.read.source.encoding
        try:
            return text.encode(encoding)
        except UnicodeEncodeError as error:
            char = text[error.start]
            raise ValueError(
                f"the character {char} (U+{ord(char):04X}) does not exist in {encoding}, the encoding of the file"
            ) from None

    def ways_to_set(self, name: str, value: str) -> Iterator[Edits]:
        """Raises ValueError when the value cannot be written in this file at all."""
        if assignment := self.read.effective().get(name):
            yield (self._value(assignment.value_token, value),)
            return
        for broken in reversed([broken for broken in self.read.broken if broken.name_token.text == name]):
            start = broken.first.byte_end if broken.first.text == "=" else broken.first.byte_start
            yield (Edit(start, max(start, broken.last.byte_end), self.encoded(literal_of(value, '"') + ";")),)
        mine = [default for default in self.defaults if default.assignment.name == name]
        mine.sort(key=lambda default: (default.assignment.value == value, default.index), reverse=True)
        for default in mine:
            yield self._enabled(default, value)
        yield from self._additions(name, value)

    def removal(self, assignment: Assignment) -> Edit:
        """Deletes the statement; with its line when nothing else is on it, else with the spaces after it."""
        tokens = self.read.tokens
        first, last = tokens.index(assignment.first), tokens.index(assignment.last)
        start, end = assignment.first.byte_start, assignment.last.byte_end
        after = tokens[last + 1] if last + 1 < len(tokens) else None
        following = LINE_END.search(after.text) if after and after.kind == "space" else None
        if _begins_line(self.read, first) and (after is None or following):
            if first and tokens[first - 1].kind == "space":
                start -= len(self.encoded(LINE_END.split(tokens[first - 1].text)[-1]))
            if after and following:
                end += len(self.encoded(after.text[: following.end()]))
        elif after and after.kind == "space" and not following:
            end = after.byte_end
        return Edit(start, end, b"")

    def _value(self, token: Token, value: str) -> Edit:
        """Keeps the kind of quotes that the old value has; typographic ones become straight."""
        quote = "" if token.kind == "number" else "'" if token.text[0] in SINGLE_QUOTES else '"'
        return Edit(token.byte_start, token.byte_end, self.encoded(literal_of(value, quote)))

    def _enabled(self, default: Default, value: str) -> Edits:
        comment, assignment = self.read.tokens[default.index], default.assignment
        marker = len(self.encoded(comment.text[: default.marker]))
        edits = (Edit(comment.byte_start, comment.byte_start + marker, b""), self._value(assignment.value_token, value))
        if assignment.last is assignment.value_token:
            end = assignment.value_token.byte_end
            return (*edits, Edit(end, end, self.encoded(";")))
        return edits

    def _additions(self, name: str, value: str) -> Iterator[Edits]:
        """After the nearest option that the table has before this one, before the nearest after it, at either end."""
        quote = "" if OPTIONS[name].kind == "number" else '"'
        statement = f"{name}={literal_of(value, quote)};"
        order = list(OPTIONS)
        places = self._places()
        at = order.index(name)
        for earlier in reversed(order[:at]):
            if earlier in places:
                yield (self._line_after(places[earlier][1], statement),)
                break
        for later in order[at + 1 :]:
            if later in places:
                yield (self._line_before(places[later][0], statement),)
                break
        yield (self._line_after(len(self.read.tokens) - 1, statement),)
        yield (self._line_before(0, statement),)

    def _places(self) -> dict[str, tuple[int, int]]:
        """Where each option stands, in force or commented: indices of its first and last token."""
        index = {token.byte_start: number for number, token in enumerate(self.read.tokens)}
        places = {default.assignment.name: (default.index, default.index) for default in self.defaults}
        for name, assignment in self.read.effective().items():
            places[name] = (index[assignment.first.byte_start], index[assignment.last.byte_start])
        return places

    def _line_after(self, index: int, statement: str) -> Edit:
        """A line of its own below the one that token `index` ends on, indented alike."""
        tokens = self.read.tokens
        indent = self._indent(index)
        for token in tokens[index + 1 :]:
            if token.kind == "space" and (found := LINE_END.search(token.text)):
                at = token.byte_start + len(self.encoded(token.text[: found.end()]))
                return Edit(at, at, self.encoded(indent + statement + found.group()))
        end = len(self.read.data)
        newline = self.newline()
        if self.read.source.text.endswith(("\n", "\r")) or not tokens:
            return Edit(end, end, self.encoded(statement + newline))
        return Edit(end, end, self.encoded(newline + indent + statement))

    def _line_before(self, index: int, statement: str) -> Edit:
        """A line of its own above the line of token `index` and the comments that stand directly on it."""
        tokens = self.read.tokens
        while index and not _begins_line(self.read, index):
            index -= 1
        taken = {default.index for default in self.defaults}
        while index >= 2 and tokens[index - 2].kind == "comment" and index - 2 not in taken:
            if len(LINE_END.findall(tokens[index - 1].text)) != 1 or not _begins_line(self.read, index - 2):
                break
            index -= 2
        at = tokens[index].byte_start if tokens else len(self.read.source.bom)
        return Edit(at, at, self.encoded(statement + self.newline()))

    def _indent(self, index: int) -> str:
        tokens = self.read.tokens
        while index > 0 and not _begins_line(self.read, index):
            index -= 1
        before = tokens[index - 1] if index > 0 else None
        return LINE_END.split(before.text)[-1] if before and before.kind == "space" else ""

    def newline(self) -> str:
        """The line end that most lines have."""
        ends = LINE_END.findall(self.read.source.text)
        return max(("\n", "\r\n", "\r"), key=ends.count)


def _begins_line(read: ConfigJs, index: int) -> bool:
    """Whether nothing but spaces stands before a token on its line."""
    if index == 0:
        return True
    before = read.tokens[index - 1]
    if before.kind != "space":
        return False
    return bool(LINE_END.search(before.text)) or index == 1

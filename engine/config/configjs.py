"""Reader of VCB's config.js: `NAME="value";` and comments, a small dialect of JavaScript. Nothing is executed.

The text is cut into tokens that cover it completely (`"".join(token.text)` is the text, and their byte spans tile
the file), so that an editor can replace one value's bytes and keep all the rest. What cannot be read is a problem
with its line and column; reading goes on with the next line.

Facts of the dialect: `//` starts the commented default, `/* * ... */` holds help, a backslash is written twice.
Copies that went through a word processor or a blog have typographic quotes; they are read, and reported.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.encoding import Decoded, decode
from engine.config.finding import Finding, Severity

_DOUBLE = '"\u201c\u201d\u201e\u201f\u2033\uff02'
_SINGLE = "'\u2018\u2019\u201a\u201b\u2032\uff07"
_END = r"\r\n"

_TOKEN = re.compile(
    rf"""
      (?P<space>[\x20\t\r\n\f\v]+)
    | (?P<odd_space>[\u00a0\u2000-\u200b\u3000\ufeff]+)
    | (?P<comment>//[^{_END}]*|/\*.*?\*/)
    | (?P<unclosed>/\*)
    | (?P<string>"(?:[^"\\{_END}]|\\[^{_END}])*"|'(?:[^'\\{_END}]|\\[^{_END}])*')
    | (?P<curly>[{_DOUBLE}][^{_DOUBLE}{_END}]*[{_DOUBLE}]|[{_SINGLE}][^{_SINGLE}{_END}]*[{_SINGLE}])
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?)(?![\w$]))
    | (?P<word>[A-Za-z_$][A-Za-z0-9_$.]*)
    | (?P<sign>[=;,])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "/": "/", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_SWALLOWED = re.compile(rf"[{_DOUBLE[1:]}]\s*;")
"""In a straight-quoted value: its own end, mistyped, after which the value ran on to the next straight quote."""
_DECLARATIONS = ("var", "let", "const")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the file. `start`/`end` count characters of the text, `byte_start`/`byte_end` bytes of the file
    (byte order mark included); `line` and `column` count from 1."""

    kind: str
    text: str
    start: int
    end: int
    byte_start: int
    byte_end: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `NAME = literal`. `value` is the text between the quotes with its escapes resolved, or the number."""

    name: str
    value: str
    name_token: Token
    value_token: Token

    @property
    def line(self) -> int:
        return self.name_token.line


@dataclass
class ConfigJs:
    """A file as read. Of several assignments of one name the last counts, as in JavaScript."""

    file: str
    source: Decoded
    tokens: list[Token]
    assignments: list[Assignment] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def effective(self) -> dict[str, Assignment]:
        return {assignment.name: assignment for assignment in self.assignments}


def parse(data: bytes, file: Path | str = "config.js") -> ConfigJs:
    """Reads all that can be read; what cannot is among the findings as an error."""
    source = decode(data)
    document = ConfigJs(str(file), source, list(_tokens(source)))
    _Parser(document).run()
    document.findings.sort(key=lambda finding: (finding.line, finding.column))
    return document


def _tokens(source: Decoded) -> Iterator[Token]:
    line, column, at = 1, 1, len(source.bom)
    for match in _TOKEN.finditer(source.text):
        text = match.group()
        size = len(text.encode(source.encoding))
        yield Token(match.lastgroup or "other", text, match.start(), match.end(), at, at + size, line, column)
        at += size
        breaks = list(re.finditer(r"\r\n|\r|\n", text))
        line += len(breaks)
        column = len(text) - breaks[-1].end() + 1 if breaks else column + len(text)


class _Parser:
    """Walks the tokens that mean something, statement by statement."""

    def __init__(self, document: ConfigJs) -> None:
        self.document = document
        self.code = [token for token in document.tokens if token.kind not in ("space", "odd_space", "comment")]
        self.position = 0
        self.stray_star_line = -1

    def run(self) -> None:
        for token in self.document.tokens:
            if token.kind == "odd_space":
                text = f"a space that only looks like one (U+{ord(token.text[0]):04X})"
                self.say(token, "space", text, "type a plain space", "warning")
        while token := self.peek():
            if token.text == ";" or (token.text in _DECLARATIONS and token.kind == "word"):
                self.position += 1
            elif token.kind == "word" and self.peek(1, "="):
                self.assignment(token)
            else:
                self.unreadable(token)

    def peek(self, ahead: int = 0, text: str | None = None) -> Token | None:
        index = self.position + ahead
        token = self.code[index] if index < len(self.code) else None
        return token if token and (text is None or token.text == text) else None

    def say(self, token: Token, rule_id: str, text: str, fix: str = "", severity: Severity = "error") -> None:
        self.document.findings.append(
            Finding(rule_id, severity, text, fix=fix, file=self.document.file, line=token.line, column=token.column)
        )

    def next_line(self, after: Token) -> None:
        while (token := self.peek()) and token.line <= after.line:
            self.position += 1

    def assignment(self, name: Token) -> None:
        value = self.peek(2)
        if value is None or value.line != name.line or value.kind not in ("string", "curly", "number"):
            self.bad_value(name, value)
            return
        text = self.literal(name, value)
        self.position += 3
        after = self.peek()
        if after and after.line == value.line and not self.statement_ended(name, after):
            return
        if text is None:
            return
        if any(earlier.name == name.text for earlier in self.document.assignments):
            self.say(name, "assigned-twice", f"{name.text} is set more than once; the last one counts",
                     "delete the earlier line", "warning")  # fmt: skip
        self.document.assignments.append(Assignment(name.text, text, name, value))

    def statement_ended(self, name: Token, after: Token) -> bool:
        """Whether the assignment stands, although something follows it on its line."""
        if after.text == ";":
            self.position += 1
            return True
        if after.text == ",":
            self.say(after, "comma", f"a comma ends the setting of {name.text}", 'end it with ";"', "warning")
            self.position += 1
            return True
        if after.text == "\u037e":
            self.say(after, "semicolon", "this is a Greek question mark, not a semicolon", 'type ";"', "warning")
            self.position += 1
            return True
        if after.text == "+":
            text = f"the value of {name.text} is computed; only a plain text or number is read"
            self.say(after, "computed", text, "write the value out")
        else:
            shown = _shown(after.text)
            self.say(after, "text-after-value", f"{shown} follows the value of {name.text}", 'end the setting with ";"')
        self.next_line(after)
        return False

    def bad_value(self, name: Token, value: Token | None) -> None:
        if value is None or value.line != name.line:
            self.say(self.code[self.position + 1], "no-value", f"{name.text} has no value", 'write "" for an empty one')
            self.position += 2
            return
        if value.kind == "word":
            fix = f'write {name.text}="{value.text}";'
            self.say(value, "no-quotes", f"the value of {name.text}, {_shown(value.text)}, stands without quotes", fix)
        elif value.text in "[{(":
            text = f"the value of {name.text} is a list or an object; only a plain text or number is read"
            self.say(value, "computed", text, 'write a list as one text: "first, second"')
        elif value.text == ";":
            self.say(value, "no-value", f"{name.text} has no value", 'write "" for an empty one')
        else:
            self.say_unreadable(value)
        self.next_line(name)

    def literal(self, name: Token, token: Token) -> str | None:
        """The value of a literal, or None when it cannot be trusted (it is reported)."""
        if token.kind == "number":
            return str(int(token.text, 0)) if token.text[:3].lower().lstrip("+-").startswith("0x") else token.text
        if token.kind == "curly":
            quote = next(char for char in (token.text[0], token.text[-1]) if char not in "\"'")
            text = f"typographic quote {quote} (U+{ord(quote):04X}) around the value of {name.text}"
            fix = "type " + ('"' if quote in _DOUBLE else "'")
            self.say(token, "typographic-quote", text, fix, "warning")
        elif _SWALLOWED.search(token.text):
            text = f"the value of {name.text} begins with a straight quote and seems to end with a typographic one"
            self.say(token, "typographic-quote", text, 'type " at both ends')
            return None
        return self.unescaped(name, token)

    def unescaped(self, name: Token, token: Token) -> str | None:
        body = token.text[1:-1]
        fix = r"write each backslash twice: \\"
        parts, last = [], 0
        for match in _ESCAPE.finditer(body):
            code, simple = match[1] or match[2], match[3]
            char = chr(int(code, 16)) if code else _SIMPLE_ESCAPES.get(simple, "")
            if not char:
                text = f"single backslash in the value of {name.text}: {_shown(match.group())} means nothing"
                self.say(token, "backslash", text, fix)
                return None
            if not char.isprintable():
                text = f"a backslash in the value of {name.text} makes {_shown(match.group())} a control character"
                self.say(token, "backslash", text, fix)
                return None
            parts += [body[last : match.start()], char]
            last = match.end()
        if body.endswith("\\") and not _ends_in_pair(body):
            self.say(token, "backslash", f"the value of {name.text} ends with a single backslash", fix)
            return None
        return "".join([*parts, body[last:]])

    def unreadable(self, token: Token) -> None:
        self.say_unreadable(token)
        if token.kind == "unclosed":
            self.position = len(self.code)
        else:
            self.next_line(token)

    def say_unreadable(self, token: Token) -> None:
        line = self.line_of(token)
        if token.kind == "unclosed":
            self.say(token, "comment", "this comment is never closed; nothing after it is read", "end it with */")
        elif token.text == "*":
            if self.stray_star_line not in (token.line, token.line - 1):
                text = "a line of help stands outside a comment: its /* is missing"
                self.say(token, "comment", text, "put // before the line", "warning")
            self.stray_star_line = token.line
        elif token.text in _DOUBLE + _SINGLE:
            text = f"the quote {token.text} is not closed on this line"
            self.say(token, "quote", text, "close it, and end the line with ;")
        else:
            self.say(token, "unreadable", f"cannot read {_shown(line)}", 'settings are written NAME="value";')

    def line_of(self, token: Token) -> str:
        text = self.document.source.text
        return re.split(r"\r\n|\r|\n", text[token.start :], maxsplit=1)[0].strip()


def _ends_in_pair(body: str) -> bool:
    return (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _shown(text: str) -> str:
    text = text if len(text) <= 40 else text[:37] + "..."
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)

"""Reader of VCB's config.js: `NAME="value";` and comments, a small dialect of JavaScript. Nothing is executed.

Only plain assignments of a text or a number are data. What cannot be read is a problem with its line and column;
reading goes on with the next line.

Facts of the dialect: `//` starts the commented default, `/* * ... */` holds help, a backslash is written twice.
Copies that went through a word processor or a blog have typographic quotes; they are read, and reported.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from operator import attrgetter
from pathlib import Path

from engine.config.configjs_lexer import DOUBLE_QUOTES, LINE_END, SINGLE_QUOTES, Place, Token, tokens
from engine.config.configjs_literals import BadEscape, number_text, shown, swallows, unescaped
from engine.config.edits import Edit
from engine.config.encoding import Decoded, decode, doubt
from engine.config.finding import Finding, Repair, Severity
from engine.config.masking import masked, masked_finding

_DECLARATIONS = ("var", "let", "const")
_WORDS_OF_JAVASCRIPT = ("true", "false", "null", "undefined", "NaN", "Infinity", "this", "new", "typeof", "function")
_WIDE_EQUALS = "\uff1d"
_LOOK_LIKE_SEMICOLONS = {"\u037e": "a Greek question mark", "\uff1b": "a full-width semicolon"}


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `NAME = literal`, from its declaration (var) or name to its semicolon or value. `value` is the text
    between the quotes with its escapes resolved, or the number."""

    name: str
    value: str
    name_token: Token
    value_token: Token
    first: Token
    last: Token

    @property
    def line(self) -> int:
        return self.name_token.line


@dataclass(frozen=True, slots=True)
class Broken:
    """A `NAME = ...` that cannot be read. The code from `first` to `last` stands where the value should; both are
    the "=" when nothing does."""

    name_token: Token
    first: Token
    last: Token


@dataclass
class ConfigJs:
    """A file as read. Of several assignments of one name the last counts, as in JavaScript."""

    file: str
    data: bytes
    source: Decoded
    tokens: list[Token]
    assignments: list[Assignment] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def effective(self) -> dict[str, Assignment]:
        return {assignment.name: assignment for assignment in self.assignments}


def parse(data: bytes, file: Path | str = "config.js", source: Decoded | None = None) -> ConfigJs:
    """Reads all that can be read; what cannot is among the findings as an error. `source` is `data` decoded, for
    who knows its encoding."""
    source = source or decode(data)
    read = tokens(source.text, source.encoding, Place(byte_start=len(source.bom)))
    document = ConfigJs(str(file), data, source, read)
    if sentence := doubt(data, source):
        fix = "save it as UTF-8 with an editor that shows it right"
        document.findings.append(Finding("encoding", "warning", sentence, (), fix, str(file), 1, 1))
    _Parser(document).run()
    lines = LINE_END.split(source.text)
    spoken_of = {found.line for found in document.findings}
    secret = {number for number in spoken_of if masked(lines[number - 1]) != lines[number - 1]}
    document.findings = [
        masked_finding(found, lines[found.line - 1]) if found.line in secret else found for found in document.findings
    ]
    document.findings.sort(key=attrgetter("line", "column"))
    return document


def parse_comment(comment: Token, marker: int, within: ConfigJs) -> Assignment | None:
    """The assignment that a `//` comment of `within` would be without its first `marker` characters, or None when
    it would be anything else. Its tokens have their places in the file."""
    skipped = len(comment.text[:marker].encode(within.source.encoding))
    place = Place(comment.start + marker, comment.byte_start + skipped, comment.line, comment.column + marker)
    read = tokens(comment.text[marker:], within.source.encoding, place)
    statement = ConfigJs(within.file, within.data, within.source, read)
    _Parser(statement).run()
    harmless = all(finding.severity != "error" for finding in statement.findings)
    return statement.assignments[0] if harmless and len(statement.assignments) == 1 else None


class _Parser:
    """Walks the tokens that mean something, statement by statement."""

    def __init__(self, document: ConfigJs) -> None:
        self.document = document
        self.code = [token for token in document.tokens if token.kind not in ("space", "odd_space", "comment")]
        self.position = 0
        self.stray_star_line = -1
        self.names: set[str] = set()
        self.subject: tuple[str, ...] = ()
        """The name whose setting is being read."""

    def run(self) -> None:
        for token in self.document.tokens:
            if token.kind == "odd_space":
                self.odd_space(token)
        while token := self.peek():
            if token.text == ";":
                repair = self.repair("delete the semicolon", Edit(token.byte_start, token.byte_end, b""))
                self.say(
                    token,
                    "doubled-semicolon",
                    "this semicolon ends nothing",
                    "delete it",
                    severity="note",
                    repair=repair,
                )
                self.position += 1
            elif token.kind == "word" and token.text in _DECLARATIONS:
                self.position += 1
            elif token.kind == "word" and self.peek(1, "="):
                self.subject = (token.text,)
                self.assignment(token)
                self.subject = ()
            else:
                self.unreadable(token)

    def peek(self, ahead: int = 0, text: str | None = None) -> Token | None:
        index = self.position + ahead
        token = self.code[index] if 0 <= index < len(self.code) else None
        return token if token and (text is None or token.text == text) else None

    def say(
        self,
        token: Token,
        rule_id: str,
        text: str,
        fix: str,
        *,
        severity: Severity = "error",
        repair: Repair | None = None,
        behind: bool = False,
    ) -> None:
        """A finding at the token, or `behind` it."""
        column = token.column + (len(token.text) if behind else 0)
        self.document.findings.append(
            Finding(rule_id, severity, text, self.subject, fix, self.document.file, token.line, column, repair)
        )

    @cached_property
    def assigned(self) -> set[str]:
        """The names that the file gives a value, readable or not: elsewhere they are variables."""
        pairs = zip(self.code, self.code[1:], strict=False)
        return {token.text for token, sign in pairs if token.kind == "word" and sign.text == "="}

    @cached_property
    def base(self) -> bytes:
        return sha256(self.document.data).digest()

    def repair(self, text: str, *edits: Edit) -> Repair:
        return Repair(text, edits, self.base)

    def replacement(self, token: Token, text: str) -> Edit:
        return Edit(token.byte_start, token.byte_end, text.encode(self.document.source.encoding))

    def next_line(self, after: Token) -> None:
        while (token := self.peek()) and token.line <= after.line:
            self.position += 1

    def odd_space(self, token: Token) -> None:
        text = f"a space that only looks like one (U+{ord(token.text[0]):04X})"
        repair = self.repair("type a plain space", self.replacement(token, " " * len(token.text)))
        self.say(token, "space", text, "type a plain space", severity="warning", repair=repair)

    def assignment(self, name: Token) -> None:
        value = self.peek(2)
        if value is None or value.line != name.line or value.kind not in ("string", "curly", "number"):
            self.bad_value(name, value)
            return
        start = self.position
        text = self.literal(name, value)
        self.position += 3
        after = self.peek()
        if text is None and after and after.text != ";":
            self.next_line(value)
            self.broke(start)
            return
        stands = after is None or after.line != value.line or self.statement_ended(name, value, after)
        if not stands or text is None:
            self.broke(start)
            return
        if name.text in self.names:
            self.say(name, "assigned-twice", f"{name.text} is set more than once; the last one counts",
                     "delete the earlier line", severity="warning")  # fmt: skip
        self.names.add(name.text)
        last = self.code[self.position - 1]
        if last is value and (after is None or after.line != value.line):
            last = self.late_end(name, value)
        keyword = self.code[start - 1] if start else name
        first = keyword if keyword.text in _DECLARATIONS and keyword.line == name.line else name
        self.document.assignments.append(Assignment(name.text, text, name, value, first, last))

    def broke(self, start: int) -> None:
        """Remembers the statement that began at code token `start`, of which nothing more is read."""
        name, sign = self.code[start], self.code[start + 1]
        rest = [token for token in self.code[start + 2 : self.position] if token.line == name.line]
        self.document.broken.append(Broken(name, rest[0] if rest else sign, rest[-1] if rest else sign))

    def late_end(self, name: Token, value: Token) -> Token:
        """The last token of a statement without a semicolon on its line: the one on a later line, or the value."""
        if (after := self.peek()) and after.text == ";":
            self.position += 1
            return after
        self.missing_semicolon(name, value, "note")
        return value

    def missing_semicolon(self, name: Token, value: Token, severity: Severity) -> None:
        end = value.byte_end
        repair = self.repair("type a semicolon", Edit(end, end, ";".encode(self.document.source.encoding)))
        text = f"no semicolon ends the setting of {name.text}"
        self.say(value, "missing-semicolon", text, 'end it with ";"', severity=severity, repair=repair, behind=True)

    def statement_ended(self, name: Token, value: Token, after: Token) -> bool:
        """Whether the assignment stands, although something follows it on its line."""
        if after.text == ";":
            self.position += 1
            return True
        semicolon = self.repair("type a semicolon", self.replacement(after, ";"))
        if after.text == ",":
            text = f"a comma ends the setting of {name.text}"
            self.say(after, "comma", text, 'end it with ";"', severity="warning", repair=semicolon)
            self.position += 1
            return True
        if after.text in _LOOK_LIKE_SEMICOLONS:
            text = f"this is {_LOOK_LIKE_SEMICOLONS[after.text]}, not a semicolon"
            self.say(after, "semicolon", text, 'type ";"', severity="warning", repair=semicolon)
            self.position += 1
            return True
        if after.kind == "word" and (self.peek(1, "=") or after.text in _DECLARATIONS):
            self.missing_semicolon(name, value, "error")
            return True
        if after.text == "+":
            text = f"the value of {name.text} is computed; only a plain text or number is read"
            self.say(after, "computed", text, "write the value out")
        else:
            what = shown(after.text)
            self.say(after, "text-after-value", f"{what} follows the value of {name.text}", 'end the setting with ";"')
        self.next_line(after)
        return False

    def bad_value(self, name: Token, value: Token | None) -> None:
        start = self.position
        if value is None or value.line != name.line:
            self.say(self.code[self.position + 1], "no-value", f"{name.text} has no value", 'write "" for an empty one')
            self.position += 2
            self.broke(start)
            return
        if value.kind == "word":
            self.bare_word(name, value)
        elif value.text in "[{(":
            text = f"the value of {name.text} is a list or an object; only a plain text or number is read"
            self.say(value, "computed", text, 'write a list as one text: "first, second"')
        elif value.text == ";":
            self.say(value, "no-value", f"{name.text} has no value", 'write "" for an empty one')
        else:
            self.say_unreadable(value)
        self.next_line(name)
        self.broke(start)

    def bare_word(self, name: Token, value: Token) -> None:
        text = f"the value of {name.text}, {shown(value.text)}, stands without quotes"
        fix = f'write {name.text}="{value.text}";'
        after = self.peek(3)
        alone = after is None or after.line != value.line or after.text == ";"
        meant = alone and value.text not in _WORDS_OF_JAVASCRIPT and value.text not in self.assigned
        repair = self.repair("put quotes around it", self.replacement(value, f'"{value.text}"')) if meant else None
        self.say(value, "no-quotes", text, fix, repair=repair)

    def literal(self, name: Token, token: Token) -> str | None:
        """The value of a literal, or None when it cannot be trusted (it is reported)."""
        if token.kind == "number":
            return number_text(token.text)
        if token.kind == "string" and swallows(token.text):
            text = f"the value of {name.text} begins with a straight quote and seems to end with a typographic one"
            self.say(token, "typographic-quote", text, 'type " at both ends')
            return None
        try:
            value = unescaped(token.text[1:-1])
        except BadEscape as bad:
            value = None
            text = f"single backslash in the value of {name.text}: {bad}"
            self.say(token, "backslash", text, r"write each backslash twice: \\")
        if token.kind == "curly":
            self.typographic(name, token, safe=value is not None)
        return value

    def typographic(self, name: Token, token: Token, *, safe: bool) -> None:
        quote = next((char for char in (token.text[0], token.text[-1]) if char not in "\"'"), None)
        if quote is None:
            return  # straight quotes around a backslash too few, which is told
        straight = '"' if quote in DOUBLE_QUOTES else "'"
        text = f"typographic quote {quote} (U+{ord(quote):04X}) around the value of {name.text}"
        edit = self.replacement(token, straight + token.text[1:-1] + straight)
        repair = self.repair("type straight quotes", edit) if safe else None
        self.say(token, "typographic-quote", text, f"type {straight}", severity="warning", repair=repair)

    def unreadable(self, token: Token) -> None:
        if sign := self.peek(1, _WIDE_EQUALS):
            repair = self.repair("type a plain equals sign", self.replacement(sign, "="))
            self.say(sign, "equals", "this is a full-width equals sign, not =", 'type "="', repair=repair)
        else:
            self.say_unreadable(token)
        if token.kind == "unclosed":
            self.position = len(self.code)
        else:
            self.next_line(token)

    def say_unreadable(self, token: Token) -> None:
        if token.kind == "unclosed":
            self.say(token, "comment", "this comment is never closed; nothing after it is read", "end it with */")
        elif token.text == "*":
            if self.stray_star_line not in (token.line, token.line - 1):
                text = "a line of help stands outside a comment: its /* is missing"
                self.say(token, "comment", text, "put // before the line", severity="warning")
            self.stray_star_line = token.line
        elif token.text in DOUBLE_QUOTES + SINGLE_QUOTES:
            text = f"the quote {token.text} is not closed on this line"
            self.say(token, "quote", text, "close it, and end the line with ;")
        else:
            self.say(
                token, "unreadable", f"cannot read {shown(self.line_of(token))}", 'settings are written NAME="value";'
            )

    def line_of(self, token: Token) -> str:
        return LINE_END.split(self.document.source.text[token.start :], maxsplit=1)[0].strip()

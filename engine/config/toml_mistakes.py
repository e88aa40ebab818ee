"""What is wrong with a piece of TOML, in words that help, and the correction where only one can be meant.

tomllib stops at the first mistake with "Invalid value". Most mistakes here come from another form: config.js with its
semicolons, a web page with its typographic quotes.
"""

import re
import tomllib
from typing import NamedTuple

from engine.config.configjs_lexer import DOUBLE_QUOTES, SINGLE_QUOTES
from engine.config.options import OPTIONS

_QUOTES = DOUBLE_QUOTES + SINGLE_QUOTES
_QUOTED = re.compile(rf"[{_QUOTES}]([^{_QUOTES}\r\n]*)[{_QUOTES}]")
_BARE = re.compile(r"[^\s\"'\[\]{}=;][^\"'\[\]{}=;]*")
_UNCLOSED = re.compile(rf"[\"']([^{_QUOTES}\\;]*)")
_CLOSED = re.compile(r'"(?:[^"\\\r\n]|\\[^\r\n])*"|\'[^\'\r\n]*\'')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Mistake(NamedTuple):
    """`at` is where in the piece it is; `mended` what the piece should be, None where nobody can know."""

    rule_id: str
    text: str
    fix: str
    at: int = 0
    mended: str | None = None


class SyntaxProblem(NamedTuple):
    """tomllib's complaint; `line` and `column` count from 1, 0 at the end of the text."""

    text: str
    line: int
    column: int


def syntax_problem(text: str) -> SyntaxProblem | None:
    """What tomllib says against a whole text; None when it is TOML."""
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = _PLACE.search(str(error))
        reason = _PLACE.sub("", str(error)) if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
        line, column = (int(match[1] or 0), int(match[2] or 0)) if match else (0, 0)
        return SyntaxProblem(f"this is not TOML: {reason[:1].lower()}{reason[1:]}", line, column)
    return None


def read_literal(text: str) -> tuple[bool, object]:
    """Whether a text is one TOML value, and the value."""
    try:
        document = tomllib.loads(f"v = {text}\n")
    except (tomllib.TOMLDecodeError, RecursionError):
        return False, None
    return (True, document["v"]) if list(document) == ["v"] else (False, None)


def in_value(name: str, value: str) -> Mistake:
    """Of the value of `name`, which cannot be read. Says nothing of what a secret is."""
    plain = value.rstrip("; \t")
    if not plain:
        return Mistake("no-value", f"{name} has no value", 'write "" for an empty one')
    if plain != value and read_literal(plain)[0]:
        fix = 'delete the ";"'
        return Mistake("semicolon", f'";" after the value of {name}: TOML needs none', fix, len(plain), plain)
    if plain[:1] in _QUOTES:
        return _quotes(name, plain)
    if _BARE.fullmatch(plain):
        mended = _if_it_reads(_as_meant(name, plain))
        return Mistake("no-quotes", f"the value of {name} stands without quotes", 'type " around it', mended=mended)
    return Mistake("toml-syntax", f"the value of {name} is not TOML", 'write a text as "value", a list as ["a", "b"]')


def _quotes(name: str, value: str) -> Mistake:
    """Of a value that begins with a quote of some kind."""
    quoted = _QUOTED.fullmatch(value)
    if quoted and (odd := next((char for char in value if char in _QUOTES and char not in "\"'"), "")):
        text = f"typographic quote {odd} (U+{ord(odd):04X}) around the value of {name}"
        return Mistake("typographic-quote", text, 'type "', mended=_if_it_reads(f'"{quoted[1]}"'))
    if quoted and value[0] == '"':
        return _lone_backslash(name, value)
    if (closed := _CLOSED.match(value)) and closed.end() < len(value):
        fix = "take it out, or put # before it"
        return Mistake("text-after-value", f"something follows the value of {name}", fix, closed.end())
    mended = _if_it_reads(f'"{unclosed[1]}"') if (unclosed := _UNCLOSED.fullmatch(value)) else None
    return Mistake("quote", f"the quote {value[0]} before the value of {name} is not closed", "close it", mended=mended)


def in_text(name: str, value: str, written: str) -> Mistake | None:
    """Of the value of `name`, which can be read: an escape that made a control character of a backslash."""
    if not _CONTROL.search(value) or "\\" not in written or written.startswith('"""'):
        return None
    return _lone_backslash(name, written)


def in_line(line: str) -> Mistake:
    """Of a line that is no statement."""
    if sign := re.match(r"//|/\*|\*", line):
        mended = f"#{line[2:]}" if sign.group() == "//" else None
        return Mistake("comment", 'a comment begins with "#" in TOML', 'type "#"', 0, mended)
    text = "this line is no setting, no [section] and no comment"
    return Mistake("unreadable", text, 'settings are written NAME = "value"')


def _lone_backslash(name: str, written: str) -> Mistake:
    body = written[1:-1]
    text = f"a backslash in the value of {name} means something else between double quotes"
    mended = _if_it_reads(f"'{body}'") if "\\\\" not in body else None
    return Mistake("backslash", text, "write it twice, or put the value between single quotes", 0, mended)


def _as_meant(name: str, word: str) -> str:
    """A number that TOML does not write so (007) stays one where the option is a number; a backslash stays one."""
    option = OPTIONS.get(name)
    if option and option.kind == "number" and re.fullmatch(r"[0-9]{1,18}", word):
        return str(int(word))
    return f"'{word}'" if "\\" in word else f'"{word}"'


def _if_it_reads(text: str) -> str | None:
    return text if read_literal(text)[0] else None

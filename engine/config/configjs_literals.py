"""Values of config.js as they are written: reading escapes, and writing a text so that it reads back the same."""

import re
import unicodedata

from engine.config.configjs_lexer import CURLY_QUOTES, LONGEST

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "/": "/", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_CURLY_QUOTE = re.compile(f"[{CURLY_QUOTES}]")
_SWALLOWED = re.compile(rf"[{CURLY_QUOTES}]\s*;")
"""In a straight-quoted value: its own end, mistyped, after which the value ran on to the next straight quote."""


class BadEscape(Exception):
    """`args[0]` is the rest of a sentence that begins with "in the value of NAME"."""


def number_text(literal: str) -> str:
    """A number as decimal text; 0x1F is 31."""
    return str(int(literal, 0)) if literal.lstrip("+-")[:2] in ("0x", "0X") else literal


def swallows(literal: str) -> bool:
    """Whether a straight-quoted literal seems to contain its own end in another kind of quote."""
    return _SWALLOWED.search(literal) is not None


def unescaped(body: str) -> str:
    r"""The text between quotes with its escapes resolved. Raises BadEscape for a backslash that means nothing or
    makes a control character: it stands where two were meant, as in c:\temp."""
    parts, last = [], 0
    for match in _ESCAPE.finditer(body):
        code, simple = match[1] or match[2], match[3]
        char = chr(int(code, 16)) if code else _SIMPLE_ESCAPES.get(simple, "")
        if not char:
            raise BadEscape(f"{shown(match.group())} means nothing")
        if not char.isprintable():
            raise BadEscape(f"{shown(match.group())} is a control character")
        parts += [body[last : match.start()], char]
        last = match.end()
    if (len(body) - len(body.rstrip("\\"))) % 2:
        raise BadEscape("the one at the end has no second")
    return "".join([*parts, body[last:]])


def literal_of(value: str, quote: str) -> str:
    """The value as a literal in `quote` (" or '), or bare when `quote` is empty and the value a plain number.

    Raises ValueError for a character that a value of one line cannot have.
    """
    if not quote and _NUMBER.fullmatch(value):
        return value
    for char in value:
        if char != "\t" and unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"a value of config.js cannot hold the character U+{ord(char):04X}")
    if len(value) > LONGEST:
        raise ValueError(f"a value of config.js has at most {LONGEST} characters")
    quote = quote or '"'
    body = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    if swallows(body):
        body = _CURLY_QUOTE.sub(lambda found: f"\\u{ord(found.group()):04x}", body)
    return quote + body + quote


def shown(text: str) -> str:
    """For messages: at most 40 characters, none of them invisible."""
    text = text if len(text) <= 40 else text[:37] + "..."
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)

"""Lexer of VCB's config.js, a small dialect of JavaScript.

The tokens cover the text completely: their texts joined are the text, and their byte spans tile the file, so that an
editor can replace one value's bytes and keep all the rest. No text is refused; what means nothing is of kind `other`.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

DOUBLE_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\uff02'
SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b\u2032\uff07"
CURLY_QUOTES = DOUBLE_QUOTES[1:]
"""In both: the straight quote, then what web pages, word processors and Japanese keyboards put in its place."""
LINE_END = re.compile(r"\r\n|\r|\n")
LONGEST = 2048
"""Characters of a value. The bound keeps a line of nothing but escaped quotes from costing its length squared."""
_END = r"\r\n"

_TOKEN = re.compile(
    rf"""
      (?P<space>[\x20\t\r\n\f\v]+)
    | (?P<odd_space>[\u00a0\u2000-\u200b\u3000\ufeff]+)
    | (?P<comment>//[^{_END}]*|/\*.*?\*/)
    | (?P<unclosed>/\*.*)
    | (?P<string>"(?:[^"\\{_END}]|\\[^{_END}]){{0,{LONGEST}}}+"|'(?:[^'\\{_END}]|\\[^{_END}]){{0,{LONGEST}}}+')
    | (?P<curly>[{DOUBLE_QUOTES}][^{DOUBLE_QUOTES}{_END}]*[{DOUBLE_QUOTES}]
        |[{SINGLE_QUOTES}][^{SINGLE_QUOTES}{_END}]*[{SINGLE_QUOTES}])
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]++|\d++(?:\.\d++)?+)(?![\w$]))
    | (?P<word>[A-Za-z_$][A-Za-z0-9_$.]*)
    | (?P<sign>[=;,])
    | (?P<other>\d++|.)
    """,
    re.VERBOSE | re.DOTALL,
)


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


class Place(NamedTuple):
    """Where a text begins in a file: in characters, in bytes, and for people."""

    start: int = 0
    byte_start: int = 0
    line: int = 1
    column: int = 1


def tokens(text: str, encoding: str, place: Place) -> list[Token]:
    """The tokens of `text`, which begins at `place` of a file in `encoding`."""
    start, byte_start, line, column = place
    found: list[Token] = []
    plain = text.isascii() and len("a".encode(encoding)) == 1
    for match in _TOKEN.finditer(text):
        piece = match.group()
        size = len(piece) if plain else len(piece.encode(encoding))
        at = byte_start + size
        kind = match.lastgroup or "other"
        found.append(Token(kind, piece, start + match.start(), start + match.end(), byte_start, at, line, column))
        byte_start = at
        if "\n" in piece or "\r" in piece:
            breaks = [end.end() for end in LINE_END.finditer(piece)]
            line += len(breaks)
            column = len(piece) - breaks[-1] + 1
        else:
            column += len(piece)
    return found

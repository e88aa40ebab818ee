"""The encodings that configuration files of twenty years come in."""

import codecs
import re
from typing import NamedTuple

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_JAPANESE = re.compile("[\u3041-\u30fe\u3001\u3002\uff08\uff09]")
"""Kana, and the punctuation of Japanese sentences."""
_WIDE_RUN = re.compile("[\u3005-\u9fff\uff01-\uff60]+")
_UTF8 = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}")
_LEVEL_1 = re.compile(rb"[\x88-\x97\x81-\x83]")
"""Lead bytes of the kanji in daily use (JIS level 1), of punctuation and of kana."""


class Decoded(NamedTuple):
    """`bom + text.encode(encoding)` has the bytes that were decoded; for cp932, which has two codes for some
    characters, at least their number, character by character."""

    text: str
    encoding: str
    bom: bytes


def decode(data: bytes) -> Decoded:
    """The text of a configuration file: by its byte order mark, else UTF-16, UTF-8, Shift-JIS or Windows-1252.

    Never fails: Latin-1 takes what is left, also a file whose byte order mark is not true. Shift-JIS (cp932) is
    believed only where it yields Japanese, since most Windows-1252 texts with accents are valid Shift-JIS as well.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            body = data[len(bom) :]
            text = _exact(body, encoding)
            return Decoded(text, encoding, bom) if text is not None else Decoded(data.decode("latin-1"), "latin-1", b"")
    for encoding in _guesses(data):
        text = _exact(data, encoding)
        if text is not None and (encoding != "cp932" or _is_japanese(text)):
            return Decoded(text, encoding, b"")
    return Decoded(data.decode("latin-1"), "latin-1", b"")


def doubt(data: bytes, source: Decoded) -> str:
    """A sentence about a file whose encoding is not what it seems, or ""."""
    if any(data.startswith(bom) and not source.bom for bom, _ in _BOMS):
        return "the file begins with a byte order mark, but is not in the encoding that it announces"
    if source.encoding in ("cp1252", "latin-1") and _UTF8.search(data):
        return "parts of the file are UTF-8 and others are not: its letters beyond ASCII are shown wrong"
    if source.encoding == "latin-1":
        return "the file is in no encoding that is known here: its letters beyond ASCII may be shown wrong"
    return ""


def _guesses(data: bytes) -> tuple[str, ...]:
    if len(data) % 2 == 0 and data[1:2] == b"\0":
        return ("utf-16-le",)
    if len(data) % 2 == 0 and data[:1] == b"\0":
        return ("utf-16-be",)
    return ("utf-8", "cp932", "cp1252")


def _is_japanese(text: str) -> bool:
    """Whether a text that is valid Shift-JIS is meant as such: it has kana, or its wide characters come in words and
    are those of daily use. An accent of Windows-1252 makes a single and rare kanji out of itself and its neighbour."""
    if _JAPANESE.search(text):
        return True
    runs = _WIDE_RUN.findall(text)
    return bool(runs) and all(len(run) > 1 and _is_common(run) for run in runs)


def _is_common(run: str) -> bool:
    return all(_LEVEL_1.match(char.encode("cp932", "replace")) for char in run)


def _exact(data: bytes, encoding: str) -> str | None:
    """The text, if encoding it again gives the same bytes, or for cp932 as many."""
    try:
        text = data.decode(encoding)
        again = text.encode(encoding)
    except UnicodeError:
        return None
    return text if again == data or (encoding == "cp932" and len(again) == len(data)) else None

"""The encodings that configuration files of twenty years come in."""

import codecs
import re
from typing import NamedTuple

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KANA = re.compile("[\u3041-\u30fe]")


class Decoded(NamedTuple):
    """`bom + text.encode(encoding)` is exactly the bytes that were decoded."""

    text: str
    encoding: str
    bom: bytes


def decode(data: bytes) -> Decoded:
    """The text of a configuration file: by its byte order mark, else UTF-16, UTF-8, Shift-JIS or Windows-1252.

    Never fails: Latin-1 takes what is left. Shift-JIS (cp932) is believed only where it yields kana, since most
    Windows-1252 texts with accents are valid Shift-JIS as well.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            body = data[len(bom) :]
            text = _exact(body, encoding)
            return Decoded(text, encoding, bom) if text is not None else Decoded(data.decode("latin-1"), "latin-1", b"")
    for encoding in _guesses(data):
        text = _exact(data, encoding)
        if text is not None and (encoding != "cp932" or _KANA.search(text)):
            return Decoded(text, encoding, b"")
    return Decoded(data.decode("latin-1"), "latin-1", b"")


def _guesses(data: bytes) -> tuple[str, ...]:
    if len(data) % 2 == 0 and data[1:2] == b"\0":
        return ("utf-16-le",)
    if len(data) % 2 == 0 and data[:1] == b"\0":
        return ("utf-16-be",)
    return ("utf-8", "cp932", "cp1252")


def _exact(data: bytes, encoding: str) -> str | None:
    """The text, if encoding it again gives the same bytes (cp932 has several codes for some characters)."""
    try:
        text = data.decode(encoding)
        return text if text.encode(encoding) == data else None
    except UnicodeError:
        return None

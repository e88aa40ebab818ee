"""The text in which LVM2 describes a volume group: sections, and assignments of numbers, texts and lists (lvm2's
format_text; the grammar is that of lvm.conf)."""

import re
from collections.abc import Iterator
from typing import Any

from engine.errors import ImageError

Section = dict[str, Any]
_TOKEN = re.compile(r'\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|([{}=\[\],])|([^\s"{}=\[\],#]+)')
_DEEPEST = 16


def parse(text: str) -> Section:
    """Sections are dicts, lists are lists, numbers are ints. Raises `ImageError` for what is no such text."""
    tokens = _tokens(text)
    section = _section(tokens, 0)
    if next(tokens, None) is not None:
        raise _malformed("a brace too many")
    return section


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(kind, value): kind is text, sign or word."""
    at = 0
    while at < len(text):
        if not (found := _TOKEN.match(text, at)):
            raise _malformed(f"{text[at : at + 20]!r} is not closed")
        at = found.end()
        quoted, sign, word = found.groups()
        if quoted is not None:
            yield "text", re.sub(r"\\(.)", r"\1", quoted)
        elif sign or word:
            yield ("sign", sign) if sign else ("word", word)


def _section(tokens: Iterator[tuple[str, str]], depth: int) -> Section:
    found: Section = {}
    for kind, name in tokens:
        if (kind, name) == ("sign", "}") and depth:
            return found
        if kind != "word" or depth > _DEEPEST:
            raise _malformed(f"{name!r} where a name is expected")
        sign = next(tokens, None)
        if sign == ("sign", "{"):
            found[name] = _section(tokens, depth + 1)
        elif sign == ("sign", "="):
            found[name] = _value(tokens)
        else:
            raise _malformed(f"{name!r} has no value")
    if depth:
        raise _malformed("it ends inside a section")
    return found


def _value(tokens: Iterator[tuple[str, str]]) -> Any:
    kind, value = next(tokens, ("sign", "the end"))
    if (kind, value) != ("sign", "["):
        return _scalar(kind, value)
    values: list[Any] = []
    for kind, value in tokens:
        if (kind, value) == ("sign", "]"):
            return values
        if (kind, value) != ("sign", ","):
            values.append(_scalar(kind, value))
    raise _malformed("it ends inside a list")


def _scalar(kind: str, value: str) -> Any:
    if kind == "sign":
        raise _malformed(f"{value!r} where a value is expected")
    return int(value) if kind == "word" and re.fullmatch(r"-?[0-9]{1,19}", value) else value


def _malformed(what: str) -> ImageError:
    return ImageError("The description of a volume group of LVM can't be read: it is damaged.", fault=what)

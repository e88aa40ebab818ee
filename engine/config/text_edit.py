"""The text of a document edited by hand, line by line, and back to bytes.

An editor of lines forgets which line end each line has; lines that were not touched keep theirs here, and all else of
their bytes.
"""

import codecs
from collections.abc import Sequence
from itertools import takewhile

from engine.config.document import Document, document_of
from engine.config.encoding import decode
from engine.config.toml_statements import LINE_END
from engine.errors import ConfigError


def lines_of_text(document: Document) -> list[str]:
    """The lines without their ends, at least one; a file that ends with a line end has an empty last line."""
    return LINE_END.split(document.text)


def with_lines(document: Document, lines: Sequence[str]) -> Document:
    """The document with other lines; the same document when they are the same. New lines get the line end that most
    have. Raises ConfigError for a character that the file's encoding does not have."""
    old = lines_of_text(document)
    new = [part for line in lines for part in LINE_END.split(line)]
    if old == new:
        return document
    same_first = _common(old, new)
    same_last = _common(old[same_first:][::-1], new[same_first:][::-1])
    starts = [0, *(match.end() for match in LINE_END.finditer(document.text)), len(document.text)]
    ending = len(old) - same_last
    head = document.text[: starts[same_first]] if same_first < len(old) else document.text + document.newline
    tail = document.text[starts[ending] :] if same_last else ""
    middle = document.newline.join(new[same_first : len(new) - same_last])
    if same_last and same_first < len(new) - same_last:
        middle += document.newline
    elif not same_last and same_first == len(new):
        head = document.text[: starts[same_first - 1] + len(old[same_first - 1])]
    return document_of(_encoded(document, head + middle + tail), document.file)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _encoded(document: Document, text: str) -> bytes:
    bom = decode(document.to_bytes()).bom
    try:
        return bom + text.encode(document.encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        name = codecs.lookup(document.encoding).name
        raise ConfigError(
            f"{character!r} (U+{ord(character):04X}) cannot be written in {name}, the file's encoding",
            file=document.file,
            hint="Use another character; or convert the file to TOML, which is UTF-8.",
        ) from None

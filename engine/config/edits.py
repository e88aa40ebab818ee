"""Places in a configuration file, and replacements of its bytes.

Spans are byte offsets [start, end) of the file as it is on disk, byte order mark included.
"""

from collections.abc import Iterable
from typing import NamedTuple

Span = tuple[int, int]


class Entry(NamedTuple):
    """One value in a file. `value` is its text: quotes gone, escapes resolved, a list joined with ", ".

    `line` and `column` (from 1, in characters) are where the value begins, `name_column` where its name does. `span`
    are the bytes of the value as written, quotes included; `name_span` those of the name.
    """

    value: str
    line: int
    column: int
    span: Span
    name_column: int
    name_span: Span


class Edit(NamedTuple):
    """Replaces the bytes [start, end) by `new`. An empty span inserts, empty `new` deletes."""

    start: int
    end: int
    new: bytes


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The bytes with all `edits` made; their offsets are those of `data`, and they do not overlap."""
    parts: list[bytes] = []
    at = 0
    for edit in sorted(edits):
        assert edit.start >= at, "edits overlap"
        parts += [data[at : edit.start], edit.new]
        at = edit.end
    return b"".join([*parts, data[at:]])

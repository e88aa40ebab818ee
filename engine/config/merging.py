"""Three versions of a file side by side: what was read (base), what shall be saved (mine), what lies on the disk now.

Pure functions over bytes, by lines; a line keeps its end, and in UTF-16 it is cut at the right byte. Nothing here
decides: `ThreeWay.merged` is an offer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from engine.config.encoding import decode

Lines = tuple[bytes, ...]
Kind = Literal["unchanged", "mine", "theirs", "same", "conflict"]


class Hunk(NamedTuple):
    """Lines that belong together. `kind` says who changed them: nobody, I, the other, both to the same, both.

    `line` (from 1) is the first of them in the base; an insertion comes before that line.
    """

    kind: Kind
    line: int
    base: Lines
    mine: Lines
    disk: Lines

    @property
    def chosen(self) -> Lines:
        """The lines of the merge; for a conflict there are none to choose, and these are mine."""
        return self.disk if self.kind == "theirs" else self.mine


@dataclass(frozen=True)
class ThreeWay:
    """The hunks cover each of the three versions completely, in order.

    `encoding` is that of all three, or "" where they differ: then bytes of one do not belong among the others'.
    """

    hunks: tuple[Hunk, ...]
    encoding: str

    @property
    def conflicts(self) -> tuple[Hunk, ...]:
        return tuple(hunk for hunk in self.hunks if hunk.kind == "conflict")

    @property
    def merged(self) -> bytes | None:
        """Both changes in one file; None when they overlap or the encodings differ."""
        if self.conflicts or not self.encoding:
            return None
        return b"".join(line for hunk in self.hunks for line in hunk.chosen)


class _Change(NamedTuple):
    """Lines [start, end) of the base became lines [new_start, new_end) of a side."""

    start: int
    end: int
    new_start: int
    new_end: int


def three_way(base: bytes, mine: bytes, disk: bytes) -> ThreeWay:
    """Compares two changes of one file. Changes conflict when they touch the same line of the base, or insert at a
    place that the other changed as well; changes of neighbouring lines do not."""
    sides = [lines_of(base), lines_of(mine), lines_of(disk)]
    return ThreeWay(tuple(_hunks(*sides)), _common_encoding(base, mine, disk))


def lines_of(data: bytes) -> Lines:
    """The lines with their ends (LF, CR LF or CR); joined they are `data` again."""
    encoding = decode(data).encoding
    if not encoding.startswith("utf-16"):
        return tuple(data.splitlines(keepends=True))
    text = data.decode(encoding, "surrogatepass")  # its byte order mark is a character like any other here
    return tuple(line.encode(encoding, "surrogatepass") for line in _cut(text))


def _common_encoding(*versions: bytes) -> str:
    """ASCII goes with every encoding but UTF-16; a byte order mark is a matter of the first line alone."""
    encodings = {decode(data).encoding for data in versions if data}
    if any(encoding.startswith("utf-16") for encoding in encodings):
        return encodings.pop() if len(encodings) == 1 else ""
    beyond_ascii = {decode(data).encoding for data in versions if not data.isascii()} or {"utf-8"}
    return beyond_ascii.pop() if len(beyond_ascii) == 1 else ""


def _cut(text: str) -> Iterator[str]:
    """At the same ends as bytes.splitlines; str.splitlines knows others."""
    start = 0
    for index, character in enumerate(text):
        if character == "\n" or (character == "\r" and text[index + 1 : index + 2] != "\n"):
            yield text[start : index + 1]
            start = index + 1
    if start < len(text):
        yield text[start:]


def _hunks(base: Lines, mine: Lines, disk: Lines) -> Iterator[Hunk]:
    ours, theirs = _changes(base, mine), _changes(base, disk)
    at = my_shift = disk_shift = 0  # next line of the base; how far a side's numbers are ahead of it
    while ours or theirs:
        start, end, my_part, disk_part = _next_region(ours, theirs)
        if at < start:
            same = base[at:start]
            yield Hunk("unchanged", at + 1, same, same, same)
        my_end = end + (my_part[-1].new_end - my_part[-1].end if my_part else my_shift)
        disk_end = end + (disk_part[-1].new_end - disk_part[-1].end if disk_part else disk_shift)
        sides = base[start:end], mine[start + my_shift : my_end], disk[start + disk_shift : disk_end]
        yield Hunk(_kind(bool(my_part), bool(disk_part), sides[1] == sides[2]), start + 1, *sides)
        at, my_shift, disk_shift = end, my_end - end, disk_end - end
    if at < len(base):
        yield Hunk("unchanged", at + 1, base[at:], base[at:], base[at:])


def _kind(mine: bool, theirs: bool, equal: bool) -> Kind:
    if mine and theirs:
        return "same" if equal else "conflict"
    return "mine" if mine else "theirs"


def _changes(base: Lines, side: Lines) -> list[_Change]:
    matcher = SequenceMatcher(None, base, side, autojunk=False)
    return [_Change(*place) for tag, *place in matcher.get_opcodes() if tag != "equal"]


def _next_region(ours: list[_Change], theirs: list[_Change]) -> tuple[int, int, list[_Change], list[_Change]]:
    """Takes the first change off the lists with all that hang together with it: (start, end, mine, theirs)."""
    my_part: list[_Change] = []
    disk_part: list[_Change] = []
    first_list, first_part = (ours, my_part) if _first_is(ours, theirs) else (theirs, disk_part)
    first_part.append(first_list.pop(0))
    start, end = first_part[0].start, first_part[0].end
    grown = True
    while grown:
        grown = False
        for changes, part, other in ((ours, my_part, disk_part), (theirs, disk_part, my_part)):
            while changes and any(_touch(changes[0], change) for change in other):
                part.append(changes.pop(0))
                end, grown = max(end, part[-1].end), True
    return start, end, my_part, disk_part


def _first_is(ours: list[_Change], theirs: list[_Change]) -> bool:
    return bool(ours) and (not theirs or ours[0][:2] <= theirs[0][:2])


def _touch(one: _Change, other: _Change) -> bool:
    """True for a common line of the base, and for an insertion at the edge of the other change."""
    if one.start == one.end or other.start == other.end:
        return one.start <= other.end and other.start <= one.end
    return one.start < other.end and other.start < one.end

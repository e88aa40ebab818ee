"""The files of a journal or of a trace as pages of lines: any page can be had without reading the ones before it.

A page is what begins within 128 KiB of a file, so that where it lies is arithmetic and nothing has to be read to know
it. Pages are read when somebody looks at them; a few stay in memory, and of the others one byte at most: which levels
occur in it.
"""

import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine.jobs.journal import files_of

PAGE = 128 << 10
_KEPT = 24
_LINE = re.compile(rb'^\{"seq":(\d+),.*\}$', re.MULTILINE)
"""A whole line: a torn one lacks its end, and what another program wrote has no `seq` in front."""


class Line(NamedTuple):
    """One line of a job's files: its number, and its JSON as it stands."""

    seq: int
    data: bytes


class Place(NamedTuple):
    """Number of a file, and of a page in it."""

    file: int
    page: int


class Page:
    """The lines that begin in one page, in the order of their numbers."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lines: tuple[Line, ...] | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        if self._lines is None:
            self._lines = tuple(Line(int(match[1]), match[0]) for match in _LINE.finditer(self.data))
        return self._lines


class LineFiles:
    """The pages of the numbered files `name.NNNN.jsonl` in `directory`. `look` says how far they reach; what is
    written after it does not exist until the next one."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._sizes: dict[int, int] = {}
        self._pages: OrderedDict[Place, tuple[int, Page]] = OrderedDict()
        self._firsts: dict[Place, int] = {}
        self.marks: dict[Place, int] = {}
        """For whoever searches: what is known of a page that will not change any more."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self._sizes.values())

    def look(self) -> bool:
        """Whether the files have changed since the last call."""
        sizes: dict[int, int] = {}
        for number, path in files_of(self._directory, self._name):
            try:
                sizes[number] = path.stat().st_size
            except FileNotFoundError:  # the trace has just dropped it
                continue
        changed, self._sizes = sizes != self._sizes, sizes
        return changed

    def complete(self, place: Place) -> bool:
        """Whether nothing can be appended to this page any more."""
        later = place.file != max(self._sizes, default=0)
        return later or (place.page + 1) * PAGE < self._sizes[place.file]

    def read(self, place: Place) -> Page:
        """The page; one without lines when its file is gone."""
        end = min((place.page + 1) * PAGE, self._sizes.get(place.file, 0))
        known = self._pages.get(place)
        if known and known[0] == end:
            self._pages.move_to_end(place)
            return known[1]
        page = Page(self._bytes(place, end))
        self._pages[place] = end, page
        self._pages.move_to_end(place)
        if len(self._pages) > _KEPT:
            self._pages.popitem(last=False)
        return page

    def _bytes(self, place: Place, end: int) -> bytes:
        """From the first line that begins in the page to the end of the last one."""
        start = place.page * PAGE
        before = 1 if start else 0  # a line end just before the page means that a line begins with it
        try:
            fd = os.open(self._directory / f"{self._name}.{place.file:04d}.jsonl", os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            data = os.pread(fd, end - start + before, start - before)
            first = data.find(b"\n") + 1 if before else 0
            if before and not first:
                return b""  # the middle of a line longer than a page
            pieces, at = [data], end
            while at < self._sizes[place.file] and b"\n" not in pieces[-1][-1:]:
                piece = os.pread(fd, 4096, at)
                stop = piece.find(b"\n") + 1
                pieces.append(piece[:stop] if stop else piece)
                at += len(pieces[-1])
                if not piece:
                    break
        finally:
            os.close(fd)
        whole = b"".join(pieces)
        return whole[first : whole.rfind(b"\n") + 1]

    def places(self, start: Place | None, *, backward: bool) -> Iterator[Place]:
        """The pages from `start` on (None: from the very end or the very beginning)."""
        for number in sorted(self._sizes, reverse=backward):
            if start and (number > start.file if backward else number < start.file):
                continue
            count = -(-self._sizes.get(number, 0) // PAGE)
            first = start.page if start and number == start.file else (count - 1 if backward else 0)
            for page in range(first, -1, -1) if backward else range(first, count):
                yield Place(number, page)

    def place_of(self, seq: int) -> Place | None:
        """The last page that begins with a number up to `seq`; None when all are greater. A binary search: a few pages
        are read."""
        known = list(self.places(None, backward=False))
        at = bisect_right(known, seq, key=self._first)
        return known[at - 1] if at else None

    def _first(self, place: Place) -> int:
        """The number that a page begins with; one without lines counts as the next one's."""
        if (known := self._firsts.get(place)) is not None:
            return known
        for later in self.places(place, backward=False):
            if lines := self.read(later).lines:
                self._firsts[place] = lines[0].seq
                return lines[0].seq
        return 1 << 62

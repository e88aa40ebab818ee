"""A job's journal and trace as one sequence of lines that can be walked from anywhere, both ways, through a filter.

Nothing is decoded to decide whether a line is shown: what a filter asks for stands at a fixed place of the line
(engine.jobs.journal writes `seq` and `part` first, msgspec the fields in their order) and is found by one pattern.
Walking is an iterator that also yields None, after each page: whoever walks may stop there and go on later, so that a
search through gigabytes never holds up a key press.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.events import AnyEvent, decode
from engine.jobs.journal import JOURNAL, TRACE
from engine.loglevel import LogLevel
from tui.models.event_text import words
from tui.models.journal_pages import Line, LineFiles, Page, Place

_STRING = rb'"((?:[^"\\]|\\.)*)"'
_GLANCE = re.compile(
    rb'\{"seq":\d+,"part":(\d+),"event":"([a-z-]+)"(?:,"at":[-+.0-9eE]+)?'
    rb'(?:,"vm":' + _STRING + rb')?(?:,"disk":' + _STRING + rb')?(?:,"stage":' + _STRING + rb')?(?:,"level":(\d+))?'
)
_LEVELS = {
    b"result": LogLevel.FATAL, b"job-ended": LogLevel.FATAL,
    b"disk-skipped": LogLevel.WARNING, b"retry": LogLevel.WARNING, b"fallback": LogLevel.WARNING,
    b"plan": LogLevel.STAGE, b"stage-ended": LogLevel.STAGE, b"disk-started": LogLevel.STAGE,
    b"disk-ended": LogLevel.STAGE, b"stage-started": LogLevel.STEP, b"disk-progress": LogLevel.WIRE,
}  # fmt: skip
"""The level at which an event that is no log record is shown. How a job ended is shown at every level."""
_SIGNS = tuple(
    [(1 << level, b',"level":%d,"text":' % level) for level in LogLevel]
    + [(1 << level, b',"event":"%b"' % kind) for kind, level in _LEVELS.items()]
)
LAST = 1 << 62
"""A number that no line reaches."""


class Glance(NamedTuple):
    """What can be told of a line without decoding it. Names are as JSON writes them."""

    part: int
    kind: bytes
    level: int
    disk: bytes
    stage: bytes

    @classmethod
    def at(cls, data: bytes) -> "Glance | None":
        """None for a line of a kind that this version does not know."""
        match = _GLANCE.match(data)
        if match is None:
            return None
        part, kind, _, disk, stage, level = match.groups()
        if kind == b"log":
            return cls(int(part), kind, int(level), disk or b"", stage or b"") if level else None
        known = _LEVELS.get(kind)
        return None if known is None else cls(int(part), kind, known, disk or b"", stage or b"")


def decoded(line: Line) -> AnyEvent | None:
    """The event of a line; None for one that only looks whole."""
    try:
        return decode(line.data)
    except msgspec.DecodeError:
        return None


class Filter(msgspec.Struct, frozen=True):
    """Which lines are shown. `level` up to which; `part` of the job (None: all), which keeps the lines of the job
    itself; `disk`; `pattern` in the words of the line. Stages are folded to their last line and to what went wrong in
    them: those in `folds`, or with `fold_all` all but those. `records_only` leaves out how jobs ended."""

    level: int = int(LogLevel.WIRE)
    part: int | None = None
    disk: str = ""
    pattern: re.Pattern[str] | None = None
    folds: frozenset[tuple[int, bytes]] = frozenset()
    fold_all: bool = False
    records_only: bool = False

    @property
    def mask(self) -> int:
        return (2 << self.level) - 1

    @property
    def reads_trace(self) -> bool:
        """The trace holds nothing up to LOGLEVEL 3."""
        return self.level > LogLevel.STAGE

    def accepts(self, line: Line) -> bool:
        seen = Glance.at(line.data)
        if seen is None or seen.level > self.level:
            return False
        if self.records_only and seen.kind != b"log":
            return False
        if self.part is not None and seen.part not in (0, self.part):
            return False
        if self.disk and seen.disk != _as_json(self.disk):
            return False
        if (self.folds or self.fold_all) and self._hidden(seen):
            return False
        return self.pattern is None or self._matches(line)

    def folded(self, part: int, stage: bytes) -> bool:
        return ((part, stage) in self.folds) != self.fold_all

    def _hidden(self, seen: Glance) -> bool:
        return (
            bool(seen.stage)
            and seen.kind != b"stage-ended"
            and seen.level > LogLevel.WARNING
            and self.folded(seen.part, seen.stage)
        )

    def _matches(self, line: Line) -> bool:
        event = decoded(line)
        return event is not None and self.pattern is not None and self.pattern.search(words(event)) is not None


EVERYTHING = Filter()


class JournalIndex:
    """The lines of the job in `directory`, in the order of their numbers. `look` before anything is asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.streams = LineFiles(directory, JOURNAL), LineFiles(directory, TRACE)

    def look(self) -> bool:
        """Takes in what was written since the last call; whether that is anything."""
        changed = [stream.look() for stream in self.streams]
        return any(changed)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(stream.size for stream in self.streams)

    def newest(self) -> tuple[int, int]:
        """The numbers of the newest lines of journal and trace, 0 without any."""
        journal, trace = (_edge(stream, backward=True) for stream in self.streams)
        return journal, trace

    def first(self) -> int:
        """The lowest number there is, 0 without any."""
        return min((seq for stream in self.streams if (seq := _edge(stream, backward=False))), default=0)

    def forward(self, after: tuple[int, int], shown: Filter) -> Iterator[Line | None]:
        """Lines with greater numbers than `after` (of journal, of trace), ascending; None between them at times."""
        walks = [
            _walk(stream, shown, seq, backward=False) for stream, seq in zip(self._asked(shown), after, strict=False)
        ]
        return _merged(walks, backward=False)

    def backward(self, before: int, shown: Filter, floors: tuple[int, int] = (0, 0)) -> Iterator[Line | None]:
        """Lines with numbers below `before` and above `floors` (of journal, of trace), descending."""
        walks = [
            _until(_walk(stream, shown, before, backward=True), floor)
            for stream, floor in zip(self._asked(shown), floors, strict=False)
        ]
        return _merged(walks, backward=True)

    def _asked(self, shown: Filter) -> tuple[LineFiles, ...]:
        return self.streams if shown.reads_trace else self.streams[:1]


def _as_json(name: str) -> bytes:
    return msgspec.json.encode(name)[1:-1]


def _edge(stream: LineFiles, *, backward: bool) -> int:
    for place in stream.places(None, backward=backward):
        if lines := stream.read(place).lines:
            return lines[-1 if backward else 0].seq
    return 0


def _walk(stream: LineFiles, shown: Filter, seq: int, *, backward: bool) -> Iterator[Line | None]:
    """The lines below or above `seq` that are shown; None after each page."""
    start = None if seq in (0, LAST) else stream.place_of(seq)
    if start is None and backward and seq != LAST:
        return
    for place in stream.places(start, backward=backward):
        if (stream.marks.get(place, shown.mask) & shown.mask) == 0:
            yield None
            continue
        page = stream.read(place)
        if not _may_show(stream, place, page, shown):
            yield None
            continue
        lines = page.lines
        if backward:
            lines = lines[: bisect_left(lines, seq, key=_seq)] if lines and lines[-1].seq >= seq else lines
        elif lines and lines[0].seq <= seq:
            lines = lines[bisect_right(lines, seq, key=_seq) :]
        for line in reversed(lines) if backward else lines:
            if shown.accepts(line):
                yield line
        yield None


def _seq(line: Line) -> int:
    return line.seq


def _may_show(stream: LineFiles, place: Place, page: Page, shown: Filter) -> bool:
    """A page none of whose lines can be shown at this level is not even cut into lines; that is remembered."""
    if place not in stream.marks:
        if shown.level == LogLevel.WIRE:
            return True
        mark = 0
        for bit, sign in _SIGNS:
            if not mark & bit and sign in page.data:
                mark |= bit
        if stream.complete(place):
            stream.marks[place] = mark
        return bool(mark & shown.mask)
    return bool(stream.marks[place] & shown.mask)


def _until(walk: Iterator[Line | None], floor: int) -> Iterator[Line | None]:
    for line in walk:
        if line is not None and line.seq <= floor:
            return
        yield line


def _merged(walks: list[Iterator[Line | None]], *, backward: bool) -> Iterator[Line | None]:
    """The walks as one; no line is given before every walk has one to compare it with, or has ended."""
    heads: list[tuple[Line, Iterator[Line | None]]] = []
    waiting = walks
    while heads or waiting:
        for walk in waiting:
            for line in walk:
                if line is not None:
                    heads.append((line, walk))
                    break
                yield None
        if not heads:
            return
        line, walk = (max if backward else min)(heads, key=lambda head: head[0].seq)
        heads = [head for head in heads if head[1] is not walk]
        waiting = [walk]
        yield line

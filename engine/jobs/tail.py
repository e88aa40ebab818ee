"""Reading a journal while it grows: from any position, over rotations, together with its trace.

A reader never locks and never writes: any number of them may follow one job, and each can start where it left.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.events import AnyEvent, decode
from engine.jobs.journal import JOURNAL, TRACE, files_of

_PREFIX = b'{"seq":'
_CHUNK = 4 << 20
_PATIENCE = 2.0
"""Seconds without news after which a gap in the numbering counts as lost."""


class Entry(NamedTuple):
    """One line: its number, the job's part it belongs to (0: the job itself), the event, and the line as it stands."""

    seq: int
    part: int
    event: AnyEvent
    line: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on reading: the number of a file, and the byte in it."""

    file: int = 0
    offset: int = 0


class FileTail:
    """The lines of the journal or of the trace alone, in their order."""

    def __init__(self, directory: Path, name: str = JOURNAL, position: Position = Position()) -> None:
        self._directory, self._name = directory, name
        self.position = position

    def read(self, limit: int = _CHUNK) -> list[Entry]:
        """The whole lines that came since the last call, about `limit` bytes at most; [] when there are none."""
        while piece := self.piece(limit):
            if entries := [entry for line in piece.split(b"\n")[:-1] if (entry := parse(line))]:
                return entries
        return []

    def piece(self, limit: int = _CHUNK) -> bytes:
        """The same lines as they stand, each with its end: for whoever wants few of them decoded.

        Goes to the next file only when that one exists and this one has nothing more: its writer is then through with
        this one, and a last line without its end was torn.
        """
        while True:
            following = self._following()
            if lines := self._lines(limit):
                return lines
            if following is None:
                return b""
            self.position = Position(following)

    def _following(self) -> int | None:
        return next(
            (number for number, _ in files_of(self._directory, self._name) if number > self.position.file), None
        )

    def _lines(self, limit: int) -> bytes:
        path = self._directory / f"{self._name}.{self.position.file:04d}.jsonl"
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(self.position.offset)
                data = file.read(limit) or b""
                while data and b"\n" not in data and (more := file.read(limit)):
                    data += more  # one line longer than the limit
        except FileNotFoundError:  # before the first file, or the trace has dropped this one
            return b""
        whole = data[: data.rfind(b"\n") + 1]
        self.position = Position(self.position.file, self.position.offset + len(whole))
        return whole


class JournalReader:
    """The events of a job in their order. Without `trace`, records of LOGLEVEL 4-6 are not read at all."""

    def __init__(self, directory: Path, *, trace: bool = True, position: Position = Position()) -> None:
        self._journal = FileTail(directory, JOURNAL, position)
        self._trace = FileTail(directory, TRACE) if trace else None
        self._seen = {False: 0, True: 0}
        self._held: dict[int, Entry] = {}
        self._next = 1
        self._idle = False
        self._news_at = time.monotonic()

    @property
    def position(self) -> Position:
        """Where the journal is read next; a reader without trace can start there."""
        return self._journal.position

    def read(self, limit: int = _CHUNK) -> list[Entry]:
        """What came since the last call, in order; [] when there is nothing yet that can be told in order."""
        if self._trace is None:
            return self._journal.read(limit)
        first, second = (self._trace, self._journal) if self._behind else (self._journal, self._trace)
        news, source = first.read(limit), first
        if not news:
            news, source = second.read(limit), second
        if news:
            self._seen[source is self._trace] = news[-1].seq
        self._held.update((entry.seq, entry) for entry in news)
        self._idle = not news
        if news:
            self._news_at = time.monotonic()
        return list(self._ordered(hurry=time.monotonic() - self._news_at > _PATIENCE))

    def drain(self) -> Iterator[Entry]:
        """Everything there is up to now, in order, whatever is missing in between: for a job that has ended."""
        while True:
            news = self.read()
            yield from news
            if not news and (self._trace is None or self._idle):
                yield from self._ordered(hurry=True)
                return

    @property
    def _behind(self) -> bool:
        """Whether the trace is to be read before the journal: the one that is behind, so that little is held."""
        return self._seen[True] <= self._seen[False]

    def _ordered(self, *, hurry: bool) -> Iterator[Entry]:
        """The two files are written one after the other, so that one may be ahead: an entry waits until the numbers
        before it have come. They never will when both files are past them (the trace dropped them), or when nothing
        has come for a while (`hurry`)."""
        past = min(self._seen.values())
        while self._held:
            if self._next not in self._held:
                first = min(self._held)
                if first > past and not hurry:
                    return
                self._next = first
            yield self._held.pop(self._next)
            self._next += 1


def parse(line: bytes) -> Entry | None:
    """The entry of a line; None for one that is torn, or that a newer version wrote and this one can't read."""
    if not line.startswith(_PREFIX):
        return None
    try:
        seq, part, _ = line.split(b",", 2)
        return Entry(int(seq[len(_PREFIX) :]), int(part.partition(b":")[2]), decode(line), line)
    except (ValueError, msgspec.DecodeError):
        return None

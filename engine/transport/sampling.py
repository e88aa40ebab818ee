"""How fast a disk can be read this way: a sample of it, bounded in bytes and in seconds, thrown away as it comes.

Stretches at random places where there is data: from the beginning a second sample would come from somebody's cache, and
holes cost nothing to read.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.cancel import CancelToken
from engine.errors import TransportError
from engine.extents import DiskSource, Extent, aligned, intersection, merged, total
from engine.page_memory import private_memory

MOST_BYTES = 256 << 20
MOST_SECONDS = 5.0
GRACE = 30.0
"""Seconds beyond, in which reads under way must have ended."""
_READ = 2 << 20
_STRETCHES = 16
_BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Sample:
    """`read` bytes in `seconds`, the first request's latency included."""

    read: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.read / self.seconds


def places(extents: Sequence[Extent], most: int, chance: random.Random) -> list[Extent]:
    """About `most` bytes of the extents (ascending, disjoint), in a few stretches at random; all where there are no
    more."""
    if total(extents) <= most:
        return list(extents)
    length = max(_BLOCK, most // _STRETCHES)
    starts = (
        chance.randrange(extent.start, extent.end) // _BLOCK * _BLOCK
        for extent in chance.choices(extents, [extent.length for extent in extents], k=_STRETCHES)
    )
    return intersection(extents, merged(Extent(start, length) for start in starts))


def measure(
    source: DiskSource,
    *,
    threads: int,
    cancel: CancelToken,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
    grace: float = GRACE,
    chance: random.Random | None = None,
) -> Sample | None:
    """None for a disk without data. `threads` reads of 2 MiB are under way at a time. Raises Cancelled, what the
    source raises, and TransportError when reads do not end within `grace` seconds: their threads are left behind."""
    allocated = aligned(source.allocated(), 512, source.capacity)
    wanted = places(allocated, most_bytes, chance or random.SystemRandom())
    if not wanted:
        return None
    readers = _Readers(source, wanted, cancel, time.monotonic() + most_seconds)
    return readers.run(threads, grace)


class _Readers:
    def __init__(self, source: DiskSource, wanted: Sequence[Extent], cancel: CancelToken, until: float) -> None:
        self._source, self._cancel, self._until = source, cancel, until
        self._pieces = _pieces(wanted)
        self._lock = threading.Lock()
        self._began = self._ended = time.monotonic()
        self._read = 0
        self._error: BaseException | None = None

    def run(self, threads: int, grace: float) -> Sample:
        crew = [threading.Thread(target=self._work, name=f"sample-{n}", daemon=True) for n in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join(max(0.0, self._until + grace - time.monotonic()))
        self._cancel.check()
        if self._error is not None:
            raise self._error
        if any(thread.is_alive() for thread in crew):
            raise TransportError(
                f"Reads over {self._source.transport} did not end within {grace:.0f} seconds.",
                hint="A path to the storage, or the host that sends, may be down: look into the kernel's log.",
            )
        return Sample(self._read, max(self._ended - self._began, 1e-6))

    def _work(self) -> None:
        buffer = private_memory(_READ)
        try:
            while (piece := self._next()) is not None:
                self._source.read_into(piece.start, buffer[: piece.length])
                with self._lock:
                    self._read += piece.length
                    self._ended = time.monotonic()
        except BaseException as error:  # raised again by `run`
            self._error = self._error or error

    def _next(self) -> Extent | None:
        """At least one, however slow the first is."""
        with self._lock:
            over = self._read and time.monotonic() >= self._until
            return None if over or self._error or self._cancel.cancelled else next(self._pieces, None)


def _pieces(wanted: Sequence[Extent]) -> Iterator[Extent]:
    for extent in wanted:
        for start in range(extent.start, extent.end, _READ):
            yield Extent(start, min(_READ, extent.end - start))

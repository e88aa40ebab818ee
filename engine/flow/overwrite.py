"""Two disks side by side: where the second is not what the first is, it is written, or found wrong."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from engine.cancel import CancelToken
from engine.errors import VerifyError
from engine.extents import DiskSource, Extent, aligned, merged
from engine.flow.restore_job import DiskWatch
from engine.image.sparse_header import GRAIN

_PIECE = 16 * GRAIN
_WORKERS = 4
"""Threads that compare and write; each holds two pieces of 1 MiB."""


def areas_of(image: DiskSource, disk: DiskSource) -> tuple[list[Extent], list[Extent]]:
    """Where either side holds data, and where the VM's disk does; whole grains."""
    held, wanted = (aligned(each.allocated(), GRAIN, image.capacity) for each in (disk, image))
    return merged([*held, *wanted]), held


class Target(DiskSource, Protocol):
    def write(self, offset: int, buffer: memoryview) -> None: ...


class Overwrite:
    """Both disks side by side, piece by piece; grains that differ are written, or, without a `watch`, an error."""

    def __init__(
        self,
        image: DiskSource,
        target: Target,
        allocated: Sequence[Extent],
        watch: DiskWatch | None,
        cancel: CancelToken,
    ) -> None:
        self._image, self._target, self._watch, self._cancel = image, target, watch, cancel
        self._allocated = allocated
        self._read = self._written = 0

    def run(self, areas: Sequence[Extent]) -> int:
        """Bytes written. Raises what either side raises, VerifyError, Cancelled."""
        pieces = _pieces(areas)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="restore") as pool:
            running: set[Future[tuple[int, int]]] = set()
            try:
                for piece in pieces:
                    if len(running) >= 2 * _WORKERS:
                        running = self._collect(running)
                    running.add(pool.submit(self._piece, piece))
                while running:
                    running = self._collect(running)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return self._written

    def _collect(self, running: set[Future[tuple[int, int]]]) -> set[Future[tuple[int, int]]]:
        self._cancel.check()
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            read, written = future.result()
            self._read += read
            self._written += written
        if self._watch:
            self._watch.progress(self._read, self._written)
        return running

    def _piece(self, piece: Extent) -> tuple[int, int]:
        wanted, there = memoryview(bytearray(piece.length)), memoryview(bytearray(piece.length))
        self._image.read_into(piece.start, wanted)
        for held in _inside(self._allocated, piece):
            self._target.read_into(held.start, there[held.start - piece.start : held.end - piece.start])
        written = 0
        for start, end in _differing(wanted, there):
            if self._watch is None:
                raise VerifyError(
                    f"What was written at byte {piece.start + start:,} does not come back.",
                    hint="The disk is not what the point holds: suspect the datastore, and restore again.",
                )
            self._target.write(piece.start + start, wanted[start:end])
            written += end - start
        return piece.length, written


def _pieces(areas: Sequence[Extent]) -> Iterator[Extent]:
    for area in areas:
        for start in range(area.start, area.end, _PIECE):
            yield Extent(start, min(_PIECE, area.end - start))


def _inside(extents: Sequence[Extent], piece: Extent) -> Iterator[Extent]:
    """The parts of `piece` that `extents` (ascending, disjoint) hold."""
    low, high = 0, len(extents)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if extents[middle].end <= piece.start else (low, middle)
    while low < len(extents) and extents[low].start < piece.end:
        start, end = max(piece.start, extents[low].start), min(piece.end, extents[low].end)
        yield Extent(start, end - start)
        low += 1


def _differing(wanted: memoryview, there: memoryview) -> Iterator[tuple[int, int]]:
    """Runs of grains that are not the same, as byte ranges."""
    if wanted == there:
        return
    begun = -1
    for start in range(0, len(wanted), GRAIN):
        same = wanted[start : start + GRAIN] == there[start : start + GRAIN]
        if same and begun >= 0:
            yield begun, start
        begun = -1 if same else (start if begun < 0 else begun)
    if begun >= 0:
        yield begun, len(wanted)

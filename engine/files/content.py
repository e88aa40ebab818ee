"""The content of a guest's file as pieces, its holes left out; and how much has come so far."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.events import DiskEnded, DiskProgress, DiskStarted
from engine.extents import Extent
from engine.files.entry import Entry, FileSystem
from engine.files.point_volumes import Volume
from engine.reporter import Reporter

PIECE = 1 << 20
_EVERY = 0.5


def pieces(system: FileSystem, file: Entry, extents: Sequence[Extent]) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of these extents of a file, at most 1 MiB each. Raises what reading raises."""
    for extent in extents:
        for offset in range(extent.start, extent.end, PIECE):
            yield offset, system.read(file, offset, min(PIECE, extent.end - offset))


class Meter:
    """Counts the bytes that came out, and tells them twice a second at most."""

    def __init__(self, report: Reporter) -> None:
        self._report, self._told = report, time.monotonic()
        self.read = 0

    def add(self, length: int) -> None:
        self.read += length
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            self._report.emit(DiskProgress(read=self.read, to_read=0, stored=self.read))


@contextmanager
def metered(volume: Volume, report: Reporter) -> Iterator[Meter]:
    """The events around the reading of a volume, of which nobody knows beforehand how much it will be."""
    scoped, began = report.bind(disk=volume.name), time.monotonic()
    scoped.emit(DiskStarted(transport="file", capacity=volume.size, to_read=0))
    meter = Meter(scoped)
    try:
        yield meter
    finally:
        scoped.emit(DiskEnded(read=meter.read, stored=meter.read, seconds=time.monotonic() - began))

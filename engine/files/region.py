"""Part of a disk, or several parts of several disks in a row, as a disk of its own."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.errors import ImageError
from engine.extents import DiskSource, Extent, intersection


class Region:
    """Bytes `place` of a disk as a DiskSource. It does not own the disk: closing it closes nothing."""

    def __init__(self, disk: DiskSource, place: Extent) -> None:
        self._disk, self._place = disk, place
        self.capacity, self.transport = place.length, disk.transport

    def allocated(self) -> Sequence[Extent]:
        start = self._place.start
        return [Extent(each.start - start, each.length) for each in intersection(self._disk.allocated(), [self._place])]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Raises `ImageError` beyond its end, and what the disk raises."""
        if offset < 0 or offset + len(buffer) > self.capacity:
            raise ImageError(
                f"Bytes {offset} to {offset + len(buffer)} are not inside a part of {self.capacity} bytes."
            )
        self._disk.read_into(self._place.start + offset, buffer)

    def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Stripes:
    """`length` bytes of a volume from `start` on, dealt out to the `places` in turn, `width` bytes at a time. A place
    is a disk and a byte offset in it, or the reason why it can't be read."""

    start: int
    length: int
    places: tuple[tuple[DiskSource, int] | str, ...]
    width: int


class StripedDisk:
    """Runs of stripes, ascending and without gaps, as a DiskSource (transport "file")."""

    transport = "file"

    def __init__(self, runs: Iterable[Stripes]) -> None:
        self._runs = tuple(runs)
        self._starts = [run.start for run in self._runs]
        self.capacity = self._runs[-1].start + self._runs[-1].length if self._runs else 0

    def allocated(self) -> Sequence[Extent]:
        return [Extent(0, self.capacity)] if self.capacity else []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Raises `ImageError` beyond the end and for a place that can't be read, and what the disks raise."""
        if offset < 0 or offset + len(buffer) > self.capacity:
            raise ImageError(
                f"Bytes {offset} to {offset + len(buffer)} are not inside a volume of {self.capacity} bytes."
            )
        done = 0
        while done < len(buffer):
            run = self._runs[bisect_right(self._starts, offset + done) - 1]
            inside = offset + done - run.start
            chunk, rest = divmod(inside, run.width)
            row, column = divmod(chunk, len(run.places))
            length = min(len(buffer) - done, run.length - inside, run.width - rest)
            place = run.places[column]
            if isinstance(place, str):
                raise ImageError(place)
            disk, start = place
            disk.read_into(start + row * run.width + rest, buffer[done : done + length])
            done += length

    def close(self) -> None:
        return

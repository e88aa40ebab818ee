"""Byte ranges of a virtual disk, and what every source of disk bytes offers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Extent(NamedTuple):
    """`length` bytes from byte offset `start`; `length` is never 0."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


class DiskSource(Protocol):
    """One frozen disk, readable at random offsets by several threads at once."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes, a multiple of 512."""
        ...

    @property
    def transport(self) -> str:
        """The mode that really carries the bytes: san, nbd, nbdssl, hotadd, https or file."""
        ...

    def allocated(self) -> Sequence[Extent]:
        """Extents that may hold data, ascending and disjoint; everything outside reads as zeros."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fills the whole writable `buffer` from byte `offset` on. Raises TransportError, ConnectionLost, Cancelled."""
        ...

    def close(self) -> None: ...


def merged(extents: Iterable[Extent]) -> list[Extent]:
    """The same bytes as ascending, disjoint, non-adjacent extents."""
    result: list[Extent] = []
    for start, length in sorted(extents):
        if length <= 0:
            continue
        if result and start <= result[-1].end:
            last = result[-1]
            result[-1] = Extent(last.start, max(last.end, start + length) - last.start)
        else:
            result.append(Extent(start, length))
    return result


def intersection(left: Sequence[Extent], right: Sequence[Extent]) -> list[Extent]:
    """The bytes that are in both; each argument ascending and disjoint."""
    result: list[Extent] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        end = min(left[i].end, right[j].end)
        if start < end:
            result.append(Extent(start, end - start))
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return result


def difference(left: Sequence[Extent], right: Sequence[Extent]) -> list[Extent]:
    """The bytes of `left` that are not in `right`; each argument ascending and disjoint."""
    result: list[Extent] = []
    j = 0
    for extent in left:
        position = extent.start
        while j < len(right) and right[j].end <= position:
            j += 1
        k = j
        while k < len(right) and right[k].start < extent.end:
            if right[k].start > position:
                result.append(Extent(position, right[k].start - position))
            position = max(position, right[k].end)
            k += 1
        if position < extent.end:
            result.append(Extent(position, extent.end - position))
    return result


def aligned(extents: Iterable[Extent], size: int, capacity: int) -> list[Extent]:
    """The extents widened to multiples of `size` bytes, clipped to `capacity`, merged."""
    widened = []
    for start, length in extents:
        first = start // size * size
        last = min(-(-(start + length) // size) * size, capacity)
        widened.append(Extent(first, last - first))
    return merged(widened)


def total(extents: Iterable[Extent]) -> int:
    """Sum of the lengths in bytes."""
    return sum(extent.length for extent in extents)

"""A disk of which only the allocated parts are read: all else is zeros without asking."""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from engine.extents import DiskSource, Extent, intersection


class AllocatedOnly:
    """`source` with everything outside `allocated` (ascending, disjoint) answered here. `unread` counts those bytes.

    An incremental asks for changed areas, some of which are no longer allocated (the guest trimmed them): they are
    zeros now, and have to be stored as such, but need not travel.
    """

    def __init__(self, source: DiskSource, allocated: Sequence[Extent]) -> None:
        self.capacity, self.transport = source.capacity, source.transport
        self.unread = 0
        self._source, self._allocated = source, allocated
        self._starts = [extent.start for extent in allocated]
        self._ends = [extent.end for extent in allocated]
        self._lock = threading.Lock()

    def allocated(self) -> Sequence[Extent]:
        return self._allocated

    def read_into(self, offset: int, buffer: memoryview) -> None:
        first, end = bisect_right(self._ends, offset), offset + len(buffer)
        last = bisect_left(self._starts, end)
        parts = intersection([Extent(offset, len(buffer))], self._allocated[first:last])
        if sum(part.length for part in parts) < len(buffer):
            buffer[:] = bytes(len(buffer))
        for part in parts:
            self._source.read_into(part.start, buffer[part.start - offset : part.end - offset])
        with self._lock:
            self.unread += len(buffer) - sum(part.length for part in parts)

    def close(self) -> None:
        self._source.close()

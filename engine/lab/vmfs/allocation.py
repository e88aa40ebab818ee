"""Which numbers of a pool are taken: file blocks, sub-blocks, descriptors."""

from __future__ import annotations

import errno
from collections.abc import Iterable


class Numbers:
    """Gives the lowest numbers that were never given, then those given back."""

    def __init__(self, name: str, capacity: int, first: int = 0) -> None:
        self.name, self.capacity = name, capacity
        self._next = first
        self._free: list[int] = []

    @property
    def given(self) -> int:
        """The numbers below it were given at some time."""
        return self._next

    def take(self) -> int:
        if self._free:
            return self._free.pop()
        if self._next >= self.capacity:
            raise OSError(errno.ENOSPC, f"the VMFS volume has no {self.name} left")
        self._next += 1
        return self._next - 1

    def take_run(self, count: int, multiple: int = 1) -> range:
        """Numbers in a row, the first a multiple of `multiple`."""
        first = -(-self._next // multiple) * multiple
        if first + count > self.capacity:
            raise OSError(errno.ENOSPC, f"the VMFS volume has no {count} {self.name} in a row")
        self._free += range(self._next, first)
        self._next = first + count
        return range(first, first + count)

    def give_back(self, numbers: Iterable[int]) -> None:
        self._free += numbers

    def restore(self, taken: set[int], first: int) -> None:
        """What is taken, as read back from a volume; below `first` everything is."""
        self._next = max(taken | {first - 1}) + 1
        self._free = [number for number in range(first, self._next) if number not in taken]

"""What task and event history collectors share: a page of the latest items and a cursor over all of them."""

from __future__ import annotations

from typing import Any, ClassVar

from pyVmomi import vim, vmodl

from engine.lab.registry import MO

PAGE = 10  # items of latestPage until SetCollectorPageSize
LARGEST = 1000


class HistoryCollector(MO):
    """`filter` is the collector's filter spec; subclasses say which `items` (oldest first) it selects."""

    vim: ClassVar[Any] = vim.HistoryCollector

    def __init__(self, lab: Any, filter: Any) -> None:
        super().__init__(lab, filter=filter)
        self.filter = filter
        self.size = PAGE
        self.position = 0
        self.props["latestPage"] = lambda: list(reversed(self.items()))[: self.size]

    def items(self) -> list[Any]:
        raise vmodl.fault.NotSupported

    def read_next(self, count: int) -> list[Any]:
        """Towards the younger: `count` items from the cursor, which moves behind them."""
        items = self.items()
        chosen = items[self.position : self.position + self._checked(count)]
        self.position += len(chosen)
        return chosen

    def read_previous(self, count: int) -> list[Any]:
        """Towards the older: `count` items before the cursor, youngest first."""
        items = self.items()
        begin = max(0, self.position - self._checked(count))
        chosen = items[begin : self.position]
        self.position = begin
        return list(reversed(chosen))

    def _checked(self, count: int) -> int:
        if not 0 < count <= LARGEST:
            raise vmodl.fault.InvalidArgument(invalidProperty="maxCount")
        return count

    def SetCollectorPageSize(self, ctx: Any, maxCount: int) -> None:
        self.size = self._checked(maxCount)
        self.touch("latestPage")

    def ResetCollector(self, ctx: Any) -> None:
        """The cursor goes behind the latest page, whose items the client has already."""
        self.position = max(0, len(self.items()) - self.size)

    def RewindCollector(self, ctx: Any) -> None:
        self.position = 0

    def DestroyCollector(self, ctx: Any) -> None:
        ctx.session.disowns(self)
        self.lab.remove(self)

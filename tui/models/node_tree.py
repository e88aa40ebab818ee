"""A tree in arrays: nodes are numbers (slots), and the visible ones are a list. Nothing in it knows what a node means.

Places hold leaves; a place without any leaf below is not shown. A leaf may hold details, which count as nothing. One
leaf that comes or goes is one insertion into the visible rows; whatever changes more makes that list anew, which costs
some milliseconds for ten thousand rows.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import IntEnum

ROOT = 0


class Kind(IntEnum):
    PLACE = 0
    LEAF = 1
    DETAIL = 2


class NodeTree:
    """`rows` are the slots of the visible nodes from top to bottom, `depths` how deep each stands. A subclass says what
    is open and which details a leaf has."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.depths: list[int] = []
        self._clear()

    def _clear(self) -> None:
        self.slots: dict[str, int] = {}
        self.ids = [""]
        self.kinds = [Kind.PLACE]
        self.parents = [-1]
        self.children: list[list[int]] = [[]]
        self.counts = [0]
        self.keys: list[tuple[object, ...]] = [()]
        self._free: list[int] = []
        self._unsorted: set[int] = set()
        self._kept: bytearray | None = None
        """Of a filter: which nodes it shows."""

    def is_open(self, slot: int) -> bool:
        """Whether what a node holds is shown."""
        return self.kinds[slot] is Kind.PLACE

    def details(self, slot: int) -> list[int]:
        """The slots of what a leaf holds."""
        return self.children[slot]

    def row_of(self, identity: str) -> int | None:
        """The visible row of a node; of what holds it, where it is folded away."""
        slot = self.slots.get(identity, ROOT)
        while slot > ROOT:
            try:
                return self.rows.index(slot)
            except ValueError:
                slot = self.parents[slot]
        return None

    # Nodes

    def _new(self, identity: str, kind: Kind) -> int:
        if self._free:
            slot = self._free.pop()
            self.ids[slot], self.kinds[slot] = identity, kind
        else:
            slot = len(self.ids)
            self.ids.append(identity)
            self.kinds.append(kind)
            self.parents.append(-1)
            self.children.append([])
            self.counts.append(0)
            self.keys.append(())
            if self._kept is not None:
                self._kept.append(0)
        self.counts[slot] = int(kind is Kind.LEAF)
        self.slots[identity] = slot
        return slot

    def _forget(self, slot: int) -> None:
        """Frees a node that is attached nowhere, and its details."""
        if self.kinds[slot] is Kind.LEAF:
            self._forget_details(slot)
        self.slots.pop(self.ids[slot], None)
        self.ids[slot], self.kinds[slot], self.keys[slot] = "", Kind.DETAIL, ()
        self.children[slot], self.parents[slot], self.counts[slot] = [], -1, 0
        if self._kept is not None:
            self._kept[slot] = 0
        self._unsorted.discard(slot)
        self._free.append(slot)

    def _forget_details(self, slot: int) -> None:
        details, self.children[slot] = self.children[slot], []
        for detail in details:
            self._forget(detail)

    # Links

    def _attach(self, slot: int, parent: int, *, live: bool) -> None:
        """Puts a leaf below a place; `live` shows it at once, without making the rows anew."""
        self.parents[slot] = parent
        if live and parent not in self._unsorted:
            insort(self.children[parent], slot, key=self.keys.__getitem__)
        else:
            self.children[parent].append(slot)
            self._unsorted.add(parent)
        appeared = self._count(parent, 1)
        if live:
            self._show(slot, appeared)

    def _detach(self, slot: int, *, live: bool) -> None:
        parent = self.parents[slot]
        at = self.rows.index(slot) if live and self._is_shown(slot) else None
        self.children[parent].remove(slot)
        self.parents[slot] = -1
        if self._count(parent, -1) and live:
            self._rebuild()
        elif at is not None:
            end = self._end_of(at)
            del self.rows[at:end]
            del self.depths[at:end]

    def _relink(self, links: Iterable[tuple[int, int]]) -> None:
        """All (slot, parent) links of places and leaves anew; the rows have to be made anew after it."""
        for slot, kind in enumerate(self.kinds):
            if kind is Kind.PLACE:
                self.children[slot], self.counts[slot] = [], 0
        leaves = []
        for slot, parent in links:
            self.parents[slot] = parent
            self.children[parent].append(slot)
            if self.kinds[slot] is Kind.LEAF:
                leaves.append(parent)
        for parent in leaves:
            self._count(parent, 1)
        self._unsorted = {slot for slot, kind in enumerate(self.kinds) if kind is Kind.PLACE and self.children[slot]}

    def _count(self, slot: int, leaves: int) -> bool:
        """Counts leaves into all places above; true when one of them held none before, or holds none now."""
        turned = False
        while slot >= ROOT:
            before = self.counts[slot]
            self.counts[slot] = before + leaves
            turned = turned or (slot > ROOT and 0 in (before, self.counts[slot]))
            slot = self.parents[slot]
        return turned

    # Visible rows

    def _rebuild(self) -> None:
        for parent in self._unsorted:
            self.children[parent].sort(key=self.keys.__getitem__)
        self._unsorted.clear()
        rows: list[int] = []
        depths: list[int] = []
        self._walk(ROOT, 0, rows, depths)
        self.rows, self.depths = rows, depths

    def _walk(self, slot: int, depth: int, rows: list[int], depths: list[int]) -> None:
        kinds, counts, kept = self.kinds, self.counts, self._kept
        for child in self.children[slot]:
            if not counts[child] or (kept is not None and not kept[child]):
                continue
            rows.append(child)
            depths.append(depth)
            if not self.is_open(child):
                continue
            if kinds[child] is Kind.LEAF:
                details = self.details(child)
                rows.extend(details)
                depths.extend([depth + 1] * len(details))
            else:
                self._walk(child, depth + 1, rows, depths)

    def _show(self, slot: int, appeared: bool) -> None:
        """One insertion into the visible rows, where that is all that it takes."""
        parent = self.parents[slot]
        if appeared:
            self._rebuild()
        elif self._is_shown(slot):
            above = self.rows.index(parent) if parent > ROOT else -1
            depth = self.depths[above] + 1 if parent > ROOT else 0
            at = self._place_among_siblings(slot, parent, above)
            details = self.details(slot) if self.is_open(slot) else []
            self.rows[at:at] = [slot, *details]
            self.depths[at:at] = [depth, *([depth + 1] * len(details))]

    def _place_among_siblings(self, slot: int, parent: int, above: int) -> int:
        siblings = self.children[parent]
        place = siblings.index(slot, bisect_left(siblings, self.keys[slot], key=self.keys.__getitem__))
        before = next((each for each in reversed(siblings[:place]) if self.counts[each]), None)
        return above + 1 if before is None else self._end_of(self.rows.index(before, above + 1))

    def _end_of(self, at: int) -> int:
        """The row behind a node and all that is shown below it."""
        depth, end = self.depths[at], at + 1
        while end < len(self.depths) and self.depths[end] > depth:
            end += 1
        return end

    def _is_shown(self, slot: int) -> bool:
        slot = self.parents[slot]
        while slot > ROOT:
            if not self.is_open(slot):
                return False
            slot = self.parents[slot]
        return True

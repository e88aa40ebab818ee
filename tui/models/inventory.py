"""The inventory as the console knows it: what the worker told, as a tree that can be filtered, sorted and marked."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from engine.jobs.inventory_rows import (
    DiskRow,
    MachineRow,
    Message,
    PlaceRow,
    PointRow,
    Points,
    Row,
    Rows,
    Status,
    VmPoints,
)
from tui.models import fuzzy
from tui.models.inventory_order import SORTS, natural, sort_value, tags_of
from tui.models.node_tree import ROOT, Kind, NodeTree

_FEW = 8
"""VMs that come, go or move one by one; more than that, and the visible rows are made anew once."""


class JobMark(msgspec.Struct, frozen=True):
    """A job that runs on a VM: how far it is (0 to 1, None where nobody knows), and in which stage."""

    job: str
    stage: str = ""
    share: float | None = None


class Change(msgspec.Struct):
    """What a message made different: `shape` when rows came, went or moved; `slots` whose looks changed."""

    shape: bool = False
    slots: set[int] = set()
    status: bool = False


class InventoryModel(NodeTree):
    """Places are datacenters, folders, clusters and hosts; leaves are VMs; details are their disks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.status = Status(state="connecting", since=clock())
        self.grouping = "folder"
        self.sort = "name"
        self.needle = ""
        self.marked: set[str] = set()
        self.flipped: set[str] = set()
        self.jobs: dict[str, JobMark] = {}
        self._points: dict[tuple[str, str], VmPoints] = {}
        super().__init__()

    def _clear(self) -> None:
        super()._clear()
        self.data: list[Row | DiskRow | None] = [None]
        self._search = [""]
        self._hits: set[int] = set()

    # What comes in

    def apply(self, message: Message) -> Change:
        """Takes a message of the worker in."""
        match message:
            case Rows():
                return self._take_rows(message)
            case Points():
                return self._take_points(message)
            case Status():
                again = message.vcenter != self.status.vcenter
                self.status = message
                if again:
                    self._describe_all()
                return Change(shape=again, status=True)
        return Change()

    def reset(self) -> None:
        """Forgets what a server told; marks and open nodes are kept by id, and the points by their vCenter."""
        self._clear()
        self.set_filter(self.needle)

    def show_jobs(self, jobs: Mapping[str, JobMark]) -> Change:
        """The jobs that run now, by VM id."""
        touched = {vm for vm in {*jobs, *self.jobs} if jobs.get(vm) != self.jobs.get(vm)}
        self.jobs = dict(jobs)
        return Change(slots={self.slots[vm] for vm in touched if vm in self.slots})

    def _take_rows(self, message: Rows) -> Change:
        gone = [self.slots[each] for each in message.gone if each in self.slots]
        places = any(isinstance(row, PlaceRow) for row in message.rows)
        places = places or any(self.kinds[slot] is Kind.PLACE for slot in gone)
        live = not places and self._kept is None and len(message.rows) + len(gone) <= _FEW
        change = Change(shape=bool(gone))
        for slot in gone:
            if not places:
                self._detach(slot, live=live)
            self.data[slot], self._search[slot] = None, ""
            self._forget(slot)
        for row in message.rows:
            self._take_row(row, change, linked=not places, live=live)
        if places:
            change.shape = True
            self._link_all()
        if change.shape and not live:
            self._refresh()
        return change

    def _take_row(self, row: Row, change: Change, *, linked: bool, live: bool) -> None:
        """`linked`: the tree is kept up to date on the way, and not made anew afterwards."""
        slot = self.slots.get(row.id)
        if slot is None:
            slot = self._enter(row)
            change.shape = True
            if linked:
                self._attach(slot, self._parent(row, {}), live=live)
            return
        before, self.data[slot] = self.data[slot], row
        key = self.keys[slot]
        moved = self._holder(before) != self._holder(row)
        if linked and (moved or key != self._key(row)):
            self._detach(slot, live=live)
            self._describe(slot)
            self._attach(slot, self._parent(row, {}), live=live)
            change.shape = True
        else:
            self._describe(slot)
            change.slots.add(slot)
        if isinstance(row, MachineRow) and isinstance(before, MachineRow) and row.disks != before.disks:
            self._forget_details(slot)
            if row.id in self.flipped:
                change.shape = True
                self._refresh()

    def _take_points(self, message: Points) -> Change:
        change = Change()
        for each in message.vms:
            self._points[each.vcenter, each.vm] = each
            slot = self.slots.get(each.vm)
            if slot is not None and each.vcenter == self.status.vcenter:
                self._describe(slot)
                change.slots.add(slot)
                self._unsorted.add(self.parents[slot])
        if change.slots and (self.sort in ("point", "proof") or self._kept is not None):
            change.shape = True
            self._refresh()
        return change

    # What there is

    def machine(self, slot: int) -> MachineRow | None:
        row = self.data[slot]
        return row if isinstance(row, MachineRow) else None

    def machine_of(self, slot: int) -> MachineRow | None:
        """The VM itself, or that of the disk."""
        return self.machine(self.parents[slot]) if self.kinds[slot] is Kind.DETAIL else self.machine(slot)

    def machines(self) -> Iterator[MachineRow]:
        return (row for row in self.data if isinstance(row, MachineRow))

    def points(self, vm: str) -> tuple[PointRow, ...]:
        """The VM's restore points, newest first."""
        told = self._points.get((self.status.vcenter, vm))
        return told.points if told else ()

    def last_drill(self, vm: str) -> tuple[float, str] | None:
        """When the VM was last drilled, and how that ended; None if it never was."""
        told = self._points.get((self.status.vcenter, vm))
        return (told.drilled, told.drill) if told and told.drilled is not None else None

    def last_proof(self, vm: str) -> float | None:
        """When the newest sound point was last proven; None without one."""
        return next((point.proven for point in self.points(vm) if point.proven and not point.flaw), None)

    def name(self, slot: int) -> str:
        row = self.data[slot]
        return row.name if row else ""

    def path(self, slot: int) -> str:
        """Where it stands, in the grouping of the moment: Berlin / Web / web01."""
        parts = []
        while slot > ROOT:
            parts.append(self.name(slot))
            slot = self.parents[slot]
        return " / ".join(reversed(parts))

    def host_name(self, vm: MachineRow) -> str:
        host = self.data[self.slots[vm.host]] if vm.host in self.slots else None
        return host.name if isinstance(host, PlaceRow) else ""

    def is_open(self, slot: int) -> bool:
        """Places are open and VMs closed unless the operator flipped them; a filter opens every place."""
        if self.kinds[slot] is Kind.PLACE:
            return self._kept is not None or self.ids[slot] not in self.flipped
        return self.ids[slot] in self.flipped

    def can_open(self, slot: int) -> bool:
        row = self.data[slot]
        return bool(row.disks) if isinstance(row, MachineRow) else self.kinds[slot] is Kind.PLACE

    def details(self, slot: int) -> list[int]:
        vm = self.machine(slot)
        if vm is not None and not self.children[slot]:
            for disk in vm.disks:
                made = self._enter_data(self._new(f"{vm.id}/{disk.key}", Kind.DETAIL), disk)
                self.parents[made] = slot
                self.children[slot].append(made)
        return self.children[slot]

    def below(self, slot: int) -> list[MachineRow]:
        """The VMs at or below a node that the filter shows, in their order."""
        if (vm := self.machine_of(slot)) is not None:
            return [vm]
        found: list[MachineRow] = []
        todo = list(reversed(self.children[slot]))
        while todo:
            node = todo.pop()
            if self._kept is not None and not self._kept[node]:
                continue
            if (vm := self.machine(node)) is not None:
                found.append(vm)
            else:
                todo.extend(reversed(self.children[node]))
        return found

    def best(self, needle: str) -> int | None:
        """The slot of the VM whose name fits best."""
        ranked = (
            (rank, slot)
            for slot, row in enumerate(self.data)
            if isinstance(row, MachineRow) and (rank := fuzzy.rank(needle, row.name)) is not None
        )
        return min(ranked, default=(None, None))[1]

    # What the operator does

    def flip(self, slot: int) -> None:
        """Opens or closes a node."""
        if self.can_open(slot):
            self.flipped ^= {self.ids[slot]}
            self._rebuild()

    def reveal(self, slot: int) -> None:
        """Opens whatever hides a node, the filter too."""
        if self._kept is not None and not self._kept[slot]:
            self.set_filter("")
        above = self.parents[slot]
        while above > ROOT:
            if not self.is_open(above):
                self.flipped ^= {self.ids[above]}
            above = self.parents[above]
        self._rebuild()

    def toggle_marks(self, vms: Iterable[MachineRow]) -> None:
        """Marks them all; takes the marks away when all had one."""
        ids = {vm.id for vm in vms}
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids

    def marked_machines(self) -> list[MachineRow]:
        """Those that still exist, in name order."""
        return sorted((vm for vm in self.machines() if vm.id in self.marked), key=lambda vm: natural(vm.name))

    @property
    def filtered(self) -> int | None:
        """How many VMs the filter shows; None without a filter."""
        return None if self._kept is None else len(self.below(ROOT))

    def set_filter(self, needle: str) -> None:
        """Shows only what fits, with the places that hold it. A longer needle narrows down what fitted before."""
        needle = needle.strip()
        narrower = self._kept is not None and needle.startswith(self.needle) and bool(self.needle)
        self.needle = needle
        if not needle:
            self._kept, self._hits = None, set()
            self._rebuild()
            return
        fits, search = fuzzy.matcher(needle), self._search
        if narrower and " " not in needle:
            self._hits = {slot for slot in self._hits if fits(search[slot])}
        else:
            self._hits = {slot for slot, text in enumerate(search) if text and fits(text)}
        self._refresh()

    def set_sort(self, sort: str) -> None:
        """One of SORTS; anything else is by name."""
        self.sort = sort if sort in SORTS else "name"
        self._describe_all()

    def set_grouping(self, grouping: str) -> None:
        """folder (as in VMs and Templates) or host (as in Hosts and Clusters)."""
        self.grouping = grouping if grouping in ("folder", "host") else "folder"
        self._link_all()
        self._refresh()

    # How it stands in the arrays

    def _enter(self, row: Row) -> int:
        kind = Kind.LEAF if isinstance(row, MachineRow) else Kind.PLACE
        slot = self._enter_data(self._new(row.id, kind), row)
        self._describe(slot)
        return slot

    def _enter_data(self, slot: int, row: Row | DiskRow) -> int:
        if slot == len(self.data):
            self.data.append(row)
            self._search.append("")
        else:
            self.data[slot], self._search[slot] = row, ""
        return slot

    def _link_all(self) -> None:
        known: dict[str, int] = {}
        rows = enumerate(self.data)
        self._relink((slot, self._parent(row, known)) for slot, row in rows if isinstance(row, (MachineRow, PlaceRow)))

    def _holder(self, row: Row | DiskRow | None) -> str:
        if isinstance(row, MachineRow):
            return row.host if self.grouping == "host" else row.folder
        return row.parent if isinstance(row, PlaceRow) else ""

    def _parent(self, row: Row, known: dict[str, int]) -> int:
        """The nearest node above that is shown; the root, while what holds it is not known."""
        holder = self._holder(row)
        if holder not in known:
            above = holder
            while above in self.slots and self._is_elided(self.data[self.slots[above]]):
                above = self._holder(self.data[self.slots[above]])
            known[holder] = self.slots.get(above, ROOT)
        return known[holder]

    def _is_elided(self, place: Row | DiskRow | None) -> bool:
        """A datacenter's own root folders, and what stands around a single host, say nothing to anybody."""
        if not isinstance(place, PlaceRow):
            return True
        holder = self.data[self.slots[place.parent]] if place.parent in self.slots else None
        root_folder = place.kind == "folder" and isinstance(holder, PlaceRow) and holder.kind == "datacenter"
        return root_folder or place.kind == "host group"

    def _refresh(self) -> None:
        """The visible rows anew, with what the filter shows of them."""
        if self.needle:
            self._kept = self._keep()
        self._rebuild()

    def _keep(self) -> bytearray:
        """Hits, what holds them, and what lies below a place that is a hit."""
        kept = bytearray(len(self.ids))
        hits = [slot for slot in self._hits if self.counts[slot]]  # a place that isn't shown, or is empty, is no hit
        for slot in hits:
            node = slot
            while node > ROOT and not kept[node]:
                kept[node] = 1
                node = self.parents[node]
        todo = [slot for slot in hits if self.kinds[slot] is Kind.PLACE]
        while todo:
            for child in self.children[todo.pop()]:
                kept[child] = 1
                if self.kinds[child] is Kind.PLACE:
                    todo.append(child)
        return kept

    def _describe_all(self) -> None:
        for slot, row in enumerate(self.data):
            if isinstance(row, (MachineRow, PlaceRow)):
                self._describe(slot)
                self._unsorted.add(self.parents[slot])
        self._refresh()

    def _describe(self, slot: int) -> None:
        """The search text and the sort key that follow from a row, and whether the filter shows it."""
        row = self.data[slot]
        if isinstance(row, MachineRow):
            words = " ".join((row.ip, row.hostname, row.id, *tags_of(row, self.points(row.id))))
            self._search[slot] = fuzzy.folded(row.name, words)
        elif isinstance(row, PlaceRow):
            self._search[slot] = fuzzy.folded("", row.name)
        self.keys[slot] = self._key(row)
        if self.needle:
            fits = fuzzy.matcher(self.needle)(self._search[slot])
            (self._hits.add if fits else self._hits.discard)(slot)

    def _key(self, row: Row | DiskRow | None) -> tuple[object, ...]:
        if isinstance(row, MachineRow):
            return (
                1,
                sort_value(self.sort, row, self.points(row.id), self.last_proof(row.id)),
                natural(row.name),
                row.id,
            )
        return (0, 0, natural(row.name), row.id) if isinstance(row, PlaceRow) else ()

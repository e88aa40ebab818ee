"""One line of the inventory: what a node shows in so many columns, as pieces of text with the names of their looks.

Whatever a colour says, a sign or a word says too. As the pane gets narrower, columns go: first the proof, then the
size; a name keeps at least twelve columns.
"""

from collections.abc import Iterator
from typing import NamedTuple

from rich.cells import cell_len

from engine.jobs.inventory_rows import DiskRow, MachineRow, PlaceRow
from tui.figures import clean, fit
from tui.glyphs import UNICODE, Glyphs
from tui.models import fuzzy
from tui.models.inventory import InventoryModel

Piece = tuple[str, str]
"""A text and its look, one of LOOKS."""

LOOKS = ("name", "place", "dim", "guide", "good", "warn", "bad", "mark", "match", "busy")


class Columns(NamedTuple):
    """How wide each column right of the name is; 0 for one that is not there."""

    flags: int
    size: int
    point: int
    proof: int
    address: int

    @classmethod
    def fitting(cls, width: int) -> "Columns":
        if width < 44:
            return cls(6 if width >= 32 else 0, 0, 6, 0, 0)
        if width < 64:
            return cls(9, 9, 7, 0, 0)
        if width < 110:
            return cls(13, 10, 8, 8, 0)
        return cls(34, 11, 9, 9, 17)

    @property
    def total(self) -> int:
        return sum(self)


def header(width: int) -> list[Piece]:
    """The titles of the columns."""
    columns = Columns.fitting(width)
    titles = zip(("flags", "used", "point", "proof", "address"), columns, strict=True)
    right = "".join(title.rjust(wide) for title, wide in titles if wide)
    return [("name".ljust(width - columns.total), "dim"), (right, "dim")]


class LineMaker:
    """Makes lines of one model. `now` is for ages."""

    def __init__(self, model: InventoryModel, glyphs: Glyphs = UNICODE) -> None:
        self.model, self.signs = model, glyphs

    def line(self, slot: int, depth: int, width: int) -> list[Piece]:
        """The node's pieces, exactly `width` columns together."""
        row = self.model.data[slot]
        pieces = list(self._guides(depth, width))
        if isinstance(row, MachineRow):
            pieces += self._machine(slot, row, width - _width(pieces), Columns.fitting(width))
        elif isinstance(row, DiskRow):
            pieces += self._disk(row, width - _width(pieces))
        elif isinstance(row, PlaceRow):
            pieces += self._place(slot, row, width - _width(pieces))
        return _exactly(pieces, width, self.signs.more)

    def _guides(self, depth: int, width: int) -> Iterator[Piece]:
        step = f"{self.signs.upright} " if width >= 44 else self.signs.upright
        if depth:
            yield step * depth, "guide"

    def _fold(self, slot: int) -> str:
        if not self.model.can_open(slot):
            return " "
        return self.signs.expanded if self.model.is_open(slot) else self.signs.collapsed

    def _place(self, slot: int, row: PlaceRow, width: int) -> list[Piece]:
        count = f"  {self.model.counts[slot]}" if width > 16 else ""
        kind = f"  {row.kind}" if width >= 64 and row.kind != "folder" else ""
        return [(f"{self._fold(slot)} ", "guide"), (clean(row.name), "place"), (count, "dim"), (kind, "dim")]

    def _machine(self, slot: int, vm: MachineRow, width: int, columns: Columns) -> list[Piece]:
        power, look = self._power(vm)
        is_marked = vm.id in self.model.marked
        pieces: list[Piece] = [
            (self._fold(slot), "guide"),
            (self.signs.marked if is_marked else " ", "mark"),
            (f"{power} ", look),
        ]
        name = "mark" if is_marked else "name" if vm.power == "poweredOn" else "dim"
        pieces += self._name(vm.name, width - columns.total - 4, name)
        return [*pieces, *self._columns(vm, columns)]

    def _name(self, name: str, width: int, look: str) -> Iterator[Piece]:
        """The name with the letters that the filter found."""
        shown = self._fit(clean(name), max(1, width))
        found = fuzzy.places(self.model.needle, shown) if self.model.needle else set()
        start = 0
        for at in range(1, len(shown) + 1):
            if at == len(shown) or (at in found) != (start in found):
                yield shown[start:at], "match" if start in found else look
                start = at

    def _fit(self, text: str, width: int) -> str:
        return fit(text, width).replace("…", self.signs.more)

    def _power(self, vm: MachineRow) -> Piece:
        signs = self.signs
        if vm.connection != "connected":
            return signs.error, "bad"
        if vm.template:
            return signs.template, "dim"
        states = {"poweredOn": (signs.powered_on, "good"), "suspended": (signs.suspended, "warn")}
        return states.get(vm.power, (signs.powered_off, "dim"))

    def _columns(self, vm: MachineRow, columns: Columns) -> Iterator[Piece]:
        job = self.model.jobs.get(vm.id)
        if job is not None and columns.flags:
            room = columns.flags + columns.size
            yield self._progress(job.share, job.stage, room).rjust(room), "busy"
        else:
            if columns.flags:
                text, look = self._flags(vm, columns.flags)
                yield text.rjust(columns.flags), look
            if columns.size:
                yield _size(vm.allocated if vm.disks else None).rjust(columns.size), "dim"
        points = self.model.points(vm.id)
        if columns.point:
            yield self._point(points[0].created if points else None, bool(points and points[0].flaw), columns.point)
        if columns.proof:
            proof = self.model.last_proof(vm.id)
            text = age(self.model.clock() - proof) if proof else "none" if points else "-"
            yield text.rjust(columns.proof), "bad" if points and not proof else "dim"
        if columns.address:
            yield clean(vm.ip or vm.hostname).rjust(columns.address), "dim"

    def _point(self, created: float | None, flawed: bool, width: int) -> Piece:
        if created is None:
            return "never".rjust(width), "warn"
        text = age(self.model.clock() - created) + ("!" if flawed else "")
        return text.rjust(width), "bad" if flawed else "name"

    def _progress(self, share: float | None, stage: str, width: int) -> str:
        if share is None:
            return self._fit(f" {stage or 'job'}", width) if width > 2 else ""
        percent = f"{100 * share:3.0f}%"
        room = width - len(percent) - 2
        if room < 3:
            return percent
        return f" {self.signs.bar(share, room)} {percent}"

    def _flags(self, vm: MachineRow, width: int) -> Piece:
        words = width >= 30
        told = list(self._told(vm, words))
        text = ""
        for each, _ in told:
            longer = f"{text}, {each}" if words and text else f"{text} {each}".strip()
            if cell_len(longer) > width - 1:
                break
            text = longer
        looks = {look for _, look in told}
        return text, next((look for look in ("bad", "warn", "dim") if look in looks), "dim")

    def _told(self, vm: MachineRow, words: bool) -> Iterator[Piece]:
        """What is out of the ordinary, the worst first."""
        if vm.locked:
            yield "locked" if words else "L", "bad"
        if vm.consolidation:
            yield "consolidate" if words else "C", "bad"
        if vm.snapshots:
            oldest = min(vm.snapshots, key=lambda snapshot: snapshot.created)
            left = any(snapshot.owner for snapshot in vm.snapshots)
            old = age(self.model.clock() - oldest.created)
            long, short = ("backup snapshot" if left else "snapshot"), ("B" if left else "S")
            yield f"{long} {old}" if words else f"{short}{old}", "warn"
        if vm.task:
            yield vm.task.rpartition(".")[2] if words else "T", "busy"
        if vm.skipped:
            yield f"skips {len(vm.skipped)}" if words else "X", "warn"
        if vm.encrypted:
            yield "encrypted" if words else "E", "dim"
        if words and not vm.cbt:
            yield "no CBT", "dim"

    def _disk(self, disk: DiskRow, width: int) -> list[Piece]:
        head: Piece = (f"  {disk.name} ", "dim")
        if disk.code:
            return [head, (disk.mark, "warn"), (f" {_size(disk.capacity)} {disk.reason}", "dim")]
        used = f"{_size(disk.allocated)} of {_size(disk.capacity)}"
        more = [clean(disk.label), f"[{clean(disk.datastore)}]", "thin" if disk.thin else "", disk.mode]
        pieces = [head, (f"{used:<20}" if width >= 44 else used, "name")]
        return [*pieces, (" " + " ".join(part for part in more if part), "dim")] if width >= 44 else pieces


def _size(count: int | None) -> str:
    """As in figures.size, but at most six columns: 72.0G."""
    if count is None:
        return "?"
    for power, unit in ((40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if count >= 1 << power:
            value = count / (1 << power)
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return str(count)


def age(seconds: float) -> str:
    """At most four columns: now, 5m, 3h, 12d, 2y."""
    for length, unit in ((31536000, "y"), (86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "now"


def _width(pieces: list[Piece]) -> int:
    return sum(cell_len(text) for text, _ in pieces)


def _exactly(pieces: list[Piece], width: int, more: str) -> list[Piece]:
    """Cut or filled to `width` columns."""
    left, made = width, []
    for text, look in pieces:
        if not text:
            continue
        wide = cell_len(text)
        if wide > left:
            made.append((fit(text, left).replace("…", more), look) if left > 0 else ("", look))
            left = 0
            break
        made.append((text, look))
        left -= wide
    if left:
        made.append((" " * left, "name"))
    return made

"""Everything about one VM: state, disks, snapshots, restore points, what a backup would leave out. It stays live."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from rich.text import Text

from engine.jobs.inventory_rows import DiskRow, MachineRow, PointRow, SnapshotRow
from tui.cli.render import fields
from tui.commands import Command
from tui.figures import clean, size
from tui.models.inventory import InventoryModel
from tui.screens.text_dialog import TextDialog
from tui.widgets.inventory_line import age

_OWNERS = {"ours": "ours: made by this proxy for a backup", "backup": "of a backup, not provably ours", "": "not ours"}
_POWER = {"poweredOn": "running", "poweredOff": "powered off", "suspended": "suspended"}
_DRILLS = {"success": "green", "completed with exceptions": "yellow", "failure": "bold red"}
_EVERY = 2.0


class VmDetail(TextDialog[None]):
    """Follows the model while it is open."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("vm_detail.leave", "Close", "Back to the inventory.", ("i", "q"), method="close", hidden=True),
    )

    def __init__(self, model: InventoryModel, vm: str) -> None:
        self.model, self.vm = model, vm
        self._shown: object = None
        row = self._row()
        super().__init__(f" {clean(row.name) if row else vm} ")

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(_EVERY, self._follow)

    def _row(self) -> MachineRow | None:
        slot = self.model.slots.get(self.vm)
        return self.model.machine(slot) if slot is not None else None

    def _follow(self) -> None:
        if self._shown != self._now():
            self.fill()

    def _now(self) -> object:
        """What a new text would be made of."""
        model = self.model
        return self._row(), model.points(self.vm), model.last_drill(self.vm), model.jobs.get(self.vm)

    def fill(self) -> None:
        """The text of the moment."""
        row = self._row()
        self._shown = self._now()
        if row is None:
            self.show([Text("The VM is not in the inventory any more.", "yellow")])
        else:
            self.show(self._lines(row))

    def _lines(self, vm: MachineRow) -> Iterator[Text]:
        yield from fields(self._facts(vm), self.room)
        for warning in _warnings(vm):
            yield Text(f"  {warning}", "yellow", overflow="fold")
        used, provisioned = size(vm.allocated), size(vm.provisioned)
        yield from _heading("Disks", f"{len(vm.disks)}, {used} used of {provisioned}")
        for disk in vm.disks:
            yield from _disk(disk)
        yield from _heading("Snapshots", str(len(vm.snapshots) or "none"))
        for snapshot in vm.snapshots:
            yield self._snapshot(snapshot)
        points = self.model.points(vm.id)
        yield from _heading("Restore points", str(len(points) or "none: this VM has never been backed up here"))
        if points:
            yield self._drill(self.model.last_drill(vm.id))
        for point in points:
            yield self._point(point)

    def _facts(self, vm: MachineRow) -> list[tuple[str, str]]:
        power = _POWER.get(vm.power, vm.power)
        state = ", ".join(part for part in (power, "" if vm.connection == "connected" else vm.connection) if part)
        tracking = "on" if vm.cbt else "off" if vm.cbt_supported else "not supported by the VM"
        job = self.model.jobs.get(vm.id)
        share = f" {100 * job.share:.0f}%" if job and job.share is not None else ""
        return [
            ("Job", f"{job.job}: {job.stage}{share}" if job else ""),
            ("State", state + (", template" if vm.template else "")),
            ("Place", self.model.path(self.model.slots[vm.id])),
            ("Host", self.model.host_name(vm)),
            ("Guest", ", ".join(part for part in (vm.guest, vm.hostname, vm.ip) if part)),
            ("Tools", "running" if vm.tools else "not running: no quiescing"),
            ("CBT", tracking),
            ("Object", ", ".join(part for part in (vm.id, vm.hardware, vm.uuid) if part)),
            ("Files", vm.vmx),
        ]

    def _snapshot(self, snapshot: SnapshotRow) -> Text:
        old = age(self.model.clock() - snapshot.created)
        text = Text(f'  {old:>4} old  "{clean(snapshot.name)}"  {snapshot.id}', overflow="fold")
        text.append(f"  {_OWNERS[snapshot.owner]}", "yellow" if snapshot.owner else "dim")
        text.append("  quiesced" if snapshot.quiesced else "", "dim")
        return text

    def _point(self, point: PointRow) -> Text:
        made = f"{datetime.fromtimestamp(point.created).astimezone():%Y-%m-%d %H:%M}"
        old = age(self.model.clock() - point.created)
        text = Text(f"  {made}  {old:>4}  {point.kind or 'no disks':<11} {size(point.stored):>9}  ", overflow="fold")
        if point.flaw:
            return text.append(f"DAMAGED: {clean(point.flaw)}", "bold red")
        if point.proven:
            text.append(f"proven {age(self.model.clock() - point.proven)} ago ({point.depth})", "green")
        else:
            text.append("not proven", "yellow")
        return text.append(", drilled" if point.drilled else "", _DRILLS.get(point.drill, ""))

    def _drill(self, drill: tuple[float, str] | None) -> Text:
        """What the last rehearsal of a restore showed."""
        if drill is None:
            return Text("  never drilled: vcb drill rehearses a restore", "dim")
        at, result = drill
        return Text(f"  last drilled {age(self.model.clock() - at)} ago: {result}", _DRILLS.get(result, ""))


def _heading(title: str, more: str) -> Iterator[Text]:
    yield Text()
    yield Text.assemble((title, "bold"), f"  {more}")


def _disk(disk: DiskRow) -> Iterator[Text]:
    used = "" if disk.allocated is None else f"{size(disk.allocated)} used of "
    kind = ", ".join(part for part in ("thin" if disk.thin else "", disk.mode, disk.backing) if part)
    yield Text.assemble(f"  {disk.name:<9} {clean(disk.label)}: {used}{size(disk.capacity)}", (f"  {kind}", "dim"))
    yield Text(f"            {clean(disk.file)}", "dim", overflow="fold")
    if disk.code:
        yield Text(f"            skipped: {disk.mark}  {clean(disk.reason)}", "yellow", overflow="fold")


def _warnings(vm: MachineRow) -> list[str]:
    told = {
        f"Locked: vCenter has disabled {', '.join(vm.locked)}; another backup product may hold it.": vm.locked,
        "Its disks need consolidation.": vm.consolidation,
        f"vCenter is busy with it: {vm.task}.": vm.task,
        "It is protected by Fault Tolerance, which allows no snapshot.": vm.fault_tolerant,
        "It is encrypted.": vm.encrypted,
    }
    return [text for text, holds in told.items() if holds]

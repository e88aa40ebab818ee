"""Snapshots: creation, removal from any place of the tree, reverting, consolidation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pyVmomi import vim, vmodl

from engine.lab import configuration
from engine.lab.definition import Definition
from engine.lab.disks import Disk, MergeBlocked
from engine.lab.layers import Layer
from engine.lab.registry import MO

if TYPE_CHECKING:
    from engine.lab.vm import VM

MOST_LEVELS = 32  # snapshots in one branch; more is refused by vSphere


class Progress(Protocol):
    """What a task offers to its work."""

    def progress(self, percent: int) -> None: ...


class Unwatched:
    """Progress of an operation that nobody watches."""

    def progress(self, percent: int) -> None:
        return


class Snapshot(MO):
    """A snapshot in the tree. By device key, `levels` holds the frozen image of each disk that takes part, `change_ids`
    the change id of that moment (None: not tracked); `definition` is the VM's configuration as it was."""

    vim = vim.vm.Snapshot
    prefix = "snapshot"
    cached = ("config",)

    def __init__(
        self,
        vm: VM,
        name: str,
        description: str,
        *,
        number: int,
        parent: Snapshot | None,
        definition: Definition,
        state: str = "poweredOff",
        quiesced: bool = False,
        created: datetime | None = None,
        moid: str | None = None,
    ) -> None:
        super().__init__(vm.lab, moid, vm=vm.ref)
        self.vm, self.name, self.description, self.number, self.parent = vm, name, description, number, parent
        self.definition, self.state, self.quiesced = definition, state, quiesced
        self.created = created or datetime.now(UTC)
        self.levels: dict[int, Layer] = {}
        self.change_ids: dict[int, str | None] = {}
        self.props["config"] = lambda: configuration.config_info(vm, self.definition, self.levels, self.change_ids)
        self.props["childSnapshot"] = lambda: [child.ref for child in self.children()]

    def children(self) -> list[Snapshot]:
        return [s for s in self.vm.snapshots if s.parent is self]

    def ancestry(self) -> list[Snapshot]:
        """This snapshot and those it grew from."""
        line: list[Snapshot] = [self]
        while line[-1].parent is not None:
            line.append(line[-1].parent)
        return line

    def tree(self) -> Any:
        return vim.vm.SnapshotTree(
            snapshot=self.ref,
            vm=self.vm.ref,
            name=self.name,
            description=self.description,
            id=self.number,
            createTime=self.created,
            state=self.state,
            quiesced=self.quiesced,
            replaySupported=False,
            childSnapshotList=[child.tree() for child in self.children()],
        )

    def RemoveSnapshot_Task(self, ctx: Any, removeChildren: bool, consolidate: bool | None = None) -> Any:
        self.vm.refuse_while_leased()

        def work(task: Progress) -> None:
            remove(self, task, children=removeChildren, merge=consolidate is not False)

        return self.vm.task(ctx, "RemoveSnapshot_Task", "vim.vm.Snapshot.remove", work)

    def RevertToSnapshot_Task(self, ctx: Any, host: Any = None, suppressPowerOn: bool | None = None) -> Any:
        self.vm.refuse_while_leased()

        def work(task: Progress) -> None:
            revert(self, task, power_on=not suppressPowerOn)

        return self.vm.task(ctx, "RevertToSnapshot_Task", "vim.vm.Snapshot.revert", work)

    def RenameSnapshot(self, ctx: Any, name: str | None = None, description: str | None = None) -> None:
        if name == "":
            raise vim.fault.InvalidName(name="", msg="The name '' is invalid.")
        self.name = self.name if name is None else name
        self.description = self.description if description is None else description
        self.vm.updated("snapshot")

    def ExportSnapshot(self, ctx: Any) -> Any:
        from engine.lab import exporting  # noqa: PLC0415 - leases know VMs; a snapshot needs one only here

        return exporting.export(ctx, self.vm, self)


def check_creatable(vm: VM) -> None:
    """The VMs that vSphere refuses to snapshot, with its faults."""
    definition = vm.definition
    if definition.template:
        raise vmodl.fault.NotSupported(msg="The operation is not supported on the object.")
    if definition.fault_tolerant:
        raise vim.fault.InvalidState(msg="The operation is not allowed in the current state: Fault Tolerance is on.")
    for slot in definition.disks:
        controller = definition.controller(slot.controller)
        shared_bus = controller is not None and controller.sharing != "noSharing"
        if shared_bus or slot.sharing == "sharingMultiWriter":
            raise _incompatible(vm, slot.key, slot.label, "is shared with other virtual machines")
    depth = len(vm.current.ancestry()) if vm.current else 0
    if depth >= MOST_LEVELS:
        raise vim.fault.TooManySnapshotLevels(msg=f"Snapshot hierarchy is too deep: {depth} levels.")


def _incompatible(vm: VM, key: int, label: str, why: str) -> Exception:
    device = next((d for d in vm.value("config").hardware.device if d.key == key), None)
    text = f"An error occurred while saving the snapshot: the device '{label}' {why}."
    fault = vim.fault.SnapshotIncompatibleDeviceInVm(msg=text)
    fault.fault = vmodl.fault.NotSupported(msg=f"{label}: {getattr(device, 'key', key)}")
    return fault


def create(vm: VM, task: Progress, name: str, description: str, *, memory: bool, quiesce: bool) -> Snapshot:
    """Freeze all disks that take part. Quiescing is ignored without running Tools, as the API says.

    Raises the faults of CreateSnapshot_Task; when it raises, nothing was changed."""
    if not name:
        raise vim.fault.InvalidName(name=name, msg="The name '' is invalid.")
    check_creatable(vm)
    running = vm.power == "poweredOn"
    if memory and running:
        _check_memory(vm)
    task.progress(10)
    quiesced = quiesce and running and vm.tools_running
    if quiesced:
        vm.lab.faults.hit("guest.quiesce", "task", vm)
    task.progress(30)
    vm.settle()
    with vm.lab.cond:
        snapshot = _freeze(vm, name, description, state=vm.power if memory else "poweredOff", quiesced=quiesced)
    task.progress(70)
    if vm.lab.recorder is not None:
        vm.lab.recorder.record(snapshot)
    vm.updated("snapshot", "rootSnapshot", "config", "layoutEx", "layout", "summary", "storage")
    return snapshot


def _check_memory(vm: VM) -> None:
    for slot in vm.definition.disks:
        if slot.independent or vm.store[slot.disk].kind == "rdm-physical":
            raise _incompatible(vm, slot.key, slot.label, "cannot be part of a snapshot of the memory")


def _freeze(vm: VM, name: str, description: str, *, state: str, quiesced: bool) -> Snapshot:
    vm.stun()
    snapshot = Snapshot(
        vm, name, description, number=vm.next_snapshot, parent=vm.current, definition=vm.definition.copy(), state=state,
        quiesced=quiesced,
    )  # fmt: skip
    snapshot.definition.disks = [s for s in snapshot.definition.disks if vm.store[s.disk].borrowed is None]
    vm.next_snapshot += 1
    for slot in vm.definition.disks:
        disk = vm.store[slot.disk]
        if not slot.independent and disk.kind != "rdm-physical" and disk.borrowed is None:
            snapshot.levels[slot.key], snapshot.change_ids[slot.key] = disk.freeze()
    vm.snapshots.append(snapshot)
    vm.current = snapshot
    return snapshot


def remove(snapshot: Snapshot, task: Progress, *, children: bool = False, merge: bool = True) -> None:
    """Take a snapshot (and all that grew from it) out of the tree, then merge its deltas.

    FileLocked, and nothing changed, while a disk of it is attached to another VM. A merge that fails leaves the delta,
    and `runtime.consolidationNeeded` true."""
    vm = snapshot.vm
    doomed = [s for s in vm.snapshots if s is snapshot or (children and snapshot in s.ancestry())]
    _check_unattached(doomed)
    with vm.lab.cond:
        for gone in reversed(doomed):
            _unlink(vm, gone)
    vm.updated("snapshot", "rootSnapshot", "config", "layoutEx", "layout", "summary", "storage")
    task.progress(10)
    if merge:
        consolidate_quietly(vm, task)
    else:
        show_consolidation(vm)


def _check_unattached(doomed: Iterable[Snapshot]) -> None:
    for snapshot in doomed:
        for key, level in snapshot.levels.items():
            slot = snapshot.definition.slot(key)
            disk = snapshot.vm.store.get(slot.disk) if slot else None
            attached = [pin for pin in level.resolve().pins if pin.kind == "attach"]
            if disk is not None and attached:
                raise vim.fault.FileLocked(
                    file=disk.file(level),
                    msg=f"Unable to access file {disk.file(level)} since it is locked by {attached[0].owner}",
                )


def _unlink(vm: VM, snapshot: Snapshot) -> None:
    for child in snapshot.children():
        child.parent = snapshot.parent
    if vm.current is snapshot:
        vm.current = snapshot.parent
    vm.snapshots.remove(snapshot)
    vm.lab.remove(snapshot)
    vm.drop_unused_disks()
    vm.stun()


def consolidate_quietly(vm: VM, task: Progress) -> None:
    """Merge what can be merged; what cannot is left for ConsolidateVMDisks_Task, as RemoveSnapshot_Task does."""
    try:
        consolidate(vm, task)
    except (vmodl.MethodFault, MergeBlocked):
        show_consolidation(vm)


def consolidate(vm: VM, task: Progress) -> None:
    """Merge all deltas that no snapshot needs; raises what stopped it."""
    disks = list(vm.store.values())
    try:
        for number, disk in enumerate(disks):
            if disk.loose_ends(_kept(vm, disk)):
                vm.lab.faults.hit("disk.merge", "task", vm)
                disk.tidy(_kept(vm, disk), _scaled(task, number, len(disks)))
                _point_at_survivors(vm)
                vm.save()
    finally:
        show_consolidation(vm)
    vm.updated("config", "layoutEx", "layout", "summary", "storage")


def _scaled(task: Progress, number: int, count: int) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        task.progress(10 + 85 * (number * total + done) // (count * total))

    return report


def _kept(vm: VM, disk: Disk) -> list[Layer]:
    """The levels of this disk that snapshots still name."""
    return [
        level
        for snapshot in vm.snapshots
        for key, level in snapshot.levels.items()
        if (slot := snapshot.definition.slot(key)) is not None and slot.disk == disk.id
    ]


def _point_at_survivors(vm: VM) -> None:
    with vm.lab.cond:
        for snapshot in vm.snapshots:
            snapshot.levels = {key: level.resolve() for key, level in snapshot.levels.items()}
            snapshot.touch("config")


def show_consolidation(vm: VM) -> None:
    """Set `runtime.consolidationNeeded` to what the disks say."""
    needed = any(disk.loose_ends(_kept(vm, disk)) for disk in vm.store.values())
    if vm.props["runtime"].consolidationNeeded != needed:
        vm.set("runtime.consolidationNeeded", needed)
    vm.updated("summary")


def remove_all(vm: VM, task: Progress, *, merge: bool = True) -> None:
    _check_unattached(vm.snapshots)
    with vm.lab.cond:
        for snapshot in reversed(list(vm.snapshots)):
            _unlink(vm, snapshot)
    vm.updated("snapshot", "rootSnapshot", "config", "layoutEx", "layout", "summary", "storage")
    if merge:
        consolidate_quietly(vm, task)
    else:
        show_consolidation(vm)


def revert(snapshot: Snapshot, task: Progress, *, power_on: bool = True) -> None:
    """Go on from a snapshot: the writes since are lost, the configuration is that of the snapshot, and change tracking
    starts anew. Without memory in the snapshot the VM is powered off afterwards."""
    vm = snapshot.vm
    task.progress(10)
    with vm.lab.cond:
        vm.set_power("poweredOff")
        kept = {slot.disk: snapshot.levels.get(slot.key) for slot in snapshot.definition.disks}
        name, tracked = vm.definition.name, vm.definition.change_tracking
        vm.definition = snapshot.definition.copy()
        vm.definition.name, vm.definition.change_tracking = name, tracked
        for identity, level in kept.items():
            if level is not None:
                vm.store[identity].branch(level)
                vm.store[identity].reset_tracking()
        vm.current = snapshot
        vm.drop_unused_disks()
        if power_on and snapshot.state == "poweredOn":
            vm.set_power("poweredOn")
    vm.updated("snapshot", "config", "layoutEx", "layout", "summary", "storage")
    task.progress(50)
    consolidate_quietly(vm, task)

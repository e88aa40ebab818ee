"""What happens to the VM, and to its disks, while the job works on it or since the night before."""

from collections.abc import Iterator
from contextlib import suppress

from pyVmomi import vim

from engine.lab import power
from engine.lab.inventory import Folder
from engine.lab.vm import VM
from tests.faults.cells import Cell, Trouble
from tests.faults.recording import Recording
from tests.faults.scene import BEFORE, MIB, Scene


def _renamed(scene: Scene) -> None:
    scene.vm.definition.name = "web01 (old)"
    _machine(scene).updated("name")


def _named_strangely(scene: Scene) -> None:
    scene.vm.definition.name = "../\x1b[31m\u202eweb/01\x00" + "\u540d" * 80
    _machine(scene).updated("name")


def _moved(scene: Scene) -> None:
    """To another folder, as an admin drags it."""
    vm = scene.vm
    home = vm.lab.parent_of(vm)
    home.add(Folder(vm.lab, "moved", home, (vim.Folder, vim.VirtualMachine, vim.VirtualApp))).add(vm)


def _powered_off(scene: Scene) -> None:
    scene.vm.set_power("poweredOff")


def _deleted(scene: Scene) -> None:
    power.delete(scene.vm)


def _disk_added(scene: Scene) -> None:
    scene.vm.add_disk(MIB)


def _disk_grown(scene: Scene) -> None:
    """Only a VM without snapshots can grow a disk; with one it is vSphere that refuses."""
    if not scene.vm.snapshots:
        key = next(iter(scene.vm.disks))
        scene.vm.disks[key].resize(4 * MIB)


def _disk_removed(scene: Scene) -> None:
    vm = scene.vm
    vm.definition.disks.pop()
    vm.drop_unused_disks()
    vm.updated("config")


def _tracking_reset(scene: Scene) -> None:
    for disk in scene.vm.disks.values():
        disk.reset_tracking()


def _tracking_off(scene: Scene) -> None:
    scene.vm.definition.change_tracking = False
    scene.vm.stun()


def _consolidation_needed(scene: Scene) -> None:
    scene.vm.props["runtime"].consolidationNeeded = True


def _snapshot_by_an_admin(scene: Scene) -> None:
    scene.others.append(_words(scene.vm, scene.vm.take_snapshot("before the patch", "an admin's")))


def _snapshots_all_removed(scene: Scene) -> None:
    """An admin's "Delete all"; vCenter refuses it for a snapshot whose disk is attached to another VM."""
    for snapshot in list(scene.vm.snapshots):
        with suppress(vim.fault.FileLocked):
            scene.vm.remove_snapshot(snapshot)


def _guest_writes(scene: Scene) -> None:
    for key, disk in scene.vm.disks.items():
        scene.vm.write(key, 0, bytes(disk.capacity // 2))


HAPPENINGS = {
    "VM renamed": _renamed,
    "VM named strangely": _named_strangely,
    "VM moved": _moved,
    "VM powered off": _powered_off,
    "VM deleted": _deleted,
    "disk added": _disk_added,
    "disk grown": _disk_grown,
    "disk removed": _disk_removed,
    "CBT reset": _tracking_reset,
    "CBT switched off": _tracking_off,
    "consolidation needed": _consolidation_needed,
    "snapshot by an admin": _snapshot_by_an_admin,
    "snapshots all removed": _snapshots_all_removed,
    "guest writes": _guest_writes,
}
_ENDED = "after the night before"


def happenings(transport: str, recorded: Recording) -> Iterator[Cell]:
    for row, act in HAPPENINGS.items():
        for stage in recorded.stages:
            trouble = Trouble(prepare=act) if stage == BEFORE else Trouble(act=act)
            yield Cell(row, stage, transport, _ENDED if stage == BEFORE else "meanwhile", trouble)


def _machine(scene: Scene) -> VM:
    return scene.machines()[0]


def _words(vm: VM, snapshot: object) -> str:
    return f"{vm.id} {snapshot.name} {snapshot.description}"  # type: ignore[attr-defined]

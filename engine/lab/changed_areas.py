"""QueryChangedDiskAreas: what changed on a disk between two change ids, in pages, as ESXi answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from engine.lab.definition import DiskSlot
from engine.lab.disks import Disk
from engine.lab.tracking import ForeignChangeId

if TYPE_CHECKING:
    from engine.lab.snapshots import Snapshot
    from engine.lab.vm import VM

ALLOCATED = "*"  # in place of a change id: all areas that may hold data


def query(vm: VM, snapshot: Snapshot | None, key: int, start: int, change_id: str) -> Any:
    """DiskChangeInfo from byte `start`: at most `vm.areas_per_answer` extents; `length` says how far it speaks.

    InvalidArgument for an unknown device, a foreign snapshot or a start at or beyond the capacity; FileFault for a disk
    that is not tracked, a change id of another epoch line, or a running VM without a snapshot.

    Rules for the point QueryChangedDiskAreas, phase data, make the answer wrong: "omit" leaves areas out, "short" cuts
    the page to `size` bytes (0: it covers nothing), "corrupt" lets it begin `size` bytes late."""
    if snapshot is not None and snapshot.vm is not vm:
        raise vmodl.fault.InvalidArgument(invalidProperty="snapshot", msg="A specified parameter was not correct.")
    slot = (vm.definition if snapshot is None else snapshot.definition).slot(key)
    if slot is None:
        raise _invalid("deviceKey")
    disk = vm.store[slot.disk]
    if not 0 <= start < disk.capacity:
        raise _invalid("startOffset")
    if snapshot is None and vm.power != "poweredOff":
        raise _fault(disk)
    lie = vm.lab.faults.hit("QueryChangedDiskAreas", "data", vm, disk.file())
    runs = [(offset, length) for offset, length in _runs(snapshot, slot, disk, change_id) if offset + length > start]
    end = disk.capacity
    if lie is not None and lie.action == "omit":
        runs = [(offset, length) for offset, length in runs if offset < lie.size]
    if len(runs) > vm.areas_per_answer:
        end = runs[vm.areas_per_answer][0]
        runs = runs[: vm.areas_per_answer]
    extents = [
        vim.VirtualMachine.DiskChangeInfo.DiskChangeExtent(
            start=max(offset, start), length=offset + length - max(offset, start)
        )
        for offset, length in runs
    ]
    if lie is not None and lie.action == "short":  # says that it covers less than it was asked for, and no more comes
        end = start + min(lie.size, end - start)
    if lie is not None and lie.action == "corrupt":
        start += lie.size
    return vim.VirtualMachine.DiskChangeInfo(startOffset=start, length=end - start, changedArea=extents)


def _runs(snapshot: Snapshot | None, slot: DiskSlot, disk: Disk, change_id: str) -> list[tuple[int, int]]:
    with disk.lock:
        tracking = disk.tracking
        until = None if snapshot is None else snapshot.change_ids.get(slot.key)
        if tracking is None or (snapshot is not None and until is None):
            raise _fault(disk)
        if change_id == ALLOCATED:
            return disk.allocated(None if snapshot is None else snapshot.levels[slot.key])
        try:
            return tracking.changed(change_id, until).to_bytes(disk.capacity)
        except ForeignChangeId as error:
            raise _fault(disk) from error


def _invalid(name: str) -> Exception:
    return vmodl.fault.InvalidArgument(invalidProperty=name, msg=f"A specified parameter was not correct: {name}")


def _fault(disk: Disk) -> Exception:
    return vim.fault.FileFault(file=disk.file(), msg=f"Error caused by file {disk.file()}")

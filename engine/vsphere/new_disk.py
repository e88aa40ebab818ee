"""A new, empty disk on a VM: where there is room for one, made under a file name that the caller chose, taken away."""

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import VmUnsuitable, VsphereError
from engine.reporter import Reporter
from engine.vsphere import tasks
from engine.vsphere.disks import DEVICES, Device, Disk, bus_of, disks_of, read_devices
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session

_UNITS = {"scsi": [unit for unit in range(16) if unit != 7], "nvme": list(range(15)), "sata": list(range(30))}
"""Unit numbers that a controller of each kind has; 7 is the SCSI controller itself."""


def devices_of(session: Session, vm_moref: str) -> list[Device]:
    """The VM's disks and controllers as they are now."""
    ref = Ref("VirtualMachine", vm_moref)
    return get_one(session, ref, [DEVICES], readers={DEVICES: read_devices})[DEVICES]


def free_place(devices: Sequence[Device], vm_name: str) -> tuple[int, int]:
    """(controller's key, unit) of the first place where a disk can be added. Raises VmUnsuitable when there is none."""
    for controller in devices:
        taken = {each.get("unitNumber") for each in devices if each.get("controllerKey") == controller["key"]}
        for unit in _UNITS.get(bus_of(controller), ()):
            if unit not in taken:
                return controller["key"], unit
    raise VmUnsuitable(
        f"{vm_name} has no free place for another disk.", hint="Add a SCSI controller to it, or choose another VM."
    )


def find(devices: Sequence[Device], file: str) -> Disk | None:
    """The disk whose file this is; "[datastore] dir/name.vmdk" exactly."""
    return next((disk for disk in disks_of(devices) if disk.file == file), None)


def add(
    session: Session,
    vm_moref: str,
    *,
    file: str,
    capacity: int,
    place: tuple[int, int],
    report: Reporter,
    cancel: CancelToken,
    subject: str,
) -> Disk:
    """Makes a thin disk of `capacity` bytes in `file`, which must not exist. Raises BusyError, PrivilegeError,
    VsphereError, Cancelled; after those the disk may exist all the same."""
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent", thinProvisioned=True)
    disk = vim.vm.device.VirtualDisk(
        key=-1, backing=backing, controllerKey=place[0], unitNumber=place[1], capacityInKB=capacity // 1024,
        capacityInBytes=capacity,
    )  # fmt: skip
    change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    _reconfigure(session, vm_moref, change, f"adding the disk {file}", report, cancel, subject)
    made = find(devices_of(session, vm_moref), file)
    if made is None:
        raise VsphereError(f"vCenter added a disk to {subject}, but none whose file is {file}.")
    return made


def delete(session: Session, vm_moref: str, file: str, report: Reporter, *, subject: str) -> bool:
    """Takes the disk whose file this is out of the VM, and deletes the file; False when the VM has no such disk. The
    device is looked up by the file here and now, so that no other disk can be meant."""
    made = find(devices_of(session, vm_moref), file)
    if made is None:
        return False
    disk = vim.vm.device.VirtualDisk(
        key=made.key, backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent")
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="remove", fileOperation="destroy", device=disk)
    _reconfigure(session, vm_moref, change, f"removing the disk {file}", report, CancelToken(), subject)
    return True


def _reconfigure(  # noqa: PLR0917
    session: Session, vm_moref: str, change: Any, doing: str, report: Reporter, cancel: CancelToken, subject: str
) -> None:
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    spec = vim.vm.ConfigSpec(deviceChange=[change])
    task = session.act(lambda: vm.ReconfigVM_Task(spec), doing=doing, subject=subject)
    tasks.wait(session, task, report, cancel, doing=doing, subject=subject)

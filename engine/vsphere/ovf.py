"""The OVF descriptor of a snapshot, written by vCenter itself, so that any vSphere imports the restore point."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from engine.errors import VsphereError
from engine.vsphere.disks import DEVICES, places, read_devices
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session


@dataclass(frozen=True)
class OvfFile:
    """A file beside the descriptor. `device_id` is the lease's DeviceUrl key, `path` the file's name there; sizes in
    bytes: of the file, of the disk (None for what is none), and of the data in it."""

    device_id: str
    path: str
    size: int
    capacity: int | None = None
    populated_size: int | None = None


def descriptor(
    session: Session, vm_moref: str, snapshot_moref: str, files: Sequence[OvfFile], *, name: str = ""
) -> tuple[str, tuple[str, ...]]:
    """The XML and the server's warnings. Without `files` it is a dry run that shows what would be left out.

    Raises `VsphereError` for what cannot be described (an encrypted VM, a vTPM).
    """
    manager = session.content.ovfManager
    parameters = vim.OvfManager.CreateDescriptorParams(
        name=name or None,
        includeImageFiles=False,
        # Without it the descriptor would be of the running VM, not of what was frozen.
        snapshot=session.managed(Ref("VirtualMachineSnapshot", snapshot_moref)),
        ovfFiles=[_ovf_file(file) for file in files],
    )
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    result = session.read(
        lambda: manager.CreateDescriptor(vm, parameters), doing="writing the OVF descriptor", subject=vm_moref
    )
    if result.error:
        raise VsphereError(
            f"vCenter cannot describe the VM {vm_moref} as OVF: {'; '.join(_said(each) for each in result.error)}",
            fault=type(result.error[0])._wsdlName,
        )
    return result.ovfDescriptor or "", tuple(_said(each) for each in result.warning or ())


def device_ids(session: Session, vm_moref: str, snapshot_moref: str) -> dict[int, str]:
    """By deviceKey, the id under which an OVF descriptor knows each disk of a snapshot: what an export lease's
    DeviceUrl would have as its key (`/vm-1/ParaVirtualSCSIController0:0`)."""
    ref = Ref("VirtualMachineSnapshot", snapshot_moref)
    devices = get_one(session, ref, [DEVICES], readers={DEVICES: read_devices}).get(DEVICES, ())
    return {key: f"/{vm_moref}/{place}" for key, place in places(devices).items()}


def nvram_id(vm_moref: str) -> str:
    """The id of the VM's nvram, as an export lease names it (vSphere 6.7 and later)."""
    return f"/{vm_moref}/nvram"


def _ovf_file(file: OvfFile) -> Any:
    return vim.OvfManager.OvfFile(
        deviceId=file.device_id,
        path=file.path,
        size=file.size,
        capacity=file.capacity,
        populatedSize=file.populated_size,
    )


def _said(fault: Any) -> str:
    return fault.msg or type(fault)._wsdlName

"""How leases and OVF packages name the devices of a VM, and which disks they carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyVmomi import vim

Device = vim.vm.device.VirtualDevice
Disk = vim.vm.device.VirtualDisk
Rdm = vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo


@dataclass(frozen=True)
class ControllerKind:
    """One row of the table that OVF and the vim types share: CIM resource type, its subtype, the vim class."""

    resource_type: int
    subtype: str
    vim: type


CONTROLLERS = (
    ControllerKind(6, "VirtualSCSI", vim.vm.device.ParaVirtualSCSIController),
    ControllerKind(6, "lsilogicsas", vim.vm.device.VirtualLsiLogicSASController),
    ControllerKind(6, "lsilogic", vim.vm.device.VirtualLsiLogicController),
    ControllerKind(6, "buslogic", vim.vm.device.VirtualBusLogicController),
    ControllerKind(20, "vmware.sata.ahci", vim.vm.device.VirtualAHCIController),
    ControllerKind(20, "vmware.nvme.controller", vim.vm.device.VirtualNVMEController),
    ControllerKind(5, "", vim.vm.device.VirtualIDEController),
)


def kind_of(controller: Device) -> ControllerKind | None:
    return next((kind for kind in CONTROLLERS if isinstance(controller, kind.vim)), None)


def exportable(disk: Disk) -> bool:
    """Leases leave out what a snapshot can't freeze: independent disks and physical raw device mappings."""
    backing = disk.backing
    if isinstance(backing, Rdm) and backing.compatibilityMode == "physicalMode":
        return False
    return (getattr(backing, "diskMode", None) or "persistent") == "persistent"


def disks_by_key(prefix: str, devices: Iterable[Device]) -> Iterator[tuple[str, Disk]]:
    """(`/prefix/ParaVirtualSCSIController0:1`, disk) for every disk, in the order of the devices."""
    devices = list(devices)
    controllers = {d.key: d for d in devices if isinstance(d, vim.vm.device.VirtualController)}
    for disk in devices:
        if isinstance(disk, Disk):
            controller = controllers.get(disk.controllerKey or 0)
            name = type(controller).__name__.rpartition(".")[2] if controller else "VirtualSCSIController"
            bus = controller.busNumber if controller else 0
            yield f"/{prefix}/{name}{bus}:{disk.unitNumber or 0}", disk


def nvram_key(prefix: str) -> str:
    return f"/{prefix}/nvram"


def capacity(disk: Disk) -> int:
    """Capacity in bytes; old clients and specs fill only the field in KB."""
    return disk.capacityInBytes or (disk.capacityInKB or 0) * 1024

"""A VM's devices as the vim types show them: controllers, disks of every backing kind with their chains, NICs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyVmomi import vim

from engine.lab.definition import Controller, Definition, DiskSlot, Nic
from engine.lab.disks import Disk
from engine.lab.layers import Layer

Device = vim.vm.device
CONTROLLERS: dict[str, Any] = {
    "pvscsi": Device.ParaVirtualSCSIController,
    "lsilogic": Device.VirtualLsiLogicController,
    "lsisas": Device.VirtualLsiLogicSASController,
    "buslogic": Device.VirtualBusLogicController,
}
FlatBacking: Any = Device.VirtualDisk.FlatVer2BackingInfo
RdmBacking: Any = Device.VirtualDisk.RawDiskMappingVer1BackingInfo


def controller_kind(device: Any) -> str | None:
    """Our name for a SCSI controller device; None for a type that the lab has no disks on."""
    return next((kind for kind, vim_type in CONTROLLERS.items() if isinstance(device, vim_type)), None)


def devices(
    definition: Definition, disks: Mapping[str, Disk], levels: Mapping[int, Layer], change_ids: Mapping[int, str | None]
) -> list[Any]:
    """All devices. `levels` names the image of a disk by device key (none: the current one)."""
    found: list[Any] = [
        Device.VirtualIDEController(key=200 + n, deviceInfo=_info(f"IDE {n}", f"IDE {n}"), busNumber=n)
        for n in range(2)
    ]
    found.append(
        Device.VirtualPCIController(key=100, deviceInfo=_info("PCI controller 0", "PCI controller 0"), busNumber=0)
    )
    found += [_controller(definition, controller) for controller in definition.controllers]
    for slot in definition.disks:
        found.append(disk_device(slot, disks[slot.disk], levels.get(slot.key), change_ids.get(slot.key)))
    found += [_nic(nic, number) for number, nic in enumerate(definition.nics)]
    return found


def disk_device(slot: DiskSlot, disk: Disk, level: Layer | None, change_id: str | None) -> Any:
    return Device.VirtualDisk(
        key=slot.key,
        deviceInfo=_info(slot.label, f"{disk.capacity // 1024:,} KB"),
        backing=backing(slot, disk, disk.top if level is None else level.resolve(), change_id),
        controllerKey=slot.controller,
        unitNumber=slot.unit,
        capacityInKB=disk.capacity // 1024,
        capacityInBytes=disk.capacity,
        diskObjectId=f"1-{slot.key}",
        nativeUnmanagedLinkedClone=False,
    )


def backing(slot: DiskSlot, disk: Disk, level: Layer, change_id: str | None) -> Any:
    """The backing of an image with its chain of parents; the change id only on the image itself, as vCenter has it."""
    if disk.borrowed is not None:
        return _one_backing(slot, disk, disk.file(), disk.borrowed.disk, level)
    made: Any = None
    for layer in reversed(disk.chain(level)):
        made = _one_backing(slot, disk, disk.file(layer), disk, layer, parent=made)
    made.changeId = change_id
    return made


def _one_backing(  # noqa: PLR0917 - one row of a table
    slot: DiskSlot, disk: Disk, file: str, source: Disk, layer: Layer, parent: Any = None
) -> Any:
    common = {
        "fileName": file,
        "datastore": disk.place.datastore.ref,
        "diskMode": slot.mode,
        "uuid": source.uuid,
        "contentId": layer.cid,
        "parent": parent,
        "sharing": slot.sharing,
    }
    if disk.kind == "flat":
        thin = disk.provisioning == "thin"
        eager = disk.provisioning == "eager"
        return FlatBacking(thinProvisioned=thin, eagerlyScrub=eager, split=False, writeThrough=False, **common)
    mode = "physicalMode" if disk.kind == "rdm-physical" else "virtualMode"
    lun = f"0200000000{disk.uuid.replace('-', '').lower()}"
    return RdmBacking(compatibilityMode=mode, lunUuid=lun, deviceName=f"vml.{lun}", **common)


def _controller(definition: Definition, controller: Controller) -> Any:
    kind = CONTROLLERS[controller.kind]
    return kind(
        key=controller.key,
        deviceInfo=_info(f"SCSI controller {controller.bus}", "VMware paravirtual SCSI"),
        controllerKey=100,
        unitNumber=3 + controller.bus,
        busNumber=controller.bus,
        device=[slot.key for slot in definition.disks if slot.controller == controller.key],
        sharedBus=controller.sharing,
        hotAddRemove=True,
        scsiCtlrUnitNumber=7,
    )


def _nic(nic: Nic, number: int) -> Any:
    return Device.VirtualVmxnet3(
        key=nic.key,
        deviceInfo=_info(f"Network adapter {number + 1}", nic.network_name),
        backing=Device.VirtualEthernetCard.NetworkBackingInfo(
            deviceName=nic.network_name, network=vim.Network(nic.network), useAutoDetect=False
        ),
        connectable=Device.VirtualDevice.ConnectInfo(
            startConnected=nic.connected, allowGuestControl=True, connected=nic.connected, status="ok"
        ),
        controllerKey=100,
        unitNumber=7 + number,
        addressType=nic.address_type,
        macAddress=nic.mac,
        wakeOnLanEnabled=True,
    )


def _info(label: str, summary: str) -> Any:
    return vim.Description(label=label, summary=summary)

"""A VM's virtual disks, as its device list tells them, and which of them a snapshot backup must leave out, and why.

Decided from the live configuration before the snapshot is made; the rules are facts/vsphere-backup.md 3.4.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from engine.vsphere.decoding import decode, type_name

Device = Mapping[str, Any]
DEVICES = "config.hardware.device"
LAYOUT = ("layoutEx.file", "layoutEx.disk")


@dataclass(frozen=True)
class SkipReason:
    """`code`: independent, physical-rdm, shared, nonpersistent, unsupported or excluded; `text` for the operator."""

    code: str
    text: str


@dataclass(frozen=True)
class Disk:
    """Sizes in bytes. `allocated` counts the files of the disk's chain on the datastore; None where the server tells
    no size. `backing`: flat, sparse, sesparse, rdm-virtual, rdm-physical or other. `delta`: its file holds only
    what was written since a snapshot."""

    key: int
    name: str
    label: str
    capacity: int
    allocated: int | None
    file: str
    datastore: str
    mode: str
    backing: str
    uuid: str
    thin: bool | None
    change_id: str | None
    skip: SkipReason | None
    delta: bool = False


# Prefixes of controller type names, in VMware's spelling, and of the bus in a .vmx file.
_BUSES = {
    "VirtualIDE": "ide",
    "VirtualNVME": "nvme",
    "VirtualAHCI": "sata",
    "VirtualSATA": "sata",
    "VirtualSCSI": "scsi",
    "ParaVirtualSCSI": "scsi",
    "VirtualLsi": "scsi",
    "VirtualBusLogic": "scsi",
}
_BACKINGS = {
    "VirtualDiskFlatVer1BackingInfo": "flat",
    "VirtualDiskFlatVer2BackingInfo": "flat",
    "VirtualDiskSparseVer1BackingInfo": "sparse",
    "VirtualDiskSparseVer2BackingInfo": "sparse",
    "VirtualDiskSeSparseBackingInfo": "sesparse",
}


def read_devices(element: Element) -> list[Device]:
    """A reader for `config.hardware.device` that decodes disks and controllers only (of about 13 devices a VM)."""
    return [decode(child) for child in element if type_name(child) == "VirtualDisk" or "Controller" in type_name(child)]


def disks_of(devices: Iterable[Device], layout: Mapping[str, Any] | None = None) -> tuple[Disk, ...]:
    """The disks among decoded devices, in the order of the device list. `layout` holds decoded `layoutEx.file`
    and `layoutEx.disk` lists for the allocated sizes."""
    devices = list(devices)
    controllers = {device["key"]: device for device in devices if bus_of(device)}
    allocated = _allocated(layout or {})
    disks = [
        _disk(device, controllers.get(device.get("controllerKey")), allocated)
        for device in devices
        if device["_type"] == "VirtualDisk"
    ]
    return tuple(disks)


def bus_of(device: Device) -> str:
    """ide, nvme, sata or scsi for a disk controller, "" for any other device."""
    kind = device["_type"]
    return next((bus for prefix, bus in _BUSES.items() if kind.startswith(prefix)), "") if "Controller" in kind else ""


def address(device: Device, controller: Device | None) -> str:
    """`scsi0:1`, as the .vmx file names the disk."""
    if controller is None:
        return f"disk{device['key']}"
    return f"{bus_of(controller)}{controller.get('busNumber', 0)}:{device.get('unitNumber', 0)}"


def places(devices: Iterable[Device]) -> dict[int, str]:
    """By disk key, where the disk sits in the words of export leases and OVF: `ParaVirtualSCSIController0:1`."""
    devices = list(devices)
    controllers = {device["key"]: device for device in devices if bus_of(device)}
    return {
        device["key"]: f"{controller['_type']}{controller.get('busNumber', 0)}:{device.get('unitNumber', 0)}"
        for device in devices
        if device["_type"] == "VirtualDisk" and (controller := controllers.get(device.get("controllerKey")))
    }


def _disk(device: Device, controller: Device | None, allocated: Mapping[int, int]) -> Disk:
    backing: Device = device.get("backing") or {"_type": ""}
    file = backing.get("fileName", "")
    kind = _backing_kind(backing)
    return Disk(
        key=device["key"],
        name=address(device, controller),
        label=(device.get("deviceInfo") or {}).get("label", ""),
        capacity=device.get("capacityInBytes") or device.get("capacityInKB", 0) * 1024,
        allocated=allocated.get(device["key"]),
        file=file,
        datastore=file[1:].partition("]")[0] if file.startswith("[") else "",
        mode=backing.get("diskMode") or "persistent",
        backing=kind,
        uuid=backing.get("uuid", ""),
        thin=backing.get("thinProvisioned"),
        change_id=backing.get("changeId") or None,
        skip=_skip(backing, kind, controller),
        delta=bool(backing.get("parent")),
    )


def _backing_kind(backing: Device) -> str:
    kind = backing["_type"]
    if "RawDiskMapping" in kind:
        return "rdm-physical" if backing.get("compatibilityMode") == "physicalMode" else "rdm-virtual"
    return _BACKINGS.get(kind, "other")


def _skip(backing: Device, kind: str, controller: Device | None) -> SkipReason | None:
    """The first reason that holds; a disk may have several (physical RDMs are often independent as well)."""
    mode = backing.get("diskMode") or "persistent"
    bus = (controller or {}).get("sharedBus", "noSharing")
    backing_name = backing["_type"].removeprefix("VirtualDisk").removesuffix("BackingInfo") or "unknown"
    reasons = (
        (
            kind == "rdm-physical",
            "physical-rdm",
            "It is a raw device mapping in physical mode: no snapshot freezes it.",
        ),
        (mode.startswith("independent"), "independent", f"Its mode is {mode}: snapshots leave it out."),
        (
            backing.get("sharing") == "sharingMultiWriter",
            "shared",
            "Several VMs may write to it (multi-writer): no snapshot is possible with it.",
        ),
        (bus != "noSharing", "shared", f"Its controller is shared with other VMs ({bus}): no snapshot is possible."),
        (mode != "persistent", "nonpersistent", f"Its mode is {mode}: what it holds is thrown away at power off."),
        (kind == "other", "unsupported", f"Its kind of backing ({backing_name}) cannot be read."),
    )
    return next((SkipReason(code, text) for holds, code, text in reasons if holds), None)


def _allocated(layout: Mapping[str, Any]) -> dict[int, int]:
    """Bytes by disk key: the data files of the disk's whole chain. Disks without any (vSAN, vVols) are left out."""
    files = {file["key"]: file for file in layout.get("layoutEx.file") or ()}
    sizes: dict[int, int] = {}
    for disk in layout.get("layoutEx.disk") or ():
        chain = [files[key] for part in disk.get("chain", ()) for key in part.get("fileKey", ()) if key in files]
        data = [file for file in chain if file.get("type") == "diskExtent"]
        if data:
            sizes[disk["key"]] = sum(file.get("size", 0) for file in data)
    return sizes

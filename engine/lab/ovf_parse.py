"""An OVF descriptor read: its disks, networks and hardware, and the specification that ImportVApp takes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from engine.lab.device_keys import CONTROLLERS, disks_by_key, nvram_key

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
RASD, VSSD = CIM + "CIM_ResourceAllocationSettingData", CIM + "CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"
CIM_DISK, CIM_OTHER = 17, 1
NICS = {
    "vmxnet3": vim.vm.device.VirtualVmxnet3,
    "e1000e": vim.vm.device.VirtualE1000e,
    "e1000": vim.vm.device.VirtualE1000,
    "pcnet32": vim.vm.device.VirtualPCNet32,
}
_NAMED_UNITS = {"byte": 1, "bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30}
_POWER_UNITS = re.compile(r"byte\s*\*\s*2\s*\^\s*(\d{1,2})")


class OvfError(Exception):
    """The descriptor can't be used; `fault` is what vSphere answers."""

    def __init__(self, fault: Any) -> None:
        super().__init__(fault.msg)
        self.fault = fault


@dataclass(frozen=True)
class OvfDisk:
    """`file` is the id of the reference, None for an empty disk; sizes in bytes."""

    id: str
    capacity: int
    populated: int
    file: str | None


@dataclass(frozen=True)
class OvfFile:
    id: str
    href: str
    size: int | None


@dataclass(frozen=True)
class Item:
    """One Item of the hardware section: resource type, instance, and its other values by rasd name."""

    type: int
    instance: str
    values: Mapping[str, str]


@dataclass
class Envelope:
    name: str
    annotation: str = ""
    guest: str = "otherGuest64"
    hardware_version: str | None = None
    firmware: str | None = None
    nvram: str | None = None  # id of the reference
    files: dict[str, OvfFile] = field(default_factory=dict)
    disks: list[OvfDisk] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)

    @property
    def download_size(self) -> int:
        return sum(file.size or 0 for file in self.files.values())


def parse(text: str) -> Envelope:
    """Raises OvfError for what is no OVF 1.x envelope with a virtual system."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise OvfError(_invalid("A descriptor must not define entities."))
    try:
        root = ET.fromstring(text)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        line = error.position[0]
        raise OvfError(vim.fault.OvfXmlFormat(lineNumber=line, description=str(error), msg=str(error))) from error
    system = root.find(f"{{{OVF}}}VirtualSystem")
    hardware = system.find(f"{{{OVF}}}VirtualHardwareSection") if system is not None else None
    if system is None or hardware is None:
        name = "VirtualSystem" if system is None else "VirtualHardwareSection"
        raise OvfError(vim.fault.OvfMissingElement(lineNumber=0, name=name, msg=f"The element {name} is missing."))
    envelope = Envelope(name=system.findtext(f"{{{OVF}}}Name") or _attribute(system, "id") or "vm")
    envelope.annotation = system.findtext(f"{{{OVF}}}AnnotationSection/{{{OVF}}}Annotation") or ""
    guest = system.find(f"{{{OVF}}}OperatingSystemSection")
    if guest is not None:
        envelope.guest = guest.get(f"{{{VMW}}}osType", envelope.guest)
    for element in root.findall(f"{{{OVF}}}References/{{{OVF}}}File"):
        size = _attribute(element, "size")
        file = OvfFile(_needed(element, "id"), _needed(element, "href"), int(size) if size else None)
        envelope.files[file.id] = file
    envelope.disks = [_disk(e, envelope.files) for e in root.findall(f"{{{OVF}}}DiskSection/{{{OVF}}}Disk")]
    networks = root.findall(f"{{{OVF}}}NetworkSection/{{{OVF}}}Network")
    envelope.networks = [_needed(element, "name") for element in networks]
    _read_hardware(hardware, envelope)
    return envelope


def _read_hardware(hardware: ET.Element, envelope: Envelope) -> None:
    envelope.hardware_version = hardware.findtext(f"{{{OVF}}}System/{{{VSSD}}}VirtualSystemType")
    for element in hardware.findall(f"{{{OVF}}}Item"):
        values = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
        kind = values.get("ResourceType", "")
        if not kind.isdigit():
            raise OvfError(vim.fault.OvfMissingElement(lineNumber=0, name="ResourceType", msg="An Item has no type."))
        envelope.items.append(Item(int(kind), values.get("InstanceID", ""), values))
    for element in hardware:
        key, value = element.get(f"{{{VMW}}}key"), element.get(f"{{{VMW}}}value", "")
        if key == "firmware":
            envelope.firmware = value
        elif key == "nvram" and value.startswith("ovf:/file/"):
            envelope.nvram = value.removeprefix("ovf:/file/")


def _attribute(element: ET.Element, name: str) -> str | None:
    return element.get(f"{{{OVF}}}{name}", element.get(name))


def _needed(element: ET.Element, name: str) -> str:
    value = _attribute(element, name)
    if value is None:
        tag = element.tag.rpartition("}")[2]
        message = f"The element {tag} has no attribute {name}."
        raise OvfError(vim.fault.OvfMissingAttribute(lineNumber=0, elementName=tag, attributeName=name, msg=message))
    return value


def _disk(element: ET.Element, files: Mapping[str, OvfFile]) -> OvfDisk:
    capacity = _needed(element, "capacity")
    units = _attribute(element, "capacityAllocationUnits") or "byte"
    file = _attribute(element, "fileRef")
    if not capacity.isdigit() or (file and file not in files):
        attribute, value = ("fileRef", file or "") if capacity.isdigit() else ("capacity", capacity)
        raise OvfError(
            vim.fault.OvfInvalidValue(
                lineNumber=0, elementName="Disk", attributeName=attribute, value=value, msg=f"Invalid {attribute}."
            )
        )
    populated = _attribute(element, "populatedSize") or "0"
    return OvfDisk(_needed(element, "diskId"), int(capacity) * _unit(units), int(populated), file)


def _unit(text: str) -> int:
    power = _POWER_UNITS.fullmatch(text.strip().lower())
    if power:
        return 1 << int(power[1])
    if text.strip().lower() not in _NAMED_UNITS:
        raise OvfError(_invalid(f"The allocation unit {text!r} is unknown."))
    return _NAMED_UNITS[text.strip().lower()]


def _invalid(message: str) -> Any:
    return vim.fault.OvfInvalidPackage(lineNumber=0, msg=message)


def import_spec(envelope: Envelope, cisp: Any, datastore: str, networks: Mapping[str, tuple[str, Any]]) -> Any:
    """CreateImportSpecResult: a ConfigSpec with new devices, and a file item for each file to upload.

    The deviceId of an item is the importKey of the url that ImportVApp's lease offers for it.
    """
    name = cisp.entityName or envelope.name
    thin = (cisp.diskProvisioning or "thin") not in ("thick", "monolithicFlat", "eagerZeroedThick", "flat")
    config: Any = vim.vm.ConfigSpec(name=name, guestId=envelope.guest, version=envelope.hardware_version)
    config.annotation, config.firmware = envelope.annotation or None, envelope.firmware or "bios"
    config.files = vim.vm.FileInfo(vmPathName=f"[{datastore}]")
    devices = _Devices(envelope, datastore, networks, thin)
    config.numCPUs, config.memoryMB = devices.cpus, devices.memory
    config.deviceChange = devices.changes
    items = []
    for key, disk in disks_by_key(name, [change.device for change in devices.changes]):
        file = envelope.files.get(devices.files.get(disk.key, ""))
        if file:
            items.append(_item(key, file, CIM_DISK, create=False))
    if envelope.nvram in envelope.files:
        config.extraConfig = [vim.option.OptionValue(key="nvram", value=f"{name}.nvram")]
        items.append(_item(nvram_key(name), envelope.files[envelope.nvram], CIM_OTHER, create=True))
    spec = vim.vm.VmImportSpec(configSpec=config)
    return vim.OvfManager.CreateImportSpecResult(importSpec=spec, fileItem=items)


def _item(key: str, file: OvfFile, kind: int, *, create: bool) -> Any:
    return vim.OvfManager.FileItem(deviceId=key, path=file.href, size=file.size, cimType=kind, create=create)


class _Devices:
    """The hardware items as changes of a ConfigSpec, with new negative keys."""

    def __init__(self, envelope: Envelope, datastore: str, networks: Mapping[str, tuple[str, Any]], thin: bool) -> None:
        self.cpus, self.memory = 1, 1024
        self.changes: list[Any] = []
        self.files: dict[int, str] = {}  # device key of a disk -> id of its file
        self._disks = {disk.id: disk for disk in envelope.disks}
        self._controllers: dict[str, int] = {}
        self._datastore, self._networks, self._thin = datastore, networks, thin
        for item in envelope.items:
            if item.type == 3:
                self.cpus = int(item.values.get("VirtualQuantity") or 1)
            elif item.type == 4:
                unit = _unit(item.values.get("AllocationUnits") or "byte * 2^20")
                self.memory = int(item.values.get("VirtualQuantity") or 1024) * unit >> 20
            elif item.type in (5, 6, 20):
                self._controller(item)
            elif item.type == 17:
                self._disk(item)
            elif item.type == 10:
                self._nic(item)

    def _add(self, device: Any, operation: str | None = None) -> int:
        device.key = -100 - len(self.changes)
        self.changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation=operation, device=device))
        return device.key

    def _controller(self, item: Item) -> None:
        subtype = item.values.get("ResourceSubType", "").lower()
        kinds = [kind for kind in CONTROLLERS if kind.resource_type == item.type]
        kind = next((kind for kind in kinds if kind.subtype.lower() == subtype), None)
        if kind is None and subtype:
            raise OvfError(
                vim.fault.OvfUnsupportedType(
                    name=item.values.get("ElementName", ""), instanceId=item.instance, deviceType=item.type,
                    msg=f"The controller {subtype} is not supported.",
                )
            )  # fmt: skip
        device: Any = (kind or kinds[-1]).vim(busNumber=int(item.values.get("Address") or 0))
        if isinstance(device, vim.vm.device.VirtualSCSIController):
            device.sharedBus = vim.vm.device.VirtualSCSIController.Sharing.noSharing
        self._controllers[item.instance] = self._add(device)

    def _disk(self, item: Item) -> None:
        resource = item.values.get("HostResource", "").rpartition("/")[2]
        disk, controller = self._disks.get(resource), self._controllers.get(item.values.get("Parent", ""))
        if disk is None or controller is None:
            raise OvfError(_invalid(f"The disk item {item.instance} points to no disk or no controller."))
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{self._datastore}]", diskMode="persistent", thinProvisioned=self._thin
        )
        device = vim.vm.device.VirtualDisk(
            backing=backing, controllerKey=controller, unitNumber=int(item.values.get("AddressOnParent") or 0),
            capacityInKB=disk.capacity // 1024, capacityInBytes=disk.capacity,
        )  # fmt: skip
        key = self._add(device, "create")
        if disk.file:
            self.files[key] = disk.file

    def _nic(self, item: Item) -> None:
        kind = NICS.get(item.values.get("ResourceSubType", "").lower(), vim.vm.device.VirtualVmxnet3)
        name, network = self._networks.get(item.values.get("Connection", ""), ("VM Network", None))
        backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name, network=network)
        connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=False
        )
        self._add(kind(backing=backing, addressType="generated", connectable=connectable))

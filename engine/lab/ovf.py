"""OvfManager, and the OVF envelope it writes.

The envelope keeps the rules that vCenter, ovftool, VirtualBox and virt-v2v share: references first with exact sizes,
capacity in bytes, controllers before their disks, the children of an Item in alphabetic order (the schema is a
sequence).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from pyVmomi import vim, vmodl

from engine.lab.device_keys import capacity, disks_by_key, exportable, kind_of, nvram_key
from engine.lab.ovf_parse import OVF, RASD, VMW, VSSD, Envelope, OvfError, import_spec, parse
from engine.lab.registry import MO

STREAM_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
FLAT_FORMATS = ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "thin", "thick"]
NICS = {
    vim.vm.device.VirtualVmxnet3: "VmxNet3",
    vim.vm.device.VirtualE1000e: "E1000e",
    vim.vm.device.VirtualE1000: "E1000",
    vim.vm.device.VirtualPCNet32: "PCNet32",
}
NOT_IN_OVF = (
    vim.vm.device.VirtualUSB, vim.vm.device.VirtualPCIPassthrough, vim.vm.device.VirtualTPM,
    vim.vm.device.VirtualSerialPort, vim.vm.device.VirtualParallelPort, vim.vm.device.VirtualNVDIMM,
)  # fmt: skip
for _prefix, _uri in (("ovf", OVF), ("rasd", RASD), ("vssd", VSSD), ("vmw", VMW)):
    ET.register_namespace(_prefix, _uri)


class EnvelopeWriter:
    """The OVF envelope of one VM as `config` describes it. `warnings` fills while it is written."""

    def __init__(self, moid: str, config: Any, files: list[Any], name: str, description: str = "") -> None:
        self.config, self.name, self.description, self.moid = config, name, description, moid
        self.warnings: list[Any] = []
        self._files = {file.deviceId: file for file in files}
        self._dry = not files
        self._instance = 0
        self._root = ET.Element(f"{{{OVF}}}Envelope")

    def xml(self) -> str:
        ids = {file.deviceId: f"file{n}" for n, file in enumerate(self._files.values(), 1)}
        references = self._add(self._root, "References")
        for key, file in self._files.items():
            self._add(references, "File", href=file.path, id=ids[key], size=file.size)
        disks = self._disk_section(ids)
        self._network_section()
        system = self._add(self._root, "VirtualSystem", id=self.name)
        self._add(system, "Info", "A virtual machine")
        self._add(system, "Name", self.name)
        if self.description or self.config.annotation:
            section = self._add(system, "AnnotationSection")
            self._add(section, "Info", "A human-readable annotation")
            self._add(section, "Annotation", self.description or self.config.annotation)
        guest = self._add(system, "OperatingSystemSection", id="1")
        guest.set(f"{{{VMW}}}osType", self.config.guestId or "otherGuest64")
        self._add(guest, "Info", "The kind of installed guest operating system")
        self._hardware(system, disks, ids.get(nvram_key(self.moid)))
        ET.indent(self._root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(self._root, encoding="unicode")

    def _disk_section(self, files: dict[str, str]) -> dict[int, str]:
        """Writes the DiskSection; device key -> disk id of the disks that are in it."""
        section = self._add(self._root, "DiskSection")
        self._add(section, "Info", "Virtual disk information")
        written: dict[int, str] = {}
        for key, disk in disks_by_key(self.moid, self.config.hardware.device):
            file = self._files.get(key)
            if not exportable(disk) or (file is None and not self._dry):
                self._warn(disk)
                continue
            written[disk.key] = f"vmdisk{len(written) + 1}"
            attributes: dict[str, Any] = {
                "capacity": capacity(disk), "capacityAllocationUnits": "byte", "diskId": written[disk.key],
                "format": STREAM_FORMAT,
            }  # fmt: skip
            if file is not None:
                attributes["fileRef"] = files[key]
                if file.populatedSize:
                    attributes["populatedSize"] = file.populatedSize
            self._add(section, "Disk", **attributes)
        return written

    def _warn(self, disk: Any) -> None:
        label = disk.deviceInfo.label if disk.deviceInfo else str(disk.key)
        self.warnings.append(
            vim.fault.OvfUnableToExportDisk(
                device=disk, vmPath=self.name, diskName=label, msg=f"The disk {label} is not part of the export."
            )
        )

    def _network_section(self) -> None:
        section = self._add(self._root, "NetworkSection")
        self._add(section, "Info", "The list of logical networks")
        nics = [d for d in self.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
        for network in dict.fromkeys(_network_name(nic) for nic in nics):
            self._add(self._add(section, "Network", name=network), "Description", f"The {network} network")

    def _hardware(self, system: ET.Element, disks: dict[int, str], nvram: str | None) -> None:
        hardware, config = self._add(system, "VirtualHardwareSection"), self.config
        self._add(hardware, "Info", "Virtual hardware requirements")
        family = self._add(hardware, "System")
        for tag, value in (
            ("ElementName", "Virtual Hardware Family"), ("InstanceID", "0"), ("VirtualSystemIdentifier", self.name),
            ("VirtualSystemType", config.version or "vmx-13"),
        ):  # fmt: skip
            ET.SubElement(family, f"{{{VSSD}}}{tag}").text = value
        cpus, memory = config.hardware.numCPU, config.hardware.memoryMB
        self._item(hardware, 3, f"{cpus} virtual CPU(s)", AllocationUnits="hertz * 10^6", VirtualQuantity=cpus)
        self._item(hardware, 4, f"{memory}MB of memory", AllocationUnits="byte * 2^20", VirtualQuantity=memory)
        self._devices(hardware, disks)
        if config.firmware and config.firmware != "bios":
            self._vmw(hardware, "Config", "firmware", config.firmware)
        if nvram:
            self._vmw(hardware, "ExtraConfig", "nvram", f"ovf:/file/{nvram}")

    def _devices(self, hardware: ET.Element, disks: dict[int, str]) -> None:
        instances: dict[int, int] = {}
        devices = self.config.hardware.device
        for device in devices:
            kind = kind_of(device)
            if kind is not None:
                subtype = {"ResourceSubType": kind.subtype} if kind.subtype else {}
                label = device.deviceInfo.label if device.deviceInfo else f"Controller {device.busNumber}"
                instances[device.key] = self._item(
                    hardware, kind.resource_type, label, Address=device.busNumber, **subtype
                )
        for device in devices:
            label = device.deviceInfo.label if device.deviceInfo else f"Device {device.key}"
            if device.key in disks:
                self._item(
                    hardware, 17, label, AddressOnParent=device.unitNumber or 0, Parent=instances[device.controllerKey],
                    HostResource=f"ovf:/disk/{disks[device.key]}",
                )  # fmt: skip
            elif isinstance(device, vim.vm.device.VirtualEthernetCard):
                subtype = next((name for kind, name in NICS.items() if isinstance(device, kind)), "E1000")
                self._item(
                    hardware, 10, label, AddressOnParent=device.unitNumber or 7, AutomaticAllocation="true",
                    Connection=_network_name(device), ResourceSubType=subtype,
                )  # fmt: skip
            elif isinstance(device, NOT_IN_OVF):
                self.warnings.append(
                    vim.fault.OvfUnsupportedDeviceExport(
                        device=device, vmPath=self.name, msg=f"OVF can't describe the device {label}."
                    )
                )

    def _item(self, hardware: ET.Element, resource_type: int, name: str, **values: Any) -> int:
        self._instance += 1
        values |= {"ElementName": name, "InstanceID": self._instance, "ResourceType": resource_type}
        item = self._add(hardware, "Item")
        for tag in sorted(values):
            ET.SubElement(item, f"{{{RASD}}}{tag}").text = str(values[tag])
        return self._instance

    @staticmethod
    def _vmw(hardware: ET.Element, tag: str, key: str, value: str) -> None:
        attributes = {f"{{{OVF}}}required": "false", f"{{{VMW}}}key": key, f"{{{VMW}}}value": value}
        ET.SubElement(hardware, f"{{{VMW}}}{tag}", attributes)

    @staticmethod
    def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: Any) -> ET.Element:
        element = ET.SubElement(parent, f"{{{OVF}}}{tag}", {f"{{{OVF}}}{k}": str(v) for k, v in attributes.items()})
        element.text = text
        return element


def _network_name(nic: Any) -> str:
    return getattr(nic.backing, "deviceName", None) or "VM Network"


class OvfManager(MO):
    """Descriptors out of VMs, and import specifications out of descriptors."""

    vim = vim.OvfManager
    prefix = "OvfManager"

    def privilege_checks(self, info: Any, arguments: dict[str, Any]) -> list[tuple[MO, str]]:
        """The type tables ask for System.View alone; the API reference demands VApp.Export on what is described."""
        checks = super().privilege_checks(info, arguments)
        if info.wsdlName == "CreateDescriptor":
            checks.append((self.lab.find(arguments["obj"]), "VApp.Export"))
        return checks

    def CreateDescriptor(self, ctx: Any, obj: Any, cdp: Any) -> Any:
        """The descriptor of a VM, or of what `cdp.snapshot` froze. Without ovfFiles it is a rehearsal."""
        vm = self.lab.find(obj)
        if not isinstance(obj, vim.VirtualMachine):
            raise vmodl.fault.NotSupported(msg="The lab exports virtual machines, not virtual applications.")
        source = self.lab.find(cdp.snapshot) if cdp.snapshot else vm
        writer = EnvelopeWriter(
            vm.id, source.value("config"), cdp.ovfFiles or [], cdp.name or vm.value("name"), cdp.description or ""
        )
        text = writer.xml()
        return vim.OvfManager.CreateDescriptorResult(ovfDescriptor=text, warning=writer.warnings)

    def ParseDescriptor(self, ctx: Any, ovfDescriptor: str, pdp: Any) -> Any:
        result: Any = vim.OvfManager.ParseDescriptorResult(annotation="", defaultEntityName="", virtualApp=False)
        try:
            envelope = parse(ovfDescriptor)
        except OvfError as error:
            result.error = [error.fault]
            return result
        result.annotation, result.defaultEntityName = envelope.annotation, envelope.name
        result.network = [vim.OvfManager.NetworkInfo(name=name, description="") for name in envelope.networks]
        result.approximateDownloadSize = envelope.download_size
        result.approximateFlatDeploymentSize = sum(disk.capacity for disk in envelope.disks)
        result.approximateSparseDeploymentSize = sum(disk.populated for disk in envelope.disks)
        return result

    def ValidateHost(self, ctx: Any, ovfDescriptor: str, host: Any, vhp: Any) -> Any:
        self.lab.find(host)
        result: Any = vim.OvfManager.ValidateHostResult(supportedDiskProvisioning=FLAT_FORMATS)
        try:
            envelope = parse(ovfDescriptor)
        except OvfError as error:
            result.error = [error.fault]
            return result
        result.downloadSize = envelope.download_size
        result.flatDeploymentSize = sum(disk.capacity for disk in envelope.disks)
        result.sparseDeploymentSize = sum(disk.populated for disk in envelope.disks)
        return result

    def CreateImportSpec(self, ctx: Any, ovfDescriptor: str, resourcePool: Any, datastore: Any, cisp: Any) -> Any:
        self.lab.find(resourcePool)
        store = self.lab.find(datastore)
        try:
            envelope = parse(ovfDescriptor)
            return import_spec(envelope, cisp, store.value("name"), self._networks(envelope, cisp))
        except OvfError as error:
            return vim.OvfManager.CreateImportSpecResult(error=[error.fault])

    def _networks(self, envelope: Envelope, cisp: Any) -> dict[str, tuple[str, Any]]:
        """OVF network -> (name, reference) of the one it is mapped to, else of the one of the same name, else any."""
        known = {mo.value("name"): mo for mo in self.lab.all_of(vim.Network)}
        mapped = {m.name: self.lab.find(m.network) for m in cisp.networkMapping or []}
        networks = {}
        for name in envelope.networks:
            network = mapped.get(name) or known.get(name) or next(iter(known.values()), None)
            if network is not None:
                networks[name] = (network.value("name"), network.ref)
        return networks

"""What ImportVApp is to make: the server's own reading of an OVF descriptor, and what a restore changes in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from pyVmomi import vim

from engine.errors import ImageError, VsphereError
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session

_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
_Nic = vim.vm.device.VirtualEthernetCard


@dataclass(frozen=True)
class ImportItem:
    """A file that the import wants: `key` is the `import_key` of the lease's URL, `path` the file's name in the
    descriptor. `create`: not a disk, so it is PUT instead of POSTed."""

    key: str
    path: str
    create: bool


@dataclass(frozen=True)
class ImportSpec:
    """`raw` is the vim.vm.VmImportSpec, changed in place by the methods here."""

    name: str
    raw: Any
    items: tuple[ImportItem, ...]
    warnings: tuple[str, ...]

    @property
    def _nics(self) -> list[Any]:
        return [change.device for change in self.raw.configSpec.deviceChange if isinstance(change.device, _Nic)]

    @property
    def nics(self) -> int:
        return len(self._nics)

    def connect_nics(self, connected: bool) -> None:
        """Whether the network adapters are connected when the VM is powered on."""
        for nic in self._nics:
            nic.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
                startConnected=connected, allowGuestControl=True, connected=False
            )

    def keep_macs(self, macs: Sequence[str]) -> None:
        """Gives the adapters these addresses, in their order. Raises `ImageError` when there are not as many."""
        if len(macs) != self.nics:
            raise ImageError(
                f"The point's .vmx names {len(macs)} network adapters, its .ovf {self.nics}; which address belongs to "
                "which cannot be told.",
                hint="Restore without the identity, and set the addresses by hand.",
            )
        for nic, mac in zip(self._nics, macs, strict=True):
            nic.macAddress, nic.addressType = mac, "manual"

    def keep_uuids(self, bios: str, instance: str) -> None:
        config = self.raw.configSpec
        config.uuid, config.instanceUuid = bios or None, instance or None

    def note(self, key: str, value: str) -> None:
        """An entry of the VM's own configuration (extraConfig), by which it is recognised later."""
        self.raw.configSpec.extraConfig = [
            *(self.raw.configSpec.extraConfig or ()),
            vim.option.OptionValue(key=key, value=value),
        ]


def networks_of(descriptor: str) -> tuple[str, ...]:
    """The names of the networks in an OVF descriptor. Raises `ImageError` for what is none."""
    try:
        root = ElementTree.fromstring(descriptor)  # noqa: S314 - expat limits entity expansion
    except ElementTree.ParseError as error:
        raise ImageError(f"The point's OVF descriptor cannot be read: {error}.") from error
    found = (element.get(f"{_OVF}name") for element in root.iterfind(f"{_OVF}NetworkSection/{_OVF}Network"))
    return tuple(name for name in found if name)


def create(
    session: Session,
    descriptor: str,
    *,
    name: str,
    pool: Ref,
    datastore: Ref,
    host: Ref | None,
    networks: Mapping[str, Ref],
) -> ImportSpec:
    """The specification of a VM with thin disks. Raises `VsphereError` with what the server cannot make of it."""
    manager = session.content.ovfManager
    parameters = vim.OvfManager.CreateImportSpecParams(
        locale="",
        deploymentOption="",
        entityName=name,
        diskProvisioning="thin",
        hostSystem=session.managed(host) if host else None,
        networkMapping=[
            vim.OvfManager.NetworkMapping(name=known, network=session.managed(ref)) for known, ref in networks.items()
        ],
    )
    result = session.read(
        lambda: manager.CreateImportSpec(descriptor, session.managed(pool), session.managed(datastore), parameters),
        doing="reading the OVF descriptor",
        subject=name,
    )
    if result.error or result.importSpec is None:
        said = "; ".join(_said(each) for each in result.error or ()) or "it gives no reason"
        fault = type(result.error[0])._wsdlName if result.error else ""
        raise VsphereError(f"{name}: the server cannot make a VM of the point's OVF descriptor: {said}", fault=fault)
    # Change tracking of the old VM tells nothing of the new one's disks: it begins anew.
    result.importSpec.configSpec.changeTrackingEnabled = False
    items = tuple(ImportItem(item.deviceId, item.path, bool(item.create)) for item in result.fileItem or ())
    warnings = tuple(_said(each) for each in result.warning or ())
    return ImportSpec(name, result.importSpec, items, warnings)


def _said(fault: Any) -> str:
    return fault.msg or type(fault)._wsdlName

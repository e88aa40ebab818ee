"""The inventory as plain rows: every VM with its place, state, snapshots and disks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.vsphere import disks
from engine.vsphere.decoding import unescaped
from engine.vsphere.disks import Disk
from engine.vsphere.properties import Ref, ancestors, collect, get, get_one
from engine.vsphere.session import Session
from engine.vsphere.snapshots import TREE, Snapshot, snapshots_of

_LIGHT = (
    "name",
    "parent",
    "parentVApp",
    "disabledMethod",
    "config.uuid",
    "config.instanceUuid",
    "config.template",
    "config.version",
    "config.changeTrackingEnabled",
    "config.keyId",
    "config.ftInfo",
    "config.files.vmPathName",
    "config.guestFullName",
    "capability.changeTrackingSupported",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "runtime.host",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guest.hostName",
    TREE,
)
WITH_DISKS = (*_LIGHT, disks.DEVICES, *disks.LAYOUT)
READERS = {disks.DEVICES: disks.read_devices}
_LOCKED_BY_PRODUCTS = ("CreateSnapshot_Task", "CreateSnapshotEx_Task", "RelocateVM_Task")
"""Disabled by a product's lock (AuthorizationManager.DisableMethods); others are disabled by the VM's mere state."""

_PLACES = {"Folder": ["name", "parent"], "Datacenter": ["name", "parent"], "VirtualApp": ["name", "parentFolder"]}


@dataclass(frozen=True)
class VirtualMachine:
    """One VM. What the server does not tell (a VM that is inaccessible, Tools not running) is "", None or False.

    `path` is the inventory path from the datacenter on (`/DC1/vm/web/web01`), names escaped as vSphere escapes them
    (%2f): unambiguous, and what FindByInventoryPath takes. `datacenter` is the path of the datacenter without the
    leading slash, as /folder wants it in dcPath. `name` is unescaped. `vmx` is a datastore path.
    """

    moref: str
    name: str
    path: str
    datacenter: str
    uuid: str
    instance_uuid: str
    power: str
    connection: str
    template: bool
    fault_tolerant: bool
    encrypted: bool
    host: str
    tools_running: bool
    ip: str
    hostname: str
    cbt: bool
    cbt_supported: bool
    hardware_version: str
    consolidation_needed: bool
    disabled_methods: tuple[str, ...]
    snapshots: tuple[Snapshot, ...]
    disks: tuple[Disk, ...]
    vmx: str | None
    guest_os: str

    @property
    def locked_methods(self) -> tuple[str, ...]:
        """What a backup needs and vCenter has disabled: another product may hold the VM. A template's mere state
        disables the same, and is no lock."""
        return () if self.template else tuple(name for name in self.disabled_methods if name in _LOCKED_BY_PRODUCTS)


def read_vm(session: Session, moref: str) -> VirtualMachine:
    """Everything about one VM. Raises `VmUnsuitable` when it is gone."""
    ref = Ref("VirtualMachine", moref)
    values = get_one(session, ref, WITH_DISKS, readers=READERS)
    host = values.get("runtime.host")
    hosts = {host: get(session, [host], ["name"]).get(host, {}).get("name", "")} if host else {}
    return virtual_machine(ref, values, Places(ancestors(session, ref)), hosts)


def inventory(session: Session, *, with_disks: bool = True) -> Iterator[VirtualMachine]:
    """All VMs, as they arrive; without disks it is about three times cheaper."""
    places = Places({row.ref: row.values for kind, paths in _PLACES.items() for row in collect(session, kind, paths)})
    hosts = {row.ref: row.values.get("name", "") for row in collect(session, "HostSystem", ["name"])}
    paths = WITH_DISKS if with_disks else _LIGHT
    for row in collect(session, "VirtualMachine", paths, readers=READERS):
        yield virtual_machine(row.ref, row.values, places, hosts)


def paths_of(session: Session, morefs: Iterable[str]) -> list[str]:
    """The inventory paths of some VMs, in their order."""
    refs = [Ref("VirtualMachine", moref) for moref in morefs]
    return [Places(ancestors(session, ref)).path(ref) for ref in refs]


class Places:
    """Turns `name`, `parent`, `parentVApp` and `parentFolder` of many objects into inventory paths."""

    def __init__(self, nodes: Mapping[Ref, Mapping[str, Any]]) -> None:
        self._nodes = nodes

    def path(self, ref: Ref, values: Mapping[str, Any] | None = None) -> str:
        """`/DC1/vm/web01`; the root folder has no name in paths. `values` where `ref` itself is not among the nodes."""
        return "".join(f"/{name}" for _, name in reversed(list(self._upwards(ref, values))))

    def datacenter(self, ref: Ref, values: Mapping[str, Any] | None = None) -> str:
        """The path of the datacenter that holds `ref`, without the leading slash; "" when there is none."""
        above = list(self._upwards(ref, values))
        for index, (each, _) in enumerate(above):
            if each.type == "Datacenter":
                return "/".join(name for _, name in reversed(above[index:]))
        return ""

    def _upwards(self, ref: Ref, values: Mapping[str, Any] | None) -> Iterator[tuple[Ref, str]]:
        """From `ref` up to just below the root folder."""
        node = values if values is not None else self._nodes.get(ref)
        while node is not None:
            above = node.get("parentVApp") or node.get("parentFolder") or node.get("parent")
            if above is None and ref.type == "Folder":
                return
            yield ref, node.get("name", "")
            if above is None:
                return
            ref, node = above, self._nodes.get(above)


def virtual_machine(ref: Ref, values: Mapping[str, Any], places: Places, hosts: Mapping[Ref, str]) -> VirtualMachine:
    """A VM from its values by path (`WITH_DISKS`, read with `READERS`), and the names of the hosts."""

    def text(path: str) -> str:
        return values.get(path) or ""

    def flag(path: str) -> bool:
        return bool(values.get(path))

    return VirtualMachine(
        moref=ref.moid,
        name=unescaped(text("name")),
        path=places.path(ref, values),
        datacenter=places.datacenter(ref, values),
        uuid=text("config.uuid"),
        instance_uuid=text("config.instanceUuid"),
        power=text("runtime.powerState"),
        connection=text("runtime.connectionState"),
        template=flag("config.template"),
        fault_tolerant=flag("config.ftInfo"),
        encrypted=flag("config.keyId"),
        host=hosts.get(values.get("runtime.host", ref), ""),
        tools_running=text("guest.toolsRunningStatus") == "guestToolsRunning",
        ip=text("guest.ipAddress"),
        hostname=text("guest.hostName"),
        cbt=flag("config.changeTrackingEnabled"),
        cbt_supported=flag("capability.changeTrackingSupported"),
        hardware_version=text("config.version"),
        consolidation_needed=flag("runtime.consolidationNeeded"),
        disabled_methods=tuple(values.get("disabledMethod", ())),
        snapshots=snapshots_of(values.get(TREE, ())),
        disks=disks.disks_of(values.get(disks.DEVICES, ()), values),
        vmx=text("config.files.vmPathName") or None,
        guest_os=text("config.guestFullName"),
    )

"""Places for VMs: a datacenter with what a VM needs there, under ids that survive a restart of the lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from engine.lab.definition import Definition
from engine.lab.inventory import ComputeResource, Datacenter, Datastore, Folder, Network
from engine.lab.lun_store import LunStore
from engine.lab.vm import VM
from engine.lab.vmfs.form import Version

if TYPE_CHECKING:
    from engine.lab.vsphere import VSphere

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Site:
    """Where VMs are made: a datacenter with its compute resource, datastores by name, and network."""

    datacenter: Datacenter
    compute: ComputeResource
    stores: Mapping[str, Any]
    network: Network

    def folder(self, name: str) -> Folder:
        root = self.datacenter.vm_folder
        kinds = (vim.Folder, vim.VirtualMachine, vim.VirtualApp)
        return root.child(name) or root.add(Folder(root.lab, name, root, kinds))

    def vm(
        self, vsphere: VSphere, name: str, store: Any, *, folder: str | None = None, change_tracking: bool = False,
        host: int = 0, contents: bool = True, definition: Definition | None = None, **state: Any,
    ) -> VM:  # fmt: skip
        """A VM without disks, with one network adapter, and UUIDs that follow from the lab's."""
        place = self.folder(folder) if folder else self.datacenter.vm_folder
        known = definition or Definition(name)
        known.change_tracking = change_tracking
        label = f"{self.datacenter.name}/{name}"
        identity = (str(vsphere.stable_uuid(f"bios/{label}")), str(vsphere.stable_uuid(f"instance/{label}")))
        vm = VM(
            vsphere, name, place, store, self.compute.hosts[host], self.compute.pool, definition=known,
            identity=identity, contents=contents, **state,
        )  # fmt: skip
        vm.add_nic(self.network)
        return vm


def add_datastore(
    vsphere: VSphere, name: str, datacenter: Any, kind: Any = "VMFS", *, version: Version = 6, luns: int = 1
) -> Any:
    """A datastore in a directory of its own below the state. In a lab with LUNs, a VMFS one has so many, and a volume
    of this version on them."""
    store = None
    if kind == "VMFS" and vsphere.san_devices is not None:
        names = tuple(f"naa.6{vsphere.stable_uuid(f'device {name} {number}').hex[:31]}" for number in range(luns))
        store = LunStore(vsphere.state / "luns" / name, vsphere.san_devices, name, names, version)
        vsphere.luns.append(store)
    root = vsphere.state / "datastores" / name
    return Datastore(vsphere, name, datacenter, root, kind=kind, capacity=2 << 40, luns=store)

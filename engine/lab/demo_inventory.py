"""The demo: fifteen VMs in two datacenters that show every case a backup meets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from engine.lab import contents, power, snapshots
from engine.lab.definition import Definition
from engine.lab.inventory import Cluster, ComputeResource, Datacenter, Folder, Network
from engine.lab.sites import GIB, MIB, Site, add_datastore
from engine.lab.vm import VM

if TYPE_CHECKING:
    from engine.lab.vsphere import VSphere

LUNS: Mapping[str, Any] = {"tokyo-vmfs02": {"version": 5}, "berlin-vmfs01": {"luns": 2}}
"""What differs from one LUN with VMFS-6."""


def frame(vsphere: VSphere) -> dict[str, Site]:
    """Two datacenters: Tokyo with a cluster of two hosts, and Berlin in the folder Europe with a single host."""
    tokyo = Datacenter(vsphere, "Tokyo", vsphere.root)
    europe = vsphere.root.add(Folder(vsphere, "Europe", vsphere.root, (vim.Folder, vim.Datacenter)))
    berlin = Datacenter(vsphere, "Berlin", europe)
    cluster = Cluster(vsphere, "Production", tokyo)
    single = ComputeResource(vsphere, "esx03.lab", berlin)
    for name in ("esx01.lab", "esx02.lab"):
        cluster.add_host(name)
    single.add_host("esx03.lab")
    kinds = {
        tokyo: {"tokyo-vmfs01": "VMFS", "tokyo-vmfs02": "VMFS", "tokyo-nfs01": "NFS"},
        berlin: {"berlin-vsan": "vsan", "berlin-vmfs01": "VMFS"},
    }
    sites = {}
    for datacenter, compute in ((tokyo, cluster), (berlin, single)):
        network = Network(vsphere, f"VM Network {datacenter.name}", datacenter)
        stores = {n: add_datastore(vsphere, n, datacenter, k, **LUNS.get(n, {})) for n, k in kinds[datacenter].items()}
        for host in compute.hosts:
            host.connect(network)
            for store in stores.values():
                host.mount(store)
        sites[datacenter.name] = Site(datacenter, compute, stores, network)
    return sites


def populate(vsphere: VSphere, sites: Mapping[str, Site], marks: Path) -> None:
    _Demo(vsphere, sites["Tokyo"], sites["Berlin"], marks).populate()


class _Demo:
    def __init__(self, vsphere: VSphere, tokyo: Site, berlin: Site, marks: Path) -> None:
        self.vsphere, self.tokyo, self.berlin, self.marks = vsphere, tokyo, berlin, marks

    def populate(self) -> None:
        self._ordinary()
        self._disk_kinds()
        self._snapshots()
        self._names()
        for vm in self.vsphere.all_of(vim.VirtualMachine):
            vm.stun()
            if vm.power == "poweredOn":
                power.open_redo_logs(vm)

    def _disk(self, vm: VM, capacity: int, used: int, **how: Any) -> int:
        """A disk with `used` bytes of contents."""
        key = vm.add_disk(capacity, **how)
        contents.owe(vm.disks[key], f"{used}:{vm.id}-{key}", self.marks)
        return key

    def _vm(
        self, name: str, *, store: str = "tokyo-vmfs01", disk: int = 2 * GIB, used: int = 8 * MIB, **how: Any
    ) -> VM:
        site = self.tokyo if store in self.tokyo.stores else self.berlin
        vm = site.vm(self.vsphere, name, site.stores[store], **how)
        if disk:
            self._disk(vm, disk, used)
        return vm

    def _ordinary(self) -> None:
        web = self._vm("web01", disk=72 * GIB, used=200 * MIB, folder="Web", ip="10.0.0.7", hostname="web01.tokyo.lab")
        self._disk(web, 8 * GIB, 24 * MIB)
        self._vm("archive01", store="tokyo-nfs01", power="poweredOff")
        self._vm("appliance01", tools="notInstalled", host=1)
        proxy = self._vm("proxy01", folder="Backup", ip="10.0.0.90", store="tokyo-vmfs02", hostname="proxy01.tokyo.lab")
        proxy.definition.extra["disk.EnableUUID"] = "TRUE"
        golden = Definition("golden-debian12", template=True)
        self._vm("golden-debian12", definition=golden, power="poweredOff", used=4 * MIB)

    def _disk_kinds(self) -> None:
        db = self._vm("db01", folder="Databases", ip="10.0.0.20", change_tracking=True, used=32 * MIB, host=1)
        scratch_disk = {"mode": "independent_persistent", "datastore": self.tokyo.stores["tokyo-vmfs02"]}
        self._disk(db, 1 * GIB, 4 * MIB, **scratch_disk)
        scratch = self._vm("scratch01", disk=0, ip="10.0.0.40")
        self._disk(scratch, 1 * GIB, 4 * MIB, mode="independent_persistent")
        self._disk(scratch, 1 * GIB, 2 * MIB, mode="independent_nonpersistent")
        sap = self._vm("sap01", folder="Databases", ip="10.0.0.21")
        self._disk(sap, 4 * GIB, 8 * MIB, kind="rdm-physical")
        files = self._vm("file01", ip="10.0.0.22")
        self._disk(files, 4 * GIB, 8 * MIB, kind="rdm-virtual")
        shared = self._vm("cluster01", ip="10.0.0.23")
        self._disk(shared, 1 * GIB, 4 * MIB, sharing="sharingMultiWriter", provisioning="eager")

    def _snapshots(self) -> None:
        user = self._vm("web02", folder="Web", ip="10.0.0.8", change_tracking=True)
        user.take_snapshot("before upgrade", "taken by hand before the upgrade to version 5")
        user.write(2000, 700 * MIB, b"after the upgrade" * 512)
        left = self._vm("mail01", ip="10.0.0.25", store="berlin-vsan")
        leftover = left.take_snapshot("_VCB-BACKUP_", "left behind by a backup that died")
        leftover.created -= timedelta(days=9)
        left.write(2000, 300 * MIB, b"nine days of mail" * 512)
        stuck = self._vm("stuck01", ip="10.0.0.26")
        failed = stuck.take_snapshot("_VCB-BACKUP_", "its removal did not merge the delta")
        stuck.write(2000, 5 * MIB, b"written meanwhile" * 512)
        snapshots.remove(failed, snapshots.Unwatched(), merge=False)

    def _names(self) -> None:
        """A name in both datacenters, an address that two VMs report, and a name that needs escaping on the wire."""
        self._vm("app01", ip="10.0.0.30")
        self._vm("app01", store="berlin-vmfs01", ip="10.0.0.31")
        self._vm("app02", store="berlin-vmfs01", ip="10.0.0.30")
        self._vm("Büro%2fDrucker", store="berlin-vmfs01", ip="10.0.0.50", hostname="buero-drucker.berlin.lab")

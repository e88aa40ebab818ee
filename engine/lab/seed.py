"""What a lab holds when it starts for the first time, and how it comes back later.

The frame (datacenters, hosts, datastores) is built the same way at every start, so that its morefs never change; VMs
come from the saved state, and from the seed only when there is none.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pyVmomi import vim

from engine.lab import contents, demo_inventory
from engine.lab.inventory import ComputeResource, Datacenter, Network
from engine.lab.persistence import Persistence, replace_file
from engine.lab.sites import GIB, MIB, Site, add_datastore

if TYPE_CHECKING:
    from engine.lab.vsphere import VSphere

COUNTED_CAPACITY = 40 * GIB
_BEFORE_SETTLING = 3.0  # seconds


def plant(vsphere: VSphere, seed: str | int) -> None:
    """Build the inventory in `vsphere.state`: what was saved there, else the seed.

    seed: "demo", "small", "empty", or a number of VMs without content. A state that was made from another seed keeps
    its own."""
    persistence = Persistence(vsphere.state / "vms")
    chosen = _remember(vsphere.state / "seed", str(seed))
    as_demo = chosen == "demo" and not vsphere.esx
    places = demo_inventory.frame(vsphere) if as_demo else {"Lab": _plain_frame(vsphere)}
    marks = persistence.directory
    if persistence.exists():
        persistence.load(vsphere, lambda disk, recipe: contents.owe(disk, recipe, marks))
        vsphere.persistence = persistence
        return
    persistence.saving = False
    vsphere.persistence = persistence
    if as_demo:
        demo_inventory.populate(vsphere, places, marks)
    elif chosen in ("small", "demo"):
        _small(vsphere, places["Lab"], marks)
    elif chosen.isdigit():
        _counted(vsphere, places["Lab"], int(chosen))
    persistence.save_all(vsphere.all_of(vim.VirtualMachine))


def _remember(path: Path, seed: str) -> str:
    if not path.exists():
        if seed not in ("demo", "small", "empty") and not seed.isdigit():
            raise ValueError(f"a seed is demo, small, empty or a number of VMs, not {seed!r}")
        replace_file(path, seed.encode())
    return path.read_text("ascii")


def settle_in_background(vsphere: VSphere) -> None:
    """Write the contents that disks still owe, one disk after another, while the lab already answers; not at once, for
    a lab that lives for one job should not write the disks of all others."""

    def work() -> None:
        if vsphere.closes_within(_BEFORE_SETTLING):
            return
        for vm in vsphere.all_of(vim.VirtualMachine):
            for disk in list(vm.store.values()):
                if vsphere.closing:
                    return
                if not disk.dead:
                    disk.settle()

    threading.Thread(target=work, name="seed", daemon=True).start()


def _plain_frame(vsphere: VSphere) -> Site:
    """One datacenter, one host, one VMFS datastore; on ESXi with the morefs that hosts use."""
    esx = vsphere.esx
    datacenter = Datacenter(vsphere, "ha-datacenter" if esx else "Lab", vsphere.root, "ha-datacenter" if esx else None)
    store = add_datastore(vsphere, "labstore", datacenter)
    network = Network(vsphere, "VM Network", datacenter)
    compute = ComputeResource(vsphere, "esx01.lab", datacenter, "ha-compute-res" if esx else None)
    host = compute.add_host("esx01.lab", moid="ha-host" if esx else None)
    host.mount(store)
    host.connect(network)
    return Site(datacenter, compute, {"labstore": store}, network)


def _small(vsphere: VSphere, site: Site, marks: Path) -> None:
    """Three VMs with disks of 64 MiB: two running (one with tracking and an independent disk), one powered off."""
    store = site.stores["labstore"]
    web = site.vm(vsphere, "web01", store, ip="10.0.0.7")
    db = site.vm(vsphere, "db01", store, ip="10.0.0.20", change_tracking=True)
    off = site.vm(vsphere, "off01", store, power="poweredOff")
    for number, vm in enumerate((web, web, db, off)):
        key = vm.add_disk(64 * MIB if vm is not web or not vm.disks else 32 * MIB)
        contents.owe(vm.disks[key], f"{6 * MIB}:small-{number}", marks)
    key = db.add_disk(64 * MIB, mode="independent_persistent")
    contents.owe(db.disks[key], f"{2 * MIB}:small-independent", marks)
    db.stun()


def _counted(vsphere: VSphere, site: Site, count: int) -> None:
    """VMs without content: nothing of them is on the disk of this machine but their saved state."""
    store = site.stores["labstore"]
    for number in range(count):
        ip = f"10.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        vm = site.vm(vsphere, f"vm{number:04d}", store, ip=ip, contents=False)
        vm.add_disk(COUNTED_CAPACITY)

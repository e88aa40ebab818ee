"""A small inventory that tests build for themselves, so that they don't depend on what the lab is seeded with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.lab import Lab
from engine.lab.inventory import Cluster, Datacenter, Datastore, Folder, Network
from engine.lab.vm import VM

MIB = 1 << 20


@dataclass
class Site:
    """One datacenter with a cluster of two hosts, a datastore and a network."""

    lab: Lab
    datacenter: Datacenter
    cluster: Cluster
    store: Datastore
    network: Network

    def vm(self, name: str, *, folder: Folder | None = None, disks: tuple[int, ...] = (), **more: Any) -> VM:
        place = folder or self.datacenter.vm_folder
        host = self.cluster.hosts[0]
        return VM(self.lab.vsphere, name, place, self.store, host, self.cluster.pool, disks, **more)


def build_site(lab: Lab, name: str = "East") -> Site:
    vsphere = lab.vsphere
    datacenter = Datacenter(vsphere, name, vsphere.root)
    cluster = Cluster(vsphere, f"{name}-cluster", datacenter)
    store = Datastore(vsphere, f"{name}-store", datacenter, vsphere.state / "stores" / name)
    network = Network(vsphere, f"{name}-net", datacenter)
    for number in (1, 2):
        host = cluster.add_host(f"esx{number}.{name.lower()}.lab")
        host.mount(store)
        host.connect(network)
    return Site(lab, datacenter, cluster, store, network)

"""Datacenters, compute resources, clusters and resource pools: the frame that hosts, datastores and VMs are put into.

datacenter = Datacenter(vsphere, "Tokyo", vsphere.root)
cluster = Cluster(vsphere, "Production", datacenter)
store = Datastore(vsphere, "tokyo-san", datacenter, directory)
network = Network(vsphere, "VM Network", datacenter)
for name in ("esx01.lab", "esx02.lab"):
    host = cluster.add_host(name)
    host.mount(store)
    host.connect(network)
"""

from __future__ import annotations

from typing import Any, ClassVar

from pyVmomi import vim

from engine.lab import wire
from engine.lab.datastores import Datastore, Network
from engine.lab.entity import Entity, Folder
from engine.lab.hosts import Host
from engine.lab.registry import MO

__all__ = [
    "Cluster", "ComputeResource", "Datacenter", "Datastore", "Entity", "Folder", "Host", "Network", "ResourcePool",
]  # fmt: skip

# (attribute and wire name, the folder's name, what may lie in it, moref on a vCenter begins with, moref on ESXi)
_FOLDERS = (
    ("vm_folder", "vmFolder", "vm", (vim.Folder, vim.VirtualMachine, vim.VirtualApp), "group-v", "ha-folder-vm"),
    ("host_folder", "hostFolder", "host", (vim.Folder, vim.ComputeResource), "group-h", "ha-folder-host"),
    ("datastore_folder", "datastoreFolder", "datastore", (vim.Folder, vim.Datastore), "group-s", "ha-folder-datastore"),
    ("network_folder", "networkFolder", "network", (vim.Folder, vim.Network), "group-n", "ha-folder-network"),
)


class Datacenter(Entity):
    """Has its four folders from the beginning. `parent` is the root folder or a folder of datacenters."""

    vim = vim.Datacenter
    prefix = "datacenter"
    vm_folder: Folder
    host_folder: Folder
    datastore_folder: Folder
    network_folder: Folder

    def __init__(self, lab: Any, name: str, parent: Folder, moid: str | None = None) -> None:
        super().__init__(lab, name, parent, moid)
        number = self.id.rpartition("-")[2]
        for attribute, wire_name, folder_name, types, prefix, on_esx in _FOLDERS:
            folder = Folder(lab, folder_name, self, types, on_esx if lab.esx else f"{prefix}{number}")
            setattr(self, attribute, folder)
            self.props[wire_name] = folder.ref
        self.props["datastore"] = lambda: [d.ref for d in self.datastores()]
        self.props["network"] = lambda: [n.ref for n in lab.all_of(vim.Network) if lab.is_below(n, self)]
        parent.add(self)

    def children(self) -> list[Any]:
        return [self.vm_folder, self.host_folder, self.datastore_folder, self.network_folder]

    def datastores(self) -> list[Datastore]:
        return [d for d in self.lab.all_of(vim.Datastore) if self.lab.is_below(d, self)]


class ResourcePool(Entity):
    """`owner` is the compute resource; `parent` the same for its root pool, else another pool."""

    vim = vim.ResourcePool
    prefix = "resgroup"

    def __init__(self, lab: Any, name: str, owner: MO, parent: MO | None = None, moid: str | None = None) -> None:
        super().__init__(lab, name, parent or owner, moid)
        self._pools: list[ResourcePool] = []
        config = wire.fill(vim.ResourceConfigSpec(cpuAllocation=_shares(), memoryAllocation=_shares()))
        self.props.update(
            owner=owner.ref,
            config=config,
            runtime=wire.fill(vim.ResourcePool.RuntimeInfo()),
            summary=lambda: wire.fill(vim.ResourcePool.Summary(name=self.name, config=config)),
            resourcePool=lambda: [pool.ref for pool in self._pools],
            vm=lambda: [vm.ref for vm in lab.all_of(vim.VirtualMachine) if vm.props.get("resourcePool") == self.ref],
        )
        if isinstance(parent, ResourcePool):
            parent._pools.append(self)
            parent.touch("resourcePool")

    def children(self) -> list[Any]:
        return list(self._pools)

    def CreateResourcePool(self, ctx: Any, name: str, spec: Any) -> Any:
        if any(pool.name == name for pool in self._pools):
            raise vim.fault.DuplicateName(name=name, object=self.ref)
        owner = self.lab.find(self.props["owner"])
        return ResourcePool(self.lab, name, owner, self).ref

    def ImportVApp(self, ctx: Any, spec: Any, folder: Any = None, host: Any = None) -> Any:
        from engine.lab import importing  # noqa: PLC0415 - it makes VMs, and VMs live in pools

        return importing.import_vapp(ctx, self, spec, folder, host)


class ComputeResource(Entity):
    """A standalone host's compute resource; Cluster is the same for several hosts. Comes with its root pool."""

    vim: ClassVar[Any] = vim.ComputeResource
    prefix = "domain-s"

    def __init__(self, lab: Any, name: str, datacenter: Datacenter, moid: str | None = None) -> None:
        super().__init__(lab, name, datacenter.host_folder, moid)
        self.hosts: list[Host] = []
        self.pool = ResourcePool(lab, "Resources", self, moid="ha-root-pool" if lab.esx else None)
        self.props.update(
            host=lambda: [host.ref for host in self.hosts],
            resourcePool=self.pool.ref,
            datastore=lambda: [d.ref for d in self._distinct(h.datastores for h in self.hosts)],
            network=lambda: [n.ref for n in self._distinct(h.networks for h in self.hosts)],
            summary=self._summary,
        )
        datacenter.host_folder.add(self)

    def add_host(self, name: str, *, address: str = "127.0.0.1", moid: str | None = None) -> Host:
        host = Host(self.lab, name, self, address=address, moid=moid)
        self.hosts.append(host)
        self.touch("host", "summary")
        return host

    def children(self) -> list[Any]:
        return [*self.hosts, self.pool]

    def _summary(self) -> Any:
        return self._sized(vim.ComputeResource.Summary())

    def _sized(self, summary: Any) -> Any:
        hardware = [host.value("summary.hardware") for host in self.hosts]
        summary.numHosts = summary.numEffectiveHosts = len(hardware)
        summary.numCpuCores = sum(h.numCpuCores for h in hardware)
        summary.numCpuThreads = sum(h.numCpuThreads for h in hardware)
        summary.totalCpu = summary.effectiveCpu = sum(h.numCpuCores * h.cpuMhz for h in hardware)
        summary.totalMemory = sum(h.memorySize for h in hardware)
        summary.effectiveMemory = summary.totalMemory >> 20  # this one is in MB
        summary.overallStatus = "green"
        return wire.fill(summary)

    @staticmethod
    def _distinct(groups: Any) -> list[Any]:
        return list({mo.id: mo for group in groups for mo in group}.values())


class Cluster(ComputeResource):
    vim = vim.ClusterComputeResource
    prefix = "domain-c"

    def _summary(self) -> Any:
        return self._sized(vim.ClusterComputeResource.Summary(currentFailoverLevel=0, numVmotions=0))


def _shares() -> Any:
    return vim.ResourceAllocationInfo(
        reservation=0, expandableReservation=True, limit=-1, shares=vim.SharesInfo(shares=4000, level="normal")
    )

"""Datastores: a directory of this machine that shows as VMFS, NFS or vSAN."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyVmomi import vim

from engine.lab import wire
from engine.lab.browser import browser_for
from engine.lab.entity import Entity
from engine.lab.registry import MO

if TYPE_CHECKING:
    from engine.lab.lun_store import LunStore

Kind = Literal["VMFS", "NFS", "vsan"]
LARGEST_FILE = 64 << 40


class Datastore(Entity):
    """`root` is the directory with its contents. Free space is told from the files' real size, so that a thin disk
    fills it as it fills a real one."""

    vim = vim.Datastore
    prefix = "datastore"

    def __init__(
        self,
        lab: Any,
        name: str,
        datacenter: Any,
        root: Path,
        *,
        kind: Kind = "VMFS",
        capacity: int = 1 << 40,
        volume_id: str | None = None,
        device: str | None = None,
        luns: LunStore | None = None,
        moid: str | None = None,
    ) -> None:
        """capacity in bytes; volume_id: the VMFS or NFS volume's id; device: the LUN's canonical name (naa....), of
        which partition 1 is the VMFS extent. luns: real ones, whose volume and names are told instead."""
        super().__init__(lab, name, datacenter.datastore_folder, moid)
        self.root, self.kind, self.capacity = root, kind, capacity
        self.volume_id = volume_id or str(lab.stable_uuid(f"volume {name}"))
        self.device = device or f"naa.6{lab.stable_uuid(f'device {name}').hex[:31]}"
        self.luns = luns
        if luns is not None:
            self.volume_id = luns.uuid
        self.hosts: list[Any] = []
        root.mkdir(parents=True, exist_ok=True)
        self.url = f"ds:///vmfs/volumes/{self.volume_id}/"
        self.props.update(
            summary=self._summary,
            info=self._info,
            host=self._mounts,
            vm=lambda: [vm.ref for vm in lab.all_of(vim.VirtualMachine) if self.ref in (vm.value("datastore") or ())],
            browser=lambda: browser_for(self),
            capability=self._capability(),
        )
        datacenter.datastore_folder.add(self)

    def path_of(self, name: str) -> str:
        """ "[store1] web01/web01.vmx" for "web01/web01.vmx"."""
        return f"[{self.name}] {name}"

    def free(self) -> int:
        """Bytes: the capacity less what the files really occupy, and never more than this machine has."""
        used = sum(f.stat().st_blocks * 512 for f in self.root.rglob("*") if f.is_file())
        used += 0 if self.luns is None else self.luns.occupied()
        return max(0, min(self.capacity - used, shutil.disk_usage(self.root).free))

    def RefreshDatastore(self, ctx: Any) -> None:
        self.touch("summary", "info")

    RefreshDatastoreStorageInfo = RefreshDatastore

    def _summary(self) -> Any:
        return vim.Datastore.Summary(
            datastore=self.ref,
            name=self.name,
            url=self.url,
            capacity=self.capacity,
            freeSpace=self.free(),
            uncommitted=0,
            accessible=True,
            multipleHostAccess=len(self.hosts) > 1,
            type=self.kind,
            maintenanceMode="normal",
        )

    def _info(self) -> Any:
        kinds = {
            "VMFS": vim.host.VmfsDatastoreInfo,
            "NFS": vim.host.NasDatastoreInfo,
            "vsan": vim.host.VsanDatastoreInfo,
        }
        info = kinds[self.kind](
            name=self.name,
            url=self.url,
            freeSpace=self.free(),
            maxFileSize=LARGEST_FILE,
            maxMemoryFileSize=LARGEST_FILE,
        )
        if self.kind == "VMFS":
            info.vmfs = self.volume()
        elif self.kind == "NFS":
            info.nas = self.volume()
        return wire.fill(info)

    def volume(self) -> Any:
        """HostVmfsVolume or HostNasVolume; None for vSAN, whose volume hosts do not list so."""
        if self.kind == "VMFS":
            version, names = (6, (self.device,)) if self.luns is None else (self.luns.version, self.luns.names)
            return vim.host.VmfsVolume(
                type="VMFS", name=self.name, capacity=self.capacity, blockSizeMb=1, blockSize=1024, maxBlocks=63963136,
                majorVersion=version, version="6.82" if version == 6 else "5.81", uuid=self.volume_id,
                extent=[vim.host.ScsiDisk.Partition(diskName=name, partition=1) for name in names],
                vmfsUpgradable=version < 6, ssd=False, local=False,
            )  # fmt: skip
        if self.kind == "NFS":
            return vim.host.NasVolume(
                type="NFS",
                name=self.name,
                capacity=self.capacity,
                remoteHost="nfs.lab",
                remotePath=f"/export/{self.name}",
            )
        return None

    def _mounts(self) -> list[Any]:
        mount = vim.host.MountInfo(
            path=f"/vmfs/volumes/{self.volume_id}", accessMode="readWrite", mounted=True, accessible=True
        )
        return [vim.Datastore.HostMount(key=host.ref, mountInfo=mount) for host in self.hosts]

    def _capability(self) -> Any:
        return vim.Datastore.Capability(
            directoryHierarchySupported=True,
            rawDiskMappingsSupported=self.kind == "VMFS",
            perFileThinProvisioningSupported=True,
            storageIORMSupported=self.kind == "VMFS",
            nativeSnapshotSupported=False,
            topLevelDirectoryCreateSupported=self.kind != "vsan",
            seSparseSupported=self.kind == "VMFS",
            vmfsSparseSupported=self.kind == "VMFS",
            vsanSparseSupported=self.kind == "vsan",
        )


class Network(Entity):
    vim = vim.Network
    prefix = "network"

    def __init__(self, lab: Any, name: str, datacenter: Any, moid: str | None = None) -> None:
        super().__init__(lab, name, datacenter.network_folder, moid)
        self.hosts: list[MO] = []
        self.props.update(
            summary=lambda: vim.Network.Summary(network=self.ref, name=self.name, accessible=True, ipPoolName=""),
            host=lambda: [host.ref for host in self.hosts],
            vm=lambda: [vm.ref for vm in lab.all_of(vim.VirtualMachine) if self.ref in (vm.value("network") or ())],
        )
        datacenter.network_folder.add(self)

"""ESXi hosts, with the parts of a host's configuration that clients look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from engine.lab import wire
from engine.lab.browser import browser_for
from engine.lab.datastores import Datastore, Network
from engine.lab.entity import Entity
from engine.lab.registry import MO

GIB = 1 << 30


class StorageSystem(MO):
    vim = vim.host.StorageSystem
    prefix = "storageSystem"

    def __init__(self, lab: Any, host: Host, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["fileSystemVolumeInfo"] = host.file_systems
        self.props["storageDeviceInfo"] = lambda: wire.fill(
            vim.host.StorageDeviceInfo(scsiLun=[_lun(store) for store in host.datastores if store.kind == "VMFS"])
        )

    def RefreshStorageSystem(self, ctx: Any) -> None:
        self.touch("fileSystemVolumeInfo", "storageDeviceInfo")

    RescanVmfs = RescanAllHba = RefreshStorageSystem


class DatastoreSystem(MO):
    vim = vim.host.DatastoreSystem
    prefix = "datastoreSystem"

    def __init__(self, lab: Any, host: Host, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["datastore"] = lambda: [store.ref for store in host.datastores]


class NetworkSystem(MO):
    vim = vim.host.NetworkSystem
    prefix = "networkSystem"

    def __init__(self, lab: Any, host: Host, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["networkInfo"] = lambda: wire.fill(
            vim.host.NetworkInfo(portgroup=[_port_group(network.name) for network in host.networks])
        )


class VirtualNicManager(MO):
    vim = vim.host.VirtualNicManager
    prefix = "virtualNicManager"

    def __init__(self, lab: Any, host: Host, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["info"] = host.nic_info


class Host(Entity):
    """`compute` is the cluster or standalone compute resource that it belongs to. Its certificate is the one of its
    name by the lab's CA."""

    vim = vim.HostSystem
    prefix = "host"

    def __init__(
        self, lab: Any, name: str, compute: Any, *, address: str = "127.0.0.1", moid: str | None = None
    ) -> None:
        super().__init__(lab, name, compute, moid)
        self.compute = compute
        self.uuid = str(lab.stable_uuid(f"host {name}"))
        self.addresses = (address,)
        self.datastores: list[Datastore] = []
        self.networks: list[Network] = []
        self._memory, self._cores, self._mhz = 64 * GIB, 16, 2400
        suffix = self.id.rpartition("-")[2]
        self.props.update(
            runtime=wire.fill(
                vim.host.RuntimeInfo(
                    connectionState="connected", powerState="poweredOn", inMaintenanceMode=False,
                    bootTime=datetime.now(UTC),
                )
            ),
            summary=self._summary,
            config=self._config,
            hardware=self._hardware,
            capability=wire.fill(vim.host.Capability(restrictedSnapshotRelocateSupported=False)),
            vm=lambda: [vm.ref for vm in lab.all_of(vim.VirtualMachine) if _runs_on(vm, self)],
            datastore=lambda: [store.ref for store in self.datastores],
            network=lambda: [network.ref for network in self.networks],
            datastoreBrowser=lambda: browser_for(self),
            configManager=vim.host.ConfigManager(
                storageSystem=StorageSystem(lab, self, f"storageSystem-{suffix}").ref,
                datastoreSystem=DatastoreSystem(lab, self, f"datastoreSystem-{suffix}").ref,
                networkSystem=NetworkSystem(lab, self, f"networkSystem-{suffix}").ref,
                virtualNicManager=VirtualNicManager(lab, self, f"virtualNicManager-{suffix}").ref,
            ),
        )  # fmt: skip

    def mount(self, datastore: Datastore) -> None:
        """The host (also) sees this datastore."""
        self.datastores.append(datastore)
        datastore.hosts.append(self)
        self.touch("datastore", "config")
        datastore.touch("host", "summary")

    def connect(self, network: Network) -> None:
        self.networks.append(network)
        network.hosts.append(self)
        self.touch("network", "config")
        network.touch("host")

    def file_systems(self) -> Any:
        mounts = []
        for store in self.datastores:
            volume = store.volume()
            if volume is not None:
                where = vim.host.MountInfo(
                    path=f"/vmfs/volumes/{store.volume_id}", accessMode="readWrite", mounted=True, accessible=True
                )
                mounts.append(vim.host.FileSystemMountInfo(mountInfo=where, volume=volume))
        return vim.host.FileSystemVolumeInfo(volumeTypeList=["VMFS", "NFS", "vsan"], mountInfo=mounts)

    def nic_info(self) -> Any:
        address = vim.host.IpConfig(dhcp=False, ipAddress=self.addresses[0], subnetMask="255.0.0.0")
        nic = vim.host.VirtualNic(
            device="vmk0", key="management.key-vim.host.VirtualNic-vmk0", portgroup="Management Network",
            spec=vim.host.VirtualNic.Specification(ip=address),
        )  # fmt: skip
        selected = vim.host.VirtualNicManager.NetConfig(
            nicType="management", multiSelectAllowed=True, candidateVnic=[nic], selectedVnic=[nic.key]
        )
        return vim.host.VirtualNicManagerInfo(netConfig=[selected])

    def product(self) -> Any:
        return self.lab.product("VMware ESXi", "embeddedEsx", "HostAgent")

    def _summary(self) -> Any:
        return wire.fill(
            vim.host.Summary(
                host=self.ref,
                hardware=vim.host.Summary.HardwareSummary(
                    vendor="vcb-console", model="Embedded lab", uuid=self.uuid, memorySize=self._memory,
                    cpuModel="Virtual CPU", cpuMhz=self._mhz, numCpuPkgs=2, numCpuCores=self._cores,
                    numCpuThreads=2 * self._cores, numNics=2, numHBAs=1,
                ),
                runtime=self.props["runtime"],
                config=vim.host.Summary.ConfigSummary(
                    name=self.name, port=443, sslThumbprint=self.lab.authority.issue(self.name).sha1,
                    product=self.product(), vmotionEnabled=True, faultToleranceEnabled=False,
                ),
                quickStats=vim.host.Summary.QuickStats(overallCpuUsage=0, overallMemoryUsage=0, uptime=1),
                overallStatus="green",
                rebootRequired=False,
                managementServerIp=None if self.lab.esx else "127.0.0.1",
            )
        )  # fmt: skip

    def _config(self) -> Any:
        return wire.fill(
            vim.host.ConfigInfo(
                host=self.ref,
                product=self.product(),
                fileSystemVolume=self.file_systems(),
                virtualNicManagerInfo=self.nic_info(),
                certificate=list(self.lab.authority.issue(self.name).pem.encode()),
            )
        )

    def _hardware(self) -> Any:
        return wire.fill(
            vim.host.HardwareInfo(
                systemInfo=vim.host.SystemInfo(vendor="vcb-console", model="Embedded lab", uuid=self.uuid),
                cpuInfo=vim.host.CpuInfo(
                    numCpuPackages=2, numCpuCores=self._cores, numCpuThreads=2 * self._cores, hz=self._mhz * 1_000_000
                ),
                memorySize=self._memory,
            )
        )


def _runs_on(vm: MO, host: Host) -> bool:
    runtime = vm.props.get("runtime")
    return runtime is not None and runtime.host is not None and runtime.host._moId == host.id


def _lun(store: Datastore) -> Any:
    capacity = vim.host.DiskDimensions.Lba(blockSize=512, block=store.capacity // 512)
    return wire.fill(
        vim.host.ScsiDisk(
            canonicalName=store.device, deviceName=f"/vmfs/devices/disks/{store.device}", uuid=store.device,
            key=f"key-vim.host.ScsiDisk-{store.device}", lunType="disk", operationalState=["ok"], capacity=capacity,
            devicePath=f"/vmfs/devices/disks/{store.device}", vendor="LAB", model="LUN",
        )
    )  # fmt: skip


def _port_group(name: str) -> Any:
    return wire.fill(vim.host.PortGroup(spec=wire.fill(vim.host.PortGroup.Specification(name=name, vlanId=0))))

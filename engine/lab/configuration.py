"""A VM's computed properties: config, summary, guest, capability, snapshot tree, disabled methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from engine.lab import hardware, wire
from engine.lab.definition import Definition
from engine.lab.layers import Layer

if TYPE_CHECKING:
    from engine.lab.vm import VM

RUNNING_METHODS = ["PowerOnVM_Task", "UnregisterVM", "Destroy_Task", "MarkAsTemplate", "ExportVm"]
STOPPED_METHODS = [
    "PowerOffVM_Task", "ResetVM_Task", "SuspendVM_Task", "RebootGuest", "ShutdownGuest", "StandbyGuest",
    "MarkAsVirtualMachine",
]  # fmt: skip
HELD_METHODS = [
    "PowerOnVM_Task",
    "PowerOffVM_Task",
    "Destroy_Task",
    "UnregisterVM",
    "RelocateVM_Task",
    "MarkAsTemplate",
]


def config_info(
    vm: VM, definition: Definition, levels: Mapping[int, Layer], change_ids: Mapping[int, str | None]
) -> Any:
    """ConfigInfo of the running VM (no levels) or of what a snapshot froze."""
    return wire.fill(
        vim.vm.ConfigInfo(
            name=definition.name,
            guestFullName=definition.guest_name,
            guestId=definition.guest_id,
            version=definition.version,
            uuid=vm.uuid,
            instanceUuid=vm.instance_uuid,
            template=definition.template,
            ftInfo=_fault_tolerance(vm) if definition.fault_tolerant else None,
            keyId=vim.encryption.CryptoKeyId(keyId=vm.uuid) if definition.encrypted else None,
            changeVersion=str(vm.stamp),
            modified=vm.modified,
            changeTrackingEnabled=definition.change_tracking,
            annotation=definition.annotation,
            firmware=definition.firmware,
            files=vim.vm.FileInfo(
                vmPathName=vm.file(f"{vm.stem}.vmx"),
                snapshotDirectory=vm.file(""),
                suspendDirectory=vm.file(""),
                logDirectory=vm.file(""),
            ),
            tools=vim.vm.ToolsConfigInfo(toolsVersion=12352 if vm.tools != "notInstalled" else 0),
            hardware=vim.vm.VirtualHardware(
                numCPU=definition.cpus,
                numCoresPerSocket=definition.cpus,
                memoryMB=definition.memory_mb,
                device=hardware.devices(definition, vm.store, levels, change_ids),
            ),
            extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in definition.extra.items()],
        )
    )


def _fault_tolerance(vm: VM) -> Any:
    return vim.vm.FaultToleranceConfigInfo(role=1, instanceUuids=[vm.instance_uuid], configPaths=[])


def summary(vm: VM) -> Any:
    definition, guest = vm.definition, vm.props["guest"]
    storage = vm.value("storage")
    usage = storage.perDatastoreUsage
    running = vm.power == "poweredOn"
    return wire.fill(
        vim.vm.Summary(
            vm=vm.ref,
            runtime=vm.props["runtime"],
            overallStatus="green",
            guest=vim.vm.Summary.GuestSummary(
                guestId=guest.guestId,
                guestFullName=guest.guestFullName,
                ipAddress=guest.ipAddress,
                hostName=guest.hostName,
                toolsStatus=guest.toolsStatus,
                toolsRunningStatus=guest.toolsRunningStatus,
                toolsVersionStatus2=guest.toolsVersionStatus2,
            ),
            config=vim.vm.Summary.ConfigSummary(
                name=definition.name,
                template=definition.template,
                vmPathName=vm.file(f"{vm.stem}.vmx"),
                memorySizeMB=definition.memory_mb,
                numCpu=definition.cpus,
                uuid=vm.uuid,
                instanceUuid=vm.instance_uuid,
                guestId=definition.guest_id,
                guestFullName=definition.guest_name,
                annotation=definition.annotation,
                numVirtualDisks=len(definition.disks),
                numEthernetCards=len(definition.nics),
            ),
            storage=vim.vm.Summary.StorageSummary(
                committed=sum(u.committed for u in usage),
                uncommitted=sum(u.uncommitted for u in usage),
                unshared=sum(u.unshared for u in usage),
                timestamp=storage.timestamp,
            ),
            quickStats=vim.vm.Summary.QuickStats(
                overallCpuUsage=35 if running else 0,
                guestMemoryUsage=definition.memory_mb // 8 if running else 0,
                hostMemoryUsage=definition.memory_mb // 2 if running else 0,
            ),
        )
    )


def guest(vm: VM) -> Any:
    """GuestInfo as VMware Tools report it: nothing but the configured system when they do not run."""
    running = vm.tools_running
    tools = {"running": "toolsOk", "notRunning": "toolsNotRunning", "notInstalled": "toolsNotInstalled"}[vm.tools]
    name = vm.definition
    return vim.vm.GuestInfo(
        toolsStatus=tools if running or vm.tools == "notInstalled" else "toolsNotRunning",
        toolsRunningStatus="guestToolsRunning" if running else "guestToolsNotRunning",
        toolsVersionStatus2="guestToolsNotInstalled" if vm.tools == "notInstalled" else "guestToolsUnmanaged",
        toolsVersion="12352" if vm.tools != "notInstalled" else "0",
        guestState="running" if running else "notRunning",
        guestId=name.guest_id if running else None,
        guestFamily="linuxGuest" if running else None,
        guestFullName=name.guest_name if running else None,
        hostName=vm.hostname if running else None,
        ipAddress=vm.addresses[0] if running and vm.addresses else None,
        net=[_guest_nic(vm, number) for number in range(len(name.nics))] if running else [],
        guestOperationsReady=running,
        interactiveGuestOperationsReady=False,
        guestStateChangeSupported=running,
    )


def _guest_nic(vm: VM, number: int) -> Any:
    nic = vm.definition.nics[number]
    addresses = vm.addresses if number == 0 else []
    return vim.vm.GuestInfo.NicInfo(
        network=nic.network_name,
        ipAddress=addresses,
        macAddress=nic.mac,
        connected=True,
        deviceConfigId=nic.key,
        ipConfig=vim.net.IpConfigInfo(
            ipAddress=[
                vim.net.IpConfigInfo.IpAddress(ipAddress=a, prefixLength=24, state="preferred") for a in addresses
            ]
        ),
    )


def capability(vm: VM) -> Any:
    plain = not vm.definition.fault_tolerant
    return wire.fill(
        vim.vm.Capability(
            snapshotOperationsSupported=plain,
            multipleSnapshotsSupported=plain,
            poweredOffSnapshotsSupported=plain,
            memorySnapshotsSupported=plain,
            revertToSnapshotSupported=plain,
            quiescedSnapshotsSupported=plain,
            changeTrackingSupported=vm.definition.hardware_version >= 7,
        )
    )


def snapshot_info(vm: VM) -> Any:
    if not vm.snapshots:
        return None
    return vim.vm.SnapshotInfo(
        currentSnapshot=vm.current.ref if vm.current else None,
        rootSnapshotList=[s.tree() for s in vm.snapshots if s.parent is None],
    )


def disabled_methods(vm: VM) -> list[str]:
    """What the VM's state forbids; an export lease also forbids power operations, migration and deletion."""
    if vm.definition.template:
        state = ["PowerOnVM_Task", "ReconfigVM_Task", "CreateSnapshot_Task", *STOPPED_METHODS[:-1]]
    else:
        state = RUNNING_METHODS if vm.power == "poweredOn" else STOPPED_METHODS
    return sorted({*state, *(HELD_METHODS if vm.holds else ())})

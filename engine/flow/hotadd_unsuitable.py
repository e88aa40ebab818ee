"""What can't be attached to the proxy, told before anything is touched: the reason, and the mode that would work."""

from collections.abc import Iterable

from engine.errors import TransportError
from engine.vsphere.datastores import references
from engine.vsphere.disks import Disk
from engine.vsphere.hotadd import ProxyVm, free_unit
from engine.vsphere.inventory import VirtualMachine
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME

_INSTEAD = "It can be over nbdssl or nbd."


def check(session: Session, proxy: ProxyVm, vm: VirtualMachine, disks: Iterable[Disk]) -> None:
    """TransportError with the first reason why these disks of the VM can't be attached to the proxy."""
    check_vm(proxy, vm)
    check_proxy(proxy)
    stores = references(session, vm.moref)
    for disk in disks:
        check_disk(proxy, disk, stores.get(disk.datastore))


def check_proxy(proxy: ProxyVm) -> None:
    """TransportError when no disk at all can be attached to it."""
    vm = proxy.vm
    uuids = next((value for key, value in proxy.options.items() if key.lower() == "disk.enableuuid"), "")
    reasons = (
        (
            uuids.upper() != "TRUE",
            "disk.EnableUUID is not TRUE, so that its devices can't be told apart",
            "Power it off, set disk.EnableUUID to TRUE in its configuration parameters, and power it on.",
        ),
        (
            any(snapshot.name == SNAPSHOT_NAME for snapshot in vm.snapshots),
            f"it is being backed up itself: it has a snapshot {SNAPSHOT_NAME}",
            "Wait until its own backup has ended; vcb reconcile tells what a dead one left.",
        ),
        (bool(vm.snapshots), "it has snapshots of its own", "Remove them: disks come and go between them."),
        (
            vm.cbt,
            "changed block tracking is on for it, and would write beside production's disks",
            "Power it off, set changeTrackingEnabled to false, and power it on.",
        ),
    )
    for holds, reason, hint in reasons:
        if holds:
            raise TransportError(f"hotadd can't use the proxy's VM {vm.name}: {reason}.", hint=hint)
    free_unit(proxy)


def check_vm(proxy: ProxyVm, vm: VirtualMachine) -> None:
    """TransportError when no disk of this VM can be attached to the proxy."""
    reason = ""
    if vm.moref == proxy.vm.moref:
        reason = "it is the proxy itself, whose disks can't be attached to it twice"
    elif vm.datacenter != proxy.vm.datacenter:
        reason = f"it is in the datacenter {vm.datacenter}, the proxy {proxy.vm.name} in {proxy.vm.datacenter}"
    elif vm.encrypted and not proxy.vm.encrypted:
        reason = f"it is encrypted, and the proxy {proxy.vm.name} is not"
    if reason:
        hint = "It can be over nbdssl." if vm.encrypted else _INSTEAD
        raise TransportError(f"{vm.name} can't be read over hotadd: {reason}.", hint=hint)


def check_disk(proxy: ProxyVm, disk: Disk, datastore: Ref | None) -> None:
    """TransportError when this disk can't be attached; `datastore` is where it lies, None when vCenter does not say."""
    reason = ""
    if not disk.name.startswith("scsi"):
        reason = "only disks of SCSI controllers can be attached"
    elif disk.backing.startswith("rdm"):
        reason = "a raw device mapping is no file that could be attached"
    elif datastore is None or datastore not in proxy.datastores:
        reason = f"{proxy.vm.host}, the host of the proxy {proxy.vm.name}, does not see its datastore"
    if reason:
        raise TransportError(f"{disk.name} ({disk.file}) can't be read over hotadd: {reason}.", hint=_INSTEAD)

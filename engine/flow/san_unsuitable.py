"""What can't be read over san, told before anything is touched: the reason, and the mode that would work."""

from engine.errors import TransportError
from engine.transport.san.nfs_mount import Export, look_up
from engine.vsphere.datastores import Datastore
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine

_KINDS = {
    "vsan": "vSAN keeps disks as objects on the hosts' own disks, not on a LUN",
    "VVOL": "a vVol is no VMFS LUN, and is not presented to other computers",
}
_BACKINGS = {
    "rdm-virtual": "a raw device mapping's bytes are not on its datastore",
    "rdm-physical": "a raw device mapping's bytes are not on its datastore",
    "sparse": "its file is a sparse delta, not a flat disk",
    "sesparse": "its file is a delta (SEsparse), not a flat disk",
}


def is_nfs(datastore: Datastore) -> bool:
    return datastore.kind.upper() in ("NFS", "NFS41")


def export_of(datastore: Datastore) -> Export:
    return Export(datastore.name, datastore.remote_hosts, datastore.remote_path)


def refuse(vm: VirtualMachine, disk: Disk, datastore: Datastore | None) -> None:
    """TransportError when `san` can't read this disk; None for a datastore that vCenter did not list."""
    reason = _reason(vm, disk, datastore)
    if reason:
        instead = "nbdssl (hotadd needs a proxy that is encrypted too)" if vm.encrypted else "nbdssl, nbd or hotadd"
        raise TransportError(
            f"{disk.name} ({disk.file}) can't be read over san: {reason}.", hint=f"It can be over {instead}."
        )


def _reason(vm: VirtualMachine, disk: Disk, datastore: Datastore | None) -> str:
    if datastore is None:
        return f"vCenter does not list the datastore {disk.datastore} with the VM"
    nfs = is_nfs(datastore)
    if datastore.kind.upper() != "VMFS" and not nfs:
        return _KINDS.get(datastore.kind, f"its datastore is of kind {datastore.kind}")
    if vm.encrypted:
        return f"the VM is encrypted, and {'its file' if nfs else 'the LUN'} holds only ciphertext"
    if disk.backing in _BACKINGS:
        return _BACKINGS[disk.backing]
    if disk.delta:
        return "its file is a delta above another disk (the VM has a snapshot of its own), not a flat disk"
    return look_up(export_of(datastore))[1] if nfs else ""

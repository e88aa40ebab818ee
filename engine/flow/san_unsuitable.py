"""What can't be read from a LUN, told before anything is touched: the reason, and the mode that would work."""

from engine.errors import TransportError
from engine.vsphere.datastores import Datastore
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine

_KINDS = {
    "NFS": "an NFS datastore has no LUN",
    "NFS41": "an NFS datastore has no LUN",
    "vsan": "vSAN keeps disks as objects on the hosts' own disks, not on a LUN",
    "VVOL": "a vVol is no VMFS LUN, and is not presented to other computers",
}
_BACKINGS = {
    "rdm-virtual": "a raw device mapping's bytes are not on its datastore",
    "rdm-physical": "a raw device mapping's bytes are not on its datastore",
    "sparse": "its file is a sparse delta, not a flat disk",
    "sesparse": "its file is a delta (SEsparse), not a flat disk",
}


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
    if datastore.kind.upper() != "VMFS":
        return _KINDS.get(datastore.kind, f"its datastore is of kind {datastore.kind}")
    if vm.encrypted:
        return "the VM is encrypted, and the LUN holds only ciphertext"
    if disk.backing in _BACKINGS:
        return _BACKINGS[disk.backing]
    if disk.delta:
        return "its file is a delta above another disk (the VM has a snapshot of its own), not a flat disk"
    return ""

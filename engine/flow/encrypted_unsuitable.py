"""What an encrypted VM's disks can't be carried by, told before anything is touched. `san` and `hotadd` have their own
reasons (san_unsuitable, hotadd_unsuitable).

VMware's own rules: no OVF export of an encrypted VM (vSphere Security, "Virtual Machine Encryption Interoperability"),
which an export lease is; over the network NBDSSL alone (VDDK programming guide).
"""

from engine.errors import TransportError
from engine.vsphere.inventory import VirtualMachine

_REASONS = {
    "nbd": "the host decrypts what it sends, and over nbd it would cross the network in the clear",
    "https": "vSphere exports no encrypted VM",
}


def refuse(vm: VirtualMachine, mode: str) -> None:
    """TransportError when the VM is encrypted and the mode can't carry it."""
    if vm.encrypted and (reason := _REASONS.get(mode)):
        raise TransportError(
            f"{vm.name} can't be read over {mode}: it is encrypted, and {reason}.",
            hint="It can be over nbdssl, or over hotadd by a proxy that is encrypted too.",
        )

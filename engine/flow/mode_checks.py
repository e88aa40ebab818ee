"""Whether a transport mode could carry a VM as it is now, as far as that can be known without a snapshot."""

from dataclasses import replace

from engine.config.options import Settings
from engine.errors import TransportError
from engine.flow import encrypted_unsuitable, hotadd_unsuitable, san_unsuitable
from engine.flow.attachments import own_vm
from engine.flow.san_trust import SanTrusts
from engine.state_directory import StateDirectory
from engine.transport.san.lun_lookup import device_of
from engine.vsphere.datastores import datastores_of
from engine.vsphere.hotadd import read_proxy
from engine.vsphere.inventory import VirtualMachine
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME


def hindrance(session: Session, settings: Settings, state: StateDirectory, vm: VirtualMachine, mode: str) -> str:
    """Why the mode can't carry the VM's disks; "" when nothing is known against it. Privileges are another matter."""
    try:
        encrypted_unsuitable.refuse(vm, mode)
        if mode == "san":
            _san(session, settings, state, vm)
        elif mode == "hotadd":
            proxy = read_proxy(session, own_vm(session, settings))
            hotadd_unsuitable.check(session, proxy, vm, [disk for disk in vm.disks if disk.skip is None])
    except TransportError as error:
        return error.sentence.removesuffix(".")
    return ""


def _san(session: Session, settings: Settings, state: StateDirectory, vm: VirtualMachine) -> None:
    datastores = datastores_of(session, vm.moref)
    foreign = any(snapshot.name != SNAPSHOT_NAME for snapshot in vm.snapshots)
    for disk in vm.disks:
        if disk.skip is not None:
            continue
        datastore = datastores.get(disk.datastore)
        san_unsuitable.refuse(vm, replace(disk, delta=disk.delta and foreign), datastore)
        assert datastore is not None
        for name, _ in datastore.extents:
            device_of(name, settings.SAN_DEVICES)
        if mismatch := SanTrusts(state).of(datastore.uuid, datastore.name).mismatch:
            raise TransportError(f"san is disabled for {datastore.name}: {mismatch}")

"""ReconfigVM_Task: settings, new disks, hot-add of another VM's frozen disk, removal, growth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from engine.lab import hardware
from engine.lab.definition import Controller, Definition, DiskSlot
from engine.lab.disks import Borrowed, Disk, Place
from engine.lab.layers import Layer, Pin

if TYPE_CHECKING:
    from engine.lab.vm import VM

VirtualDisk = vim.vm.device.VirtualDisk
HIGHEST_SCSI_KEY = 1003
PROVISIONING = {True: "thin", False: "lazy", None: "lazy"}
PLAIN_SETTINGS = {  # member of ConfigSpec -> (member of Definition, privilege)
    "name": ("name", "VirtualMachine.Config.Rename"),
    "annotation": ("annotation", "VirtualMachine.Config.Annotation"),
    "guestId": ("guest_id", "VirtualMachine.Config.Settings"),
    "firmware": ("firmware", "VirtualMachine.Config.Settings"),
    "version": ("version", "VirtualMachine.Config.UpgradeVirtualHardware"),
    "memoryMB": ("memory_mb", "VirtualMachine.Config.Memory"),
    "numCPUs": ("cpus", "VirtualMachine.Config.CPUCount"),
    "changeTrackingEnabled": ("change_tracking", "VirtualMachine.Config.ChangeTracking"),
}


def privileges(spec: Any) -> list[str]:
    """What a ConfigSpec needs, by its changes (the method itself declares none)."""
    needed = {privilege for member, (_, privilege) in PLAIN_SETTINGS.items() if getattr(spec, member) is not None}
    if spec.extraConfig:
        needed.add("VirtualMachine.Config.AdvancedConfig")
    for change in spec.deviceChange or ():
        needed.add(_device_privilege(change))
    return sorted(needed)


def _device_privilege(change: Any) -> str:
    if not isinstance(change.device, VirtualDisk):
        return (
            "VirtualMachine.Config.AddRemoveDevice"
            if change.operation != "edit"
            else "VirtualMachine.Config.EditDevice"
        )
    if change.operation == "remove":
        return "VirtualMachine.Config.RemoveDisk"
    if change.operation == "edit":
        return "VirtualMachine.Config.DiskExtend"
    return "VirtualMachine.Config.AddNewDisk" if change.fileOperation else "VirtualMachine.Config.AddExistingDisk"


def apply(vm: VM, spec: Any) -> None:
    """Carry out a ConfigSpec. All or nothing, except that files once destroyed are gone."""
    with vm.lab.cond:
        before, store, loose = vm.definition.copy(), dict(vm.store), dict(vm.lab.loose_disks)
        keys: dict[int, int] = {}  # temporary (negative) device keys of this spec -> real ones
        try:
            for change in spec.deviceChange or ():
                _change_device(vm, change, keys)
            _set_options(vm, spec)
        except BaseException:
            added = [disk for identity, disk in vm.store.items() if identity not in store]
            vm.definition, vm.store = before, store
            vm.lab.loose_disks = loose
            for disk in added:
                if disk not in loose.values():
                    _discard(disk)
            raise
        if spec.changeTrackingEnabled is not None and vm.power == "poweredOff":
            vm.stun()
        vm.drop_unused_disks()
        vm.refresh_guest()
    vm.lab.guest_devices.refresh(vm)
    vm.updated("name", "config", "summary", "layoutEx", "layout", "storage", "datastore")


def _discard(disk: Disk) -> None:
    if disk.borrowed is not None:
        disk.borrowed.pin.drop()
    disk.destroy()


def _set_options(vm: VM, spec: Any) -> None:
    if spec.name == "":
        raise vim.fault.InvalidName(name="", msg="The name '' is invalid.")
    if spec.name is not None and _name_taken(vm, spec.name):
        raise vim.fault.DuplicateName(name=spec.name, object=vm.ref, msg=f"The name '{spec.name}' already exists.")
    if spec.changeTrackingEnabled and vm.definition.hardware_version < 7:
        raise vmodl.fault.NotSupported(msg="Change tracking needs hardware version 7.")
    for member, (name, _) in PLAIN_SETTINGS.items():
        value = getattr(spec, member)
        if value is not None:
            setattr(vm.definition, name, value)
    for option in spec.extraConfig or ():
        if option.value in (None, ""):
            vm.definition.extra.pop(option.key, None)
        else:
            vm.definition.extra[option.key] = str(option.value)


def _name_taken(vm: VM, name: str) -> bool:
    siblings = vm.lab.parent_of(vm).children()
    return any(sibling is not vm and sibling.props["name"] == name for sibling in siblings)


def _change_device(vm: VM, change: Any, keys: dict[int, int]) -> None:
    device, operation = change.device, change.operation
    if isinstance(device, VirtualDisk):
        actions: dict[str, Callable[[VM, Any, dict[int, int]], None]] = {
            "add": _add_disk, "remove": _remove_disk, "edit": _edit_disk
        }  # fmt: skip
        actions[operation](vm, change, keys)
    elif isinstance(device, vim.vm.device.VirtualSCSIController):
        _change_controller(vm, change, keys)
    elif isinstance(device, vim.vm.device.VirtualEthernetCard) and operation == "add":
        wished = device.connectable
        vm.add_nic(
            _network(vm, device), device.macAddress, connected=wished is None or wished.startConnected is not False
        )
    elif isinstance(device, vim.vm.device.VirtualEthernetCard) and operation == "remove":
        vm.definition.nics = [nic for nic in vm.definition.nics if nic.key != device.key]


def _network(vm: VM, card: Any) -> Any:
    backing = card.backing
    reference = getattr(backing, "network", None)
    if reference is not None:
        return vm.lab.find(reference)
    name = getattr(backing, "deviceName", "")
    found = next((n for n in vm.lab.all_of(vim.Network) if n.props["name"] == name), None)
    if found is None:
        raise _bad_device("backing", f"no network is called {name!r}")
    return found


def _change_controller(vm: VM, change: Any, keys: dict[int, int]) -> None:
    definition, device = vm.definition, change.device
    if change.operation == "remove":
        gone = definition.controller(device.key)
        if gone is None:
            raise _bad_device("device.key", f"no controller has the key {device.key}")
        for slot in [s for s in definition.disks if s.controller == gone.key]:
            definition.disks.remove(slot)  # with the controller go its disks; their files stay
        definition.controllers.remove(gone)
    elif change.operation == "add":
        kind = hardware.controller_kind(device)
        if kind is None:
            raise _bad_device("device", f"the lab has no {type(device).__name__}")
        used = {c.bus for c in definition.controllers}
        bus = device.busNumber if device.busNumber is not None and device.busNumber not in used else None
        try:
            made = definition.add_controller(kind, device.sharedBus or "noSharing", bus)
        except ValueError as error:
            raise _bad_device("device.busNumber", str(error)) from error
        keys[device.key] = made.key


def _bad_device(member: str, why: str) -> Exception:
    return vim.fault.InvalidDeviceSpec(
        deviceIndex=0, property=member, msg=f"Invalid configuration for device '0': {why}."
    )


# -- adding disks
def _add_disk(vm: VM, change: Any, keys: dict[int, int]) -> None:
    device = change.device
    controller = _controller_for(vm.definition, device, keys)
    disk = _new_disk(vm, device) if change.fileOperation else _existing_disk(vm, device)
    vm.store[disk.id] = disk
    mode = device.backing.diskMode or "persistent"
    sharing = getattr(device.backing, "sharing", None) or "sharingNone"
    try:
        vm.definition.add_disk(disk.id, controller=controller, unit=device.unitNumber, mode=mode, sharing=sharing)
    except ValueError as error:
        raise _bad_device("device.unitNumber", str(error)) from error


def _controller_for(definition: Definition, device: Any, keys: dict[int, int]) -> Controller | None:
    key: int | None = device.controllerKey
    if key is None:
        return None
    found = definition.controller(keys.get(key, key))
    if found is not None:
        return found
    if 1000 <= key <= HIGHEST_SCSI_KEY and not definition.controllers:
        return definition.add_controller(bus=key - 1000)
    raise _bad_device("device.controllerKey", f"no controller has the key {key}")


def _new_disk(vm: VM, device: Any) -> Disk:
    backing = device.backing
    capacity = device.capacityInBytes or (device.capacityInKB or 0) * 1024
    if capacity <= 0:
        raise _bad_device("device.capacityInKB", "a new disk needs a capacity")
    place, name = _place(vm, backing.fileName or "")
    eager, thin = getattr(backing, "eagerlyScrub", None), getattr(backing, "thinProvisioned", None)
    kind = "flat"
    if isinstance(backing, hardware.RdmBacking):
        kind = "rdm-physical" if backing.compatibilityMode == "physicalMode" else "rdm-virtual"
    if find_disk(vm.lab, place.file(f"{name}.vmdk")) is not None:
        raise vim.fault.FileAlreadyExists(file=place.file(f"{name}.vmdk"), msg="The file already exists.")
    return Disk(place, name, capacity, kind=kind, provisioning="eager" if eager else PROVISIONING[thin])


def _place(vm: VM, file_name: str) -> tuple[Place, str]:
    """Directory and stem for a new disk: as named, or the next free name in the VM's own directory."""
    store_name, _, relative = file_name.removeprefix("[").partition("]")
    datastore = vm.home.datastore
    if store_name:
        datastore = next((d for d in vm.lab.all_of(vim.Datastore) if d.props["name"] == store_name), None)
        if datastore is None:
            raise vim.fault.InvalidDatastorePath(datastorePath=file_name, msg=f"Invalid datastore path '{file_name}'.")
    directory, _, name = relative.strip().rpartition("/")
    if name:
        return Place(datastore, directory or vm.home.directory), name.removesuffix(".vmdk")
    taken = {disk.name for disk in vm.store.values()}
    stems = (vm.stem if n == 0 else f"{vm.stem}_{n}" for n in range(1 << 16))
    return Place(datastore, vm.home.directory), next(stem for stem in stems if stem not in taken)


def _existing_disk(vm: VM, device: Any) -> Disk:
    """A disk file that exists: one that no VM has, or another VM's, read through a redo log of our own."""
    name, mode = device.backing.fileName, device.backing.diskMode
    loose = vm.lab.loose_disks.pop(name, None)
    if loose is not None:
        return loose
    found = find_disk(vm.lab, name)
    if found is None:
        raise vim.fault.FileNotFound(file=name, msg=f"File {name} was not found")
    owner, disk, level = found
    written = level is disk.top and (owner is vm or owner.power != "poweredOff")
    if written or mode != "independent_nonpersistent":
        raise vim.fault.FileLocked(file=name, msg=f"Unable to access file {name} since it is locked")
    return borrow(vm, disk, level)


def borrow(vm: VM, disk: Disk, level: Layer) -> Disk:
    """A disk that shows another VM's frozen image; what our guest writes goes to a redo log beside it."""
    pin = Pin(level, "attach", vm.name)
    taken = {d.name for d in vm.store.values()}
    name = next(n for i in range(1 << 16) if (n := f"{disk.name}-REDO_{vm.id}_{i}") not in taken)
    try:
        return Disk(vm.home, name, disk.capacity, provisioning=disk.provisioning, borrowed=Borrowed(disk, pin))
    except BaseException:
        pin.drop()
        raise


def find_disk(lab: Any, file: str) -> tuple[VM, Disk, Layer] | None:
    """The registered VM, disk and layer of `[datastore] directory/name.vmdk` (or of its extent file)."""
    _, _, relative = file.partition("] ")
    for vm in lab.all_of(vim.VirtualMachine):
        for disk in list(vm.store.values()):
            if disk.borrowed is None and not disk.dead and disk.place.file(relative.rpartition("/")[2]) == file:
                level = disk.level_of(relative.rpartition("/")[2])
                if level is not None:
                    return vm, disk, level
    return None


# -- removing and growing disks
def _slot(vm: VM, device: Any) -> DiskSlot:
    slot = vm.definition.slot(device.key)
    if slot is None:
        raise _bad_device("device.key", f"no disk has the key {device.key}")
    return slot


def _remove_disk(vm: VM, change: Any, keys: dict[int, int]) -> None:
    """Take a disk out. With fileOperation destroy its files go, too: also those of the VM it was borrowed from."""
    slot = _slot(vm, change.device)
    disk = vm.store[slot.disk]
    lent = [pin for pin in disk.top.pins if pin.kind == "attach"]
    if change.fileOperation == "destroy":
        if lent:
            raise vim.fault.FileLocked(file=disk.file(), msg=f"Unable to access file {disk.file()} since it is locked")
        if disk.borrowed is not None:
            disk.borrowed.disk.destroy()
        elif not any(s.disk == disk.id for snapshot in vm.snapshots for s in snapshot.definition.disks):
            disk.destroy()  # a snapshot that needs the files keeps them
    vm.definition.disks.remove(slot)


def _edit_disk(vm: VM, change: Any, keys: dict[int, int]) -> None:
    device = change.device
    slot = _slot(vm, device)
    disk = vm.store[slot.disk]
    capacity = device.capacityInBytes or (device.capacityInKB or 0) * 1024 or disk.capacity
    if capacity < disk.capacity:
        raise _bad_device("device.capacityInKB", "a disk cannot shrink")
    if capacity > disk.capacity:
        if disk.borrowed is not None or disk.top.parent is not None:
            raise vim.fault.InvalidDeviceOperation(
                deviceIndex=0, badOp="edit", msg="The disk cannot be extended while it has snapshots."
            )
        disk.resize(capacity)
    mode = getattr(device.backing, "diskMode", None)
    if mode is not None and mode != slot.mode:
        if vm.snapshots or vm.power != "poweredOff":
            raise vim.fault.InvalidDeviceOperation(
                deviceIndex=0, badOp="edit", msg="The mode of a disk is changed without snapshots, powered off."
            )
        slot.mode = mode

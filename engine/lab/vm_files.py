"""A VM's files: what layoutEx reports, and their making on the datastore when somebody looks at the directory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

if TYPE_CHECKING:
    from engine.lab.disks import Disk
    from engine.lab.layers import Layer
    from engine.lab.vm import VM

Layout = vim.vm.FileLayoutEx
EXTENTS = {"flat": "VMFS", "rdm-virtual": "VMFSRDM", "rdm-physical": "VMFSRDM"}
TYPES = {"flat": "vmfs", "rdm-virtual": "vmfsRawDeviceMap", "rdm-physical": "vmfsPassthroughRawDeviceMap"}
NVRAM_BYTES = 8684


def descriptor(disk: Disk, layer: Layer) -> str:
    """The text of one layer's .vmdk: a VMDK descriptor as ESXi writes it, for the base and for deltas."""
    sectors = disk.capacity // 512
    parent = layer.parent
    kind, extent = ("vmfsSparse", "VMFSSPARSE") if parent else (TYPES[disk.kind], EXTENTS[disk.kind])
    hint = f'parentFileNameHint="{disk.descriptor_name(parent)}"\n' if parent else ""
    database = "" if parent else (
        f'ddb.adapterType = "lsilogic"\nddb.geometry.cylinders = "{max(1, sectors // 16065)}"\n'
        'ddb.geometry.heads = "255"\nddb.geometry.sectors = "63"\n'
        + ('ddb.thinProvisioned = "1"\n' if disk.provisioning == "thin" else "")
        + f'ddb.uuid = "{disk.uuid}"\nddb.virtualHWVersion = "21"\n'
    )  # fmt: skip
    return (
        f'# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID={layer.cid}\n'
        f'parentCID={parent.cid if parent else "ffffffff"}\ncreateType="{kind}"\n{hint}\n'
        f'# Extent description\nRW {sectors} {extent} "{layer.path.name}"\n\n# The Disk Data Base\n#DDB\n\n{database}'
    )


def vmx(vm: VM) -> str:
    """The text of the VM's configuration file."""
    definition = vm.definition
    lines = {
        "config.version": "8",
        "virtualHW.version": str(definition.hardware_version),
        "displayName": definition.name,
        "annotation": definition.annotation.replace("\n", "|0A"),
        "guestOS": definition.guest_id.removesuffix("Guest"),
        "firmware": definition.firmware,
        "memSize": str(definition.memory_mb),
        "numvcpus": str(definition.cpus),
        "uuid.bios": vm.uuid,
        "vc.uuid": vm.instance_uuid,
        "nvram": f"{vm.stem}.nvram",
        "changeTrackingEnabled": str(definition.change_tracking).upper(),
    }
    for controller in definition.controllers:
        lines |= {f"scsi{controller.bus}.present": "TRUE", f"scsi{controller.bus}.virtualDev": controller.kind}
    for slot in definition.disks:
        bus = slot.controller - 1000
        lines |= {
            f"scsi{bus}:{slot.unit}.fileName": vm.store[slot.disk].file().rpartition("/")[2],
            f"scsi{bus}:{slot.unit}.mode": slot.mode,
            f"scsi{bus}:{slot.unit}.present": "TRUE",
        }
    for number, nic in enumerate(definition.nics):
        lines |= {f"ethernet{number}.networkName": nic.network_name, f"ethernet{number}.generatedAddress": nic.mac}
    lines |= definition.extra
    quoted = {key: value.replace('"', "|22").replace("\n", "|0A") for key, value in lines.items()}
    return '.encoding = "UTF-8"\n' + "".join(f'{key} = "{value}"\n' for key, value in quoted.items())


def make_files(vm: VM) -> None:
    """Write the VM's files: descriptors, .vmx, .nvram, .vmsd, and disks that were never written.

    A VM without contents has no files until this is called (a datastore browser, `/folder`, an export)."""
    vm.home.path.mkdir(parents=True, exist_ok=True)
    (vm.home.path / f"{vm.stem}.vmx").write_text(vmx(vm), "utf-8")
    nvram = vm.home.path / f"{vm.stem}.nvram"
    if not nvram.exists():
        nvram.write_bytes(b"MRVN" + vm.uuid.encode("ascii") + bytes(NVRAM_BYTES - 40))
    (vm.home.path / f"{vm.stem}.vmsd").write_text('.encoding = "UTF-8"\n', "utf-8")
    for disk in _own_disks(vm):
        with disk.lock:
            disk.place.path.mkdir(parents=True, exist_ok=True)
            for layer in disk.layers:
                layer.create()
                (disk.place.path / disk.descriptor_name(layer)).write_text(descriptor(disk, layer), "utf-8")


def _own_disks(vm: VM) -> list[Disk]:
    return [disk for disk in vm.store.values() if disk.borrowed is None and not disk.dead]


class _Files:
    """Numbers the files of a layoutEx."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def add(self, name: str, kind: str, size: int, unique: int | None = None) -> int:
        key = len(self.entries)
        self.entries.append(
            Layout.FileInfo(
                key=key, name=name, type=kind, size=size, uniqueSize=size if unique is None else unique, accessible=True
            )
        )
        return key


def layout_ex(vm: VM) -> Any:
    """`layoutEx`: every file with its size; an extent's size is what it occupies on the datastore, as on VMFS."""
    files = _Files()
    files.add(vm.home.file(f"{vm.stem}.vmx"), "config", len(vmx(vm)))
    files.add(vm.home.file(f"{vm.stem}.nvram"), "nvram", NVRAM_BYTES)
    files.add(vm.home.file(f"{vm.stem}.vmsd"), "snapshotList", 512)
    keys: dict[Layer, list[int]] = {}
    for disk in _own_disks(vm):
        with disk.lock:
            for layer in disk.layers:
                keys[layer] = _layer_files(files, disk, layer)
    snapshots = []
    for snapshot in vm.snapshots:
        data = files.add(vm.home.file(f"{vm.stem}-Snapshot{snapshot.number}.vmsn"), "snapshotData", 28_000)
        disks = [_disk_layout(slot.key, vm.store[slot.disk], snapshot.levels.get(slot.key), keys)
                 for slot in snapshot.definition.disks if slot.disk in vm.store]  # fmt: skip
        snapshots.append(Layout.SnapshotLayout(key=snapshot.ref, dataKey=data, memoryKey=-1, disk=disks))
    disks = [_disk_layout(slot.key, vm.store[slot.disk], None, keys) for slot in vm.definition.disks]
    return Layout(file=files.entries, disk=disks, snapshot=snapshots, timestamp=vm.now())


def _layer_files(files: _Files, disk: Disk, layer: Layer) -> list[int]:
    text = files.add(disk.file(layer), "diskDescriptor", len(descriptor(disk, layer)))
    occupied = disk.bytes_allocated(layer)
    return [text, files.add(disk.place.file(layer.path.name), "diskExtent", occupied, occupied)]


def _disk_layout(key: int, disk: Disk, level: Layer | None, keys: dict[Layer, list[int]]) -> Any:
    chain = [Layout.DiskUnit(fileKey=keys[layer]) for layer in reversed(disk.chain(level)) if layer in keys]
    return Layout.DiskLayout(key=key, chain=chain)


def storage(vm: VM) -> Any:
    """`storage`: bytes per datastore, committed and (of thin disks) not yet."""
    committed: dict[Any, int] = {vm.home.datastore.ref: NVRAM_BYTES + 4096}
    uncommitted: dict[Any, int] = {}
    for disk in _own_disks(vm):
        store, used = disk.place.datastore.ref, sum(disk.bytes_allocated(layer) for layer in list(disk.layers))
        committed[store] = committed.get(store, 0) + used
        uncommitted[store] = uncommitted.get(store, 0) + max(0, disk.capacity - used)
    usage = [
        vim.vm.StorageInfo.UsageOnDatastore(
            datastore=store, committed=count, uncommitted=uncommitted.get(store, 0), unshared=count
        )
        for store, count in committed.items()
    ]
    return vim.vm.StorageInfo(perDatastoreUsage=usage, timestamp=vm.now())


def layout(vm: VM) -> Any:
    """`layout`: the older, shorter list of files."""
    disks: Iterable[Any] = (
        vim.vm.FileLayout.DiskLayout(
            key=slot.key, diskFile=[vm.store[slot.disk].file(layer) for layer in vm.store[slot.disk].chain()]
        )
        for slot in vm.definition.disks
        if vm.store[slot.disk].borrowed is None
    )
    return vim.vm.FileLayout(configFile=[f"{vm.stem}.vmx", f"{vm.stem}.nvram", f"{vm.stem}.vmsd"], disk=list(disks))

"""The saved state of a lab's VMs: one JSON document per VM, replaced atomically whenever its structure changes.

Guest writes are not journalled. What a delta holds is saved when the lab is closed, and found again by SEEK_DATA when
it was killed; changed-block tracking then starts anew, as ESXi's does after a crash of the host.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from engine.lab import snapshots as trees
from engine.lab.bitmap import BlockMap
from engine.lab.definition import Definition
from engine.lab.disks import Borrowed, Disk, Place
from engine.lab.layers import Layer, Pin
from engine.lab.reconfigure import find_disk
from engine.lab.snapshots import Snapshot
from engine.lab.tracking import ChangeTracking
from engine.lab.vm import VM

if TYPE_CHECKING:
    from engine.lab.vsphere import VSphere

FORMAT = 1
CLEAN = "clean"  # exists while nothing has changed since a regular end


class Persistence:
    """Saves and loads the VMs of one lab in `directory`. `saving` False: changes are not written (while seeding)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.saving = True
        self.highest = {"vm": 0, "snapshot": 0}
        self._saved: dict[str, bytes] = {}  # what each VM's document holds, not to write the same again
        self._looks = itertools.count(1)
        self._newest: dict[str, int] = {}  # the look at each VM that was written last
        self._writing = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def exists(self) -> bool:
        return any(self.directory.glob("vm-*.json"))

    # -- saving
    def save(self, vm: VM, *, maps: bool = False, durable: bool = True) -> None:
        """maps: also what deltas and change tracking hold, which is only right when nothing is written afterwards."""
        if not self.saving:
            return
        for mo in (vm, *vm.snapshots):
            self._count(mo.id)
        with vm.lab.cond:
            look = next(self._looks)
            document = {"format": FORMAT, "highest": self.highest, **_vm_to_json(vm, maps=maps)}
        data = json.dumps(document).encode()
        with self._writing:  # the thread of a task and whoever ends the lab may both save one VM
            if look < self._newest.get(vm.id, 0):
                return
            self._newest[vm.id] = look
            if self._saved.get(vm.id) != data:
                replace_file(self.directory / f"{vm.id}.json", data, durable=durable)
                self._saved[vm.id] = data

    def _count(self, moid: str) -> None:
        prefix, _, number = moid.rpartition("-")
        self.highest[prefix] = max(self.highest.get(prefix, 0), int(number))

    def forget(self, vm: VM) -> None:
        (self.directory / f"{vm.id}.json").unlink(missing_ok=True)
        self._saved.pop(vm.id, None)

    def save_all(self, vms: list[VM]) -> None:
        """After seeding: everything at once, without waiting for the disk."""
        self.saving = True
        for vm in vms:
            self.save(vm, durable=False)

    def close(self, vms: list[VM]) -> None:
        """The lab ends regularly: no guest writes any more."""
        for vm in vms:
            self.save(vm, maps=True, durable=vm.on_datastore)
            for disk in vm.store.values():
                disk.close()
        replace_file(self.directory / CLEAN, b"")
        self.saving = False

    # -- loading
    def load(self, vsphere: VSphere, fill: Any) -> list[VM]:
        """Bring all VMs back, each under its moref. `fill(disk)` gives a disk its seeded contents back that were never
        written out."""
        clean = self.directory / CLEAN
        trusted = clean.exists()
        clean.unlink(missing_ok=True)
        documents = [json.loads(path.read_bytes()) for path in sorted(self.directory.glob("vm-*.json"), key=_number)]
        loader = _Loader(vsphere, trusted, fill)
        self.saving = False
        try:
            vms = [loader.vm(document) for document in documents]
            loader.attach_borrowed()
        finally:
            self.saving = True
        for document in documents:
            for prefix, number in document["highest"].items():
                self.highest[prefix] = max(self.highest.get(prefix, 0), number)
                vsphere.reserve_id(f"{prefix}-{number}")
        return vms


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Atomically: the old contents or the new, never less; durable also when the power fails."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(path)


# -- to JSON
def _vm_to_json(vm: VM, *, maps: bool) -> dict[str, Any]:
    return {
        "moid": vm.id,
        "folder": list(_folder_path(vm)),
        "datacenter": vm.lab.datacenter_of(vm).id,
        "datastore": vm.home.datastore.props["name"],
        "directory": vm.home.directory,
        "host": vm.host.id,
        "pool": vm.pool.id,
        "uuid": vm.uuid,
        "instance_uuid": vm.instance_uuid,
        "power": vm.power,
        "tools": vm.tools,
        "addresses": vm.addresses,
        "hostname": vm.hostname,
        "contents": vm.on_datastore,
        "next_snapshot": vm.next_snapshot,
        "definition": vm.definition.to_json(),
        "disks": [_disk_to_json(disk, maps=maps) for disk in vm.store.values()],
        "snapshots": [_snapshot_to_json(snapshot) for snapshot in vm.snapshots],
        "current": vm.current.id if vm.current else None,
    }


def _folder_path(vm: VM) -> Iterator[str]:
    """Names of the folders between the datacenter's VM folder and the VM."""
    names, place = [], vm.lab.parent_of(vm)
    while place is not None and issubclass(place.vim, vim.Folder):
        names.append(place.props["name"])
        place = vm.lab.parent_of(place)
    return reversed(names[:-1])


def _disk_to_json(disk: Disk, *, maps: bool) -> dict[str, Any]:
    with disk.lock:
        layers = disk.layers
        return {
            "id": disk.id,
            "name": disk.name,
            "datastore": disk.place.datastore.props["name"],
            "directory": disk.place.directory,
            "capacity": disk.capacity,
            "kind": disk.kind,
            "provisioning": disk.provisioning,
            "uuid": disk.uuid,
            "dead": disk.dead,
            "recipe": disk.recipe,
            "borrowed": disk.file() if disk.borrowed is not None else None,
            "top": layers.index(disk.top),
            "layers": [_layer_to_json(layer, layers, maps=maps) for layer in layers],
            "tracking": _tracking_to_json(disk.tracking, maps=maps) if disk.tracking else None,
        }


def _layer_to_json(layer: Layer, layers: list[Layer], *, maps: bool) -> dict[str, Any]:
    return {
        "number": layer.number,
        "cid": layer.cid,
        "parent": layers.index(layer.parent) if layer.parent is not None else None,
        "blocks": layer.blocks.to_text() if maps and layer.blocks is not None else None,
    }


def _tracking_to_json(tracking: ChangeTracking, *, maps: bool) -> dict[str, Any]:
    epochs = {number: blocks.to_text() for number, blocks in tracking.epochs.items()} if maps else {}
    return {"identity": tracking.identity, "epoch": tracking.epoch, "epochs": epochs}


def _snapshot_to_json(snapshot: Snapshot) -> dict[str, Any]:
    levels = {}
    for key, level in snapshot.levels.items():
        slot = snapshot.definition.slot(key)
        disk = snapshot.vm.store.get(slot.disk) if slot else None
        if disk is not None and level.resolve() in disk.layers:
            levels[key] = disk.layers.index(level.resolve())
    return {
        "moid": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "number": snapshot.number,
        "parent": snapshot.parent.id if snapshot.parent else None,
        "state": snapshot.state,
        "quiesced": snapshot.quiesced,
        "created": snapshot.created.isoformat(),
        "definition": snapshot.definition.to_json(),
        "levels": levels,
        "change_ids": snapshot.change_ids,
    }


# -- from JSON
class _Loader:
    def __init__(self, vsphere: VSphere, trusted: bool, fill: Any) -> None:
        self.vsphere, self.trusted, self.fill = vsphere, trusted, fill
        self.owed: list[tuple[VM, Disk, str]] = []  # borrowed disks, attached when all VMs are there

    def vm(self, data: dict[str, Any]) -> VM:
        vsphere = self.vsphere
        datacenter = vsphere.objects[data["datacenter"]]
        vm = VM(
            vsphere,
            data["definition"]["name"],
            self._folder(datacenter, data["folder"]),
            vsphere.datastore(data["datastore"], datacenter),
            vsphere.objects[data["host"]],
            vsphere.objects[data["pool"]],
            moid=data["moid"],
            definition=Definition.from_json({**data["definition"], "disks": []}),
            power=data["power"],
            tools=data["tools"],
            ip=data["addresses"],
            hostname=data["hostname"],
            directory=data["directory"],
            identity=(data["uuid"], data["instance_uuid"]),
            contents=False,
        )
        vm.next_snapshot = data["next_snapshot"]
        for saved in data["disks"]:
            disk = self._disk(vm, datacenter, saved)
            vm.store[disk.id] = disk
        vm.definition = Definition.from_json(data["definition"])
        self._snapshots(vm, data)
        vm.on_datastore = data["contents"]
        vm.refresh_guest()
        trees.show_consolidation(vm)
        vm.updated("config", "snapshot", "layoutEx", "summary")
        return vm

    def _folder(self, datacenter: Any, names: list[str]) -> Any:
        folder = datacenter.vm_folder
        for name in names:
            kinds = tuple(folder.props["childType"])
            folder = folder.child(name) or folder.add(type(folder)(self.vsphere, name, folder, kinds))
        return folder

    def _disk(self, vm: VM, datacenter: Any, data: dict[str, Any]) -> Disk:
        place = Place(self.vsphere.datastore(data["datastore"], datacenter), data["directory"])
        disk = Disk(
            place,
            data["name"],
            data["capacity"],
            kind=data["kind"],
            provisioning=data["provisioning"],
            identity=data["id"],
        )
        disk.uuid = data["uuid"]
        if data["borrowed"]:
            self.owed.append((vm, disk, data["borrowed"]))
        disk.layers = self._layers(disk, data)
        disk.top = disk.layers[data["top"]]
        disk.dead = data["dead"]
        if data["recipe"] and not disk.dead:
            self.fill(disk, data["recipe"])
        if data["tracking"] is not None:
            disk.tracking = self._tracking(data["tracking"])
        return disk

    def _layers(self, disk: Disk, data: dict[str, Any]) -> list[Layer]:
        made: list[Layer] = []
        for saved in data["layers"]:
            delta = bool(saved["number"]) or bool(data["borrowed"])
            number = saved["number"]
            path = disk.place.path / f"{disk.name}-{number:06d}-delta.vmdk" if delta else disk.path_of(0)
            storage = None if delta else disk.base_storage()
            layer = Layer(path, disk.capacity, number=number, cid=saved["cid"], storage=storage)
            if delta:
                known = self.trusted and saved["blocks"] is not None
                layer.blocks = BlockMap.from_text(saved["blocks"]) if known else BlockMap.of_bytes(layer.extents())
            made.append(layer)
        for layer, saved in zip(made, data["layers"], strict=True):
            layer.parent = made[saved["parent"]] if saved["parent"] is not None else None
        return made

    def _tracking(self, data: dict[str, Any]) -> ChangeTracking:
        if not self.trusted:
            return ChangeTracking()
        epochs = {int(number): BlockMap.from_text(text) for number, text in data["epochs"].items()}
        return ChangeTracking(data["identity"], data["epoch"], epochs)

    def _snapshots(self, vm: VM, data: dict[str, Any]) -> None:
        made: dict[str, Snapshot] = {}
        for saved in data["snapshots"]:
            snapshot = Snapshot(
                vm,
                saved["name"],
                saved["description"],
                number=saved["number"],
                parent=made.get(saved["parent"]),
                definition=Definition.from_json(saved["definition"]),
                state=saved["state"],
                quiesced=saved["quiesced"],
                created=datetime.fromisoformat(saved["created"]),
                moid=saved["moid"],
            )
            for key, index in saved["levels"].items():
                slot = snapshot.definition.slot(int(key))
                assert slot is not None
                snapshot.levels[int(key)] = vm.store[slot.disk].layers[index]
            snapshot.change_ids = {int(key): change_id for key, change_id in saved["change_ids"].items()}
            made[snapshot.id] = snapshot
            vm.snapshots.append(snapshot)
        vm.current = made.get(data["current"])

    def attach_borrowed(self) -> None:
        """Hot-added disks show their source again."""
        for vm, disk, file in self.owed:
            found = find_disk(self.vsphere, file)
            if found is not None:
                disk.borrowed = Borrowed(found[1], Pin(found[2], "attach", vm.name))

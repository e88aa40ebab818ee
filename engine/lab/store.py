"""What lies on a datastore: directories, plain files, and the extents of virtual disks with their locks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyVmomi import vim

from engine.lab.vm_files import make_files

PIECE = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file or directory. `size` is the length that a reader gets, `allocated` what it occupies (bytes).

    `disk` is the virtual disk whose descriptor or extent this is, `layer` its layer and `vm` its owner.
    """

    name: str
    path: Path
    directory: bool = False
    size: int = 0
    allocated: int = 0
    vm: Any = None
    disk: Any = None
    layer: Any = None

    @property
    def extent(self) -> bool:
        """The extent file of a disk: its data, not its descriptor."""
        return self.layer is not None and self.name == self.layer.path.name

    @property
    def locked(self) -> bool:
        """A running VM writes the top of each of its disks; what lies under a snapshot is free to read."""
        return self.extent and self.layer is self.disk.top and self.vm.value("runtime.powerState") != "poweredOff"

    def modified(self) -> datetime:
        path = self.path if self.path.exists() else self.path.parent
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """`read(offset, length)` of the file as it is on the datastore (an extent: that layer alone)."""
        if self.extent:
            layer = self.layer
            self.disk.settle()

            def read(offset: int, length: int) -> bytes:
                data = bytearray(length)
                layer.read_into(memoryview(data), offset)
                return bytes(data)

            yield read
            return
        with closing(_Descriptor(self.path)) as file:
            yield file.read


class _Descriptor:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def close(self) -> None:
        os.close(self._fd)


def resolve(store: Any, relative: str) -> Path | None:
    """The place of `relative` below the datastore's root; None for what would lie outside of it."""
    root = store.root.resolve()
    if "\0" in relative:
        return None
    path = (root / relative.strip("/")).resolve()
    return path if path == root or root in path.parents else None


def look(lab: Any, store: Any, relative: str) -> Entry | None:
    """The entry at a path below the root of the datastore, None when nothing is there."""
    path = resolve(store, relative)
    if path is None:
        return None
    if path == store.root.resolve():
        return Entry("", path, directory=True)
    return next((entry for entry in entries(lab, store, path.parent) if entry.path == path), None)


def entries(lab: Any, store: Any, directory: Path) -> list[Entry]:
    """What a directory holds, by name. The files of the VMs that live there are made now, if they never were."""
    homes = _homes(lab, store)
    found = {home.name: Entry(home.name, home, directory=True) for home in homes if home.parent == directory}
    for vm in homes.get(directory, ()):
        ensure_files(vm)
        for entry in _disk_entries(vm, store, directory):
            found[entry.name] = entry
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name in found or path.is_symlink():
            continue
        if path.is_dir():
            found[path.name] = Entry(path.name, path, directory=True)
        else:
            status = path.stat()
            found[path.name] = Entry(path.name, path, size=status.st_size, allocated=status.st_blocks * 512)
    return [found[name] for name in sorted(found)]


def ensure_files(vm: Any) -> None:
    """A VM without contents gets its files when somebody first looks for them."""
    with vm.lab.cond:
        if not vm.on_datastore:
            vm.on_datastore = True
            make_files(vm)


def _homes(lab: Any, store: Any) -> dict[Path, list[Any]]:
    """Directory -> the VMs that live or have disks in it."""
    homes: dict[Path, list[Any]] = {}
    root = store.root.resolve()  # once: a lab may have a thousand VMs
    for vm in lab.all_of(vim.VirtualMachine):
        places = {vm.home, *(disk.place for disk in list(vm.store.values()))}
        for name in {place.directory for place in places if place.datastore is store}:
            homes.setdefault(root / name, []).append(vm)
    return homes


def _disk_entries(vm: Any, store: Any, directory: Path) -> Iterator[Entry]:
    root = store.root.resolve()
    for disk in list(vm.store.values()):
        here = disk.place.datastore is store and root / disk.place.directory == directory
        if disk.dead or disk.borrowed is not None or not here:
            continue
        with disk.lock:
            layers = list(disk.layers)
        for layer in layers:
            of_disk = {"vm": vm, "disk": disk, "layer": layer}
            extent, text = directory / layer.path.name, directory / disk.descriptor_name(layer)
            yield Entry(extent.name, extent, size=disk.capacity, allocated=disk.bytes_allocated(layer), **of_disk)
            if text.exists():
                size = text.stat().st_size
                yield Entry(text.name, text, size=size, allocated=size, **of_disk)


def find_store(lab: Any, name: str, dc_path: str | None) -> Any:
    """The datastore of this name in the datacenter of this inventory path, or in any (None); None if there is none."""
    for datacenter in lab.all_of(vim.Datacenter):
        if dc_path is None or lab.path_of(datacenter) == dc_path.strip("/"):
            store = lab.datastore(name, datacenter)
            if store is not None:
                return store
    return None


def parse_path(text: str) -> tuple[str, str]:
    """`[ds] dir/file` -> ("ds", "dir/file"); InvalidDatastorePath for anything else."""
    name, bracket, rest = text.partition("]")
    if not text.startswith("[") or not bracket:
        raise vim.fault.InvalidDatastorePath(datastorePath=text, msg=f"Invalid datastore path '{text}'.")
    return name[1:], rest.strip().strip("/")

"""Virtual disks with real contents: a tree of layers, the guest's writes, snapshots, merges."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.lab.bitmap import BLOCK, BlockMap
from engine.lab.host_file import Storage
from engine.lab.layers import Layer, Pin, pieces, read_chain
from engine.lab.tracking import ChangeTracking
from engine.lab.vm_files import descriptor

READERS_PATIENCE = 10.0  # seconds a merge waits for file handles on the image that it changes
BASE_SUFFIX = {"flat": "-flat.vmdk", "rdm-virtual": "-rdm.vmdk", "rdm-physical": "-rdmp.vmdk"}


class MergeBlocked(Exception):
    """Somebody still reads the image that the merge would change, or has attached it to another VM."""


@dataclass(frozen=True)
class Place:
    """A directory on a datastore. `datastore` is the managed object (`props["name"]`, `root`)."""

    datastore: Any
    directory: str

    @property
    def path(self) -> Path:
        return self.datastore.root / self.directory

    def file(self, name: str) -> str:
        return f"[{self.datastore.props['name']}] {self.directory}/{name}"


@dataclass(frozen=True)
class Borrowed:
    """The image of another disk that a hot-added one shows; the pin keeps it from being merged or deleted."""

    disk: Disk
    pin: Pin


class Disk:
    """One virtual disk. All offsets and lengths are bytes; `capacity` is a multiple of 512.

    `level` arguments name an image: a Layer from a snapshot's `levels`, or None for what the guest sees now. A level
    stays valid while its snapshot exists, whatever is merged around it. Reads take the disk's lock only to look up the
    layers; nothing here ever takes the model's lock. What changes the tree (freeze, branch, tidy) is called by one task
    of the VM at a time.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        capacity: int,
        *,
        kind: str = "flat",
        provisioning: str = "thin",
        identity: str | None = None,
        borrowed: Borrowed | None = None,
    ) -> None:
        """kind: flat, rdm-virtual or rdm-physical. provisioning: thin, lazy (thick, zeroed when written) or eager.

        `borrowed`: the image of another disk that this one shows through a redo log of its own (hot-add)."""
        if capacity <= 0 or capacity % 512:
            raise ValueError(f"a disk's capacity is a positive multiple of 512 bytes, not {capacity}")
        self.place, self.name, self.capacity, self.kind, self.provisioning = place, name, capacity, kind, provisioning
        self.id = uuid.uuid4().hex[:12] if identity is None else identity
        digits = uuid.uuid4().hex
        self.uuid = f"6000C29{digits[0]}-{digits[1:5]}-{digits[5:9]}-{digits[9:13]}-{digits[13:25]}"
        self.lock = threading.RLock()
        self.borrowed = borrowed
        self.tracking: ChangeTracking | None = None
        self.dead = False
        self.writes = 0  # grows with every write: figures made from file sizes are stale when it differs
        self.filler: Callable[[Disk], None] | None = None  # seeded contents, written when first needed
        self.recipe = ""  # of seeded contents, for the saved state
        self._rewritten: BlockMap | None = None  # blocks written while a merge of the top is under way
        storage, blocks = self.base_storage(), BlockMap() if borrowed else None
        first = Layer(self.path_of(0), capacity, blocks=blocks, cid=_content_id(), storage=storage)
        self.layers: list[Layer] = [first]
        self.top = first
        if storage is not None:
            self._describe()

    def __repr__(self) -> str:
        return f"<Disk {self.place.file(self.name + '.vmdk')}>"

    @property
    def _luns(self) -> Any:
        """The LUNs under the datastore, if it has any (engine.lab.lun_store)."""
        return getattr(self.place.datastore, "luns", None)

    def base_storage(self) -> Storage | None:
        """The flat file on the datastore's LUNs; None where the base is a file of this machine."""
        if self._luns is None or self.borrowed is not None or self.kind != "flat":
            return None
        return self._luns.file(f"{self.place.directory}/{self.path_of(0).name}", self.capacity)

    def _describe(self, *, anew: bool = False) -> None:
        """The base's descriptor beside its flat file."""
        base = self.layers[0]
        self._luns.describe(f"{self.place.directory}/{self.descriptor_name(base)}", descriptor(self, base), anew=anew)

    # -- names
    def path_of(self, number: int) -> Path:
        """Extent file of the base (number 0) or of a delta."""
        if number or self.borrowed:
            return self.place.path / f"{self.name}-{number:06d}-delta.vmdk"
        return self.place.path / f"{self.name}{BASE_SUFFIX[self.kind]}"

    def descriptor_name(self, level: Layer | None = None) -> str:
        """`web01.vmdk` for the base, `web01-000001.vmdk` for a delta."""
        return self._descriptor_name((self.top if level is None else level.resolve()).number)

    def file(self, level: Layer | None = None) -> str:
        """`[datastore] directory/web01.vmdk`: the file that a backing names."""
        if self.borrowed is not None:
            return self.borrowed.disk.file(self.borrowed.pin.layer)
        return self.place.file(self.descriptor_name(level))

    def level_of(self, file_name: str) -> Layer | None:
        """The layer whose descriptor or extent file is called so (without datastore and directory)."""
        with self.lock:
            for layer in self.layers:
                if file_name in (self.descriptor_name(layer), layer.path.name):
                    return layer
        return None

    # -- what the disk holds
    def chain(self, level: Layer | None = None) -> tuple[Layer, ...]:
        """The layers of an image, top first, down to the base (of the borrowed disk, if this one borrows)."""
        layers = (self.top if level is None else level).chain()
        return layers if self.borrowed is None else layers + self.borrowed.pin.layer.chain()

    @contextlib.contextmanager
    def _held(self, level: Layer | None) -> Iterator[tuple[Layer, ...]]:
        """The chain, with every file kept open although a merge may retire it meanwhile."""
        with self.lock:
            self._ready()
            layers = self.chain(level)
            for layer in layers:
                layer.acquire()
        try:
            yield layers
        finally:
            with self.lock:
                for layer in layers:
                    layer.release()

    def _ready(self) -> None:
        if self.dead:
            raise FileNotFoundError(errno.ENOENT, "the disk was deleted", str(self.path_of(0)))
        if self.filler is not None:
            filler, self.filler = self.filler, None
            filler(self)

    def settle(self) -> None:
        """Write seeded contents now, if they are still owed."""
        with self.lock:
            self._ready()

    def read_into(self, offset: int, view: memoryview, level: Layer | None = None) -> None:
        """Fill `view` with the image's bytes; FileNotFoundError when the disk was deleted."""
        if offset < 0 or offset + len(view) > self.capacity:
            raise ValueError(f"{offset}+{len(view)} is outside of a disk of {self.capacity} bytes")
        with self._held(level) as layers:
            read_chain(layers, offset, view)

    def read(self, offset: int, length: int, level: Layer | None = None) -> bytes:
        data = bytearray(length)
        self.read_into(offset, memoryview(data), level)
        return bytes(data)

    def allocated(self, level: Layer | None = None) -> list[tuple[int, int]]:
        """(offset, length) runs that may hold data, ascending, whole blocks of 64 KiB cut to the capacity.

        The base's come from SEEK_DATA; of an eagerly zeroed disk everything is allocated, as on VMFS."""
        if self.provisioning == "eager" and self.borrowed is None:
            return [(0, self.capacity)]
        blocks = BlockMap()
        with self._held(level) as layers:
            for layer in layers:
                blocks.update(BlockMap.of_bytes(layer.extents()) if layer.blocks is None else layer.blocks)
        return blocks.to_bytes(self.capacity)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """The guest writes: into the top layer, whose untouched parts of a block are copied up first."""
        if offset < 0 or offset + len(data) > self.capacity:
            raise ValueError(f"{offset}+{len(data)} is outside of a disk of {self.capacity} bytes")
        if not len(data):
            return
        first, stop = offset // BLOCK, -(-(offset + len(data)) // BLOCK)
        with self.lock:
            self._ready()
            if self.top.blocks is not None:
                self._copy_up(offset, offset + len(data), first, stop)
            self.top.write(data, offset)
            if self.top.blocks is not None:
                self.top.blocks.add(first, stop)
            if self._rewritten is not None:
                self._rewritten.add(first, stop)
            if self.tracking is not None:
                self.tracking.mark(first, stop)
            self.writes += 1

    def _copy_up(self, begin: int, end: int, first: int, stop: int) -> None:
        for block in {first, stop - 1}:
            low, high = block * BLOCK, min((block + 1) * BLOCK, self.capacity)
            assert self.top.blocks is not None
            if block not in self.top.blocks and (begin > low or end < high):
                whole = bytearray(high - low)
                read_chain(self.chain()[1:], low, memoryview(whole))
                self.top.write(whole, low)

    def bytes_allocated(self, level: Layer) -> int:
        """Bytes that one layer's file occupies on the datastore; a thick base occupies its capacity."""
        self.settle()
        with self.lock:
            return self.capacity if level.blocks is None and self.provisioning != "thin" else level.allocated()

    # -- file handles
    def open(self, level: Layer | None = None) -> DiskHandle:
        """A handle for reading an image. While it is open no merge changes that image; close it."""
        with self.lock:
            self._ready()
            return DiskHandle(self, None if level is None else Pin(level.resolve(), "read", self.name))

    # -- snapshots
    def freeze(self) -> tuple[Layer, str | None]:
        """What was written so far becomes read-only, writes go to a new delta: (the frozen level, its change id)."""
        with self.lock:
            self._ready()
            frozen = self.top
            self._grow(frozen)
            return frozen, self.tracking.cut() if self.tracking else None

    def _grow(self, parent: Layer) -> None:
        number = next(n for n in range(1, 1 << 20) if all(n != layer.number for layer in self.layers))
        path = self.path_of(number)
        path.unlink(missing_ok=True)
        self.top = Layer(path, self.capacity, number=number, parent=parent, blocks=BlockMap(), cid=_content_id())
        self.layers.append(self.top)

    def branch(self, level: Layer) -> None:
        """Revert: the guest goes on from `level`, in a new delta. Unreferenced layers remain for `loose_ends`."""
        with self.lock:
            self._ready()
            self._grow(level.resolve())

    def drop_top(self) -> None:
        """The top's writes are lost; its parent is written again (non-persistent disks at power off)."""
        with self.lock:
            top = self.top
            assert top.parent is not None
            self.top = top.parent
            self._forget(top)

    def start_tracking(self) -> None:
        with self.lock:
            if self.tracking is None:
                self.tracking = ChangeTracking()

    def reset_tracking(self) -> None:
        """Change ids given so far become foreign; tracking goes on if it was on."""
        with self.lock:
            if self.tracking is not None:
                self.tracking = ChangeTracking()

    def children(self, layer: Layer) -> list[Layer]:
        return [other for other in self.layers if other.parent is layer]

    def loose_ends(self, kept: Iterable[Layer]) -> list[Layer]:
        """Layers that no snapshot (`kept`) and no guest needs by itself, and that could be deleted or merged."""
        with self.lock:
            needed = {layer.resolve() for layer in kept} | {self.top}
            return [layer for layer in self.layers if layer not in needed and len(self.children(layer)) < 2]

    def tidy(self, kept: Iterable[Layer], progress: Callable[[int, int], None] | None = None) -> None:
        """Delete or merge all loose ends. `progress(done, total)` in bytes; it may raise to stop between two pieces.

        Raises MergeBlocked when an image that must change is still open; every layer stays consistent then, and the
        next call goes on."""
        kept = list(kept)
        while ends := self.loose_ends(kept):
            self._await_readers(ends[0])
            with self.lock:
                below = self.children(ends[0])
                if not below:
                    self._forget(ends[0])
                    continue
            self._merge(below[0], ends[0], progress or _no_progress)

    def _await_readers(self, layer: Layer) -> None:
        deadline = time.monotonic() + READERS_PATIENCE
        while layer.pins:
            if any(pin.kind == "attach" for pin in layer.pins) or time.monotonic() > deadline:
                raise MergeBlocked(self.file(layer))
            time.sleep(0.02)

    def _merge(self, upper: Layer, lower: Layer, progress: Callable[[int, int], None]) -> None:
        """Copy the delta `upper` down into its parent; the guest may go on writing to `upper` meanwhile."""
        assert upper.blocks is not None
        with self.lock:
            self._rewritten = BlockMap() if upper is self.top else None
            todo = upper.blocks.copy()
        try:
            self._copy_down(upper, lower, todo, progress)
            with self.lock:
                if self._rewritten:
                    self._copy_down(upper, lower, self._rewritten.copy(), _no_progress)
                self._adopt(upper, lower)
        finally:
            self._rewritten = None

    def _copy_down(self, upper: Layer, lower: Layer, blocks: BlockMap, progress: Callable[[int, int], None]) -> None:
        runs = blocks.to_bytes(self.capacity)
        total, done = sum(length for _, length in runs), 0
        for offset, length in pieces(runs):
            with self.lock:
                if self.dead:
                    raise FileNotFoundError(errno.ENOENT, "the disk was deleted", str(upper.path))
                lower.take(upper, offset, length)
            done += length
            progress(done, total)

    def _adopt(self, upper: Layer, lower: Layer) -> None:
        assert upper.blocks is not None
        if lower.blocks is not None:
            lower.blocks.update(upper.blocks)
        for layer in self.children(upper):
            layer.parent = lower
        for pin in list(upper.pins):
            pin.move(lower)
        upper.successor = lower
        if self.top is upper:
            self.top = lower
        self._forget(upper)

    def _forget(self, layer: Layer) -> None:
        self.layers.remove(layer)
        (self.place.path / self._descriptor_name(layer.number)).unlink(missing_ok=True)
        layer.retire()

    def _descriptor_name(self, number: int) -> str:
        return f"{self.name}-{number:06d}.vmdk" if number else f"{self.name}.vmdk"

    # -- size and life
    def resize(self, capacity: int) -> None:
        """Grow the only layer; tracking starts anew, as ESXi's does."""
        with self.lock:
            self._ready()
            self.capacity = capacity
            self.top.resize(capacity)
            if self.base_storage() is not None:
                self._describe(anew=True)
            self.reset_tracking()

    def destroy(self) -> None:
        """Delete all files; reads in flight end, later ones fail."""
        with self.lock:
            self.dead, self.filler = True, None
            for layer in list(self.layers):
                (self.place.path / self._descriptor_name(layer.number)).unlink(missing_ok=True)
                layer.destroyed = True
                layer.retire()

    def close(self) -> None:
        """Close the files; the disk opens them again when it is used."""
        with self.lock:
            for layer in self.layers:
                layer.close()


class DiskHandle:
    """An open image of a disk: `capacity`, `read_into(offset, view)`, `read(offset, length)`, `allocated()`."""

    def __init__(self, disk: Disk, pin: Pin | None) -> None:
        self.disk, self.capacity, self._pin = disk, disk.capacity, pin

    @property
    def level(self) -> Layer | None:
        return None if self._pin is None else self._pin.layer

    def read_into(self, offset: int, view: memoryview) -> None:
        self.disk.read_into(offset, view, self.level)

    def read(self, offset: int, length: int) -> bytes:
        return self.disk.read(offset, length, self.level)

    def allocated(self) -> list[tuple[int, int]]:
        return self.disk.allocated(self.level)

    def close(self) -> None:
        if self._pin is not None:
            self._pin.drop()

    def __enter__(self) -> DiskHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _no_progress(done: int, total: int) -> None:
    return


def _content_id() -> str:
    return uuid.uuid4().hex[:8]

"""One file of a virtual disk: the base, which holds every block, or a delta, which holds those written since.

A layer's extent file has the disk's full size and holes where nothing was written; ESXi's delta format (COWD, SEsparse)
is not imitated, because no client reads it: reads go through `/folder` (bases only), NFC or a lease.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.lab.bitmap import BLOCK, BlockMap

PIECE = 1 << 20  # bytes copied at a time while a disk's lock is held
_opening = threading.Lock()


class Layer:
    """A node of a disk's tree of layers.

    `blocks` is None for a base. `pins` are readers and attachments that need this layer's image to stay as it is.
    `successor` leads to the layer that took this one's contents when a snapshot was removed. The file is made by the
    first write: a disk without contents costs nothing on disk.
    """

    def __init__(
        self,
        path: Path,
        capacity: int,
        *,
        number: int = 0,
        parent: Layer | None = None,
        blocks: BlockMap | None = None,
        cid: str,
    ) -> None:
        self.path, self.capacity, self.number, self.cid = path, capacity, number, cid
        self.parent, self.blocks = parent, blocks
        self.pins: set[Pin] = set()
        self.successor: Layer | None = None
        self.destroyed = False  # its file was deleted under us: reads fail, as on ESXi
        self._descriptor: int | None = None
        self._users = 0
        self._retired = False
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"<Layer {self.path.name}>"

    def resolve(self) -> Layer:
        """The layer that holds this image now."""
        layer = self
        while layer.successor is not None:
            layer = layer.successor
        return layer

    def chain(self) -> tuple[Layer, ...]:
        """This layer, then its parents down to the base."""
        layers, layer = [], self.resolve()
        while layer is not None:
            layers.append(layer)
            layer = layer.parent
        return tuple(layers)

    # -- the file
    def file(self, *, create: bool = False) -> int | None:
        """The open extent file; None when it was never written and `create` is false."""
        if self._descriptor is None:
            with _opening:
                if self._descriptor is None:
                    self._descriptor = self._open(create)
        return self._descriptor

    def _open(self, create: bool) -> int | None:
        if not create and not self.path.exists():
            return None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, self.capacity)
        return descriptor

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill `view` from this file alone; holes and a file never written read as zeros."""
        if self.destroyed:
            raise FileNotFoundError(errno.ENOENT, "the disk file was deleted", str(self.path))
        descriptor = self.file()
        if descriptor is None:
            view[:] = bytes(len(view))
            return
        done = 0
        while done < len(view):
            count = os.preadv(descriptor, [view[done:]], offset + done)
            if count == 0:
                raise OSError(errno.EIO, "the disk file is shorter than the disk", str(self.path))
            done += count

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        descriptor = self.file(create=True)
        assert descriptor is not None
        view = memoryview(data)
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count

    def take(self, source: Layer, offset: int, length: int) -> None:
        """Copy bytes of `source`'s own file to the same place here, inside the kernel."""
        origin, target = source.file(), self.file(create=True)
        assert origin is not None
        assert target is not None
        while length:
            count = os.copy_file_range(origin, target, length, offset, offset)
            if count == 0:
                raise OSError(errno.EIO, "the disk file is shorter than the disk", str(source.path))
            offset, length = offset + count, length - count

    def extents(self) -> list[tuple[int, int]]:
        """(offset, length) in bytes of what the file system holds of this file, from SEEK_DATA."""
        descriptor = self.file()
        if descriptor is None:
            return []
        found, position = [], 0
        while position < self.capacity:
            try:
                start = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            position = min(os.lseek(descriptor, start, os.SEEK_HOLE), self.capacity)
            found.append((start, position - start))
        return found

    def allocated(self) -> int:
        """Bytes that the file occupies."""
        descriptor = self.file()
        return 0 if descriptor is None else os.fstat(descriptor).st_blocks * 512

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        descriptor = self.file()
        if descriptor is not None:
            os.ftruncate(descriptor, capacity)

    def acquire(self) -> None:
        """Keep the file open, whatever becomes of the layer, until `release`."""
        with self._guard:
            self._users += 1

    def release(self) -> None:
        with self._guard:
            self._users -= 1
            if self._retired and not self._users:
                self.close()

    def retire(self) -> None:
        """No longer part of the disk: its name is gone, its file is closed when the last read in flight has ended."""
        self.path.unlink(missing_ok=True)
        with self._guard:
            self._retired = True
            if not self._users:
                self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Pin:
    """Keeps a layer's image from changing. kind: "read" (a file handle) or "attach" (a disk of another VM)."""

    def __init__(self, layer: Layer, kind: str, owner: str) -> None:
        self.layer, self.kind, self.owner = layer, kind, owner
        layer.pins.add(self)

    def drop(self) -> None:
        self.layer.pins.discard(self)

    def move(self, layer: Layer) -> None:
        """Follow the image to the layer that now holds it."""
        self.layer.pins.discard(self)
        self.layer = layer
        layer.pins.add(self)


def locate_blocks(layers: Sequence[Layer], first: int, stop: int) -> list[tuple[int, int, Layer]]:
    """Which of the layers (top first) holds each block of first..stop-1: (first, stop, layer), ascending."""
    found: list[tuple[int, int, Layer]] = []
    gaps = [(first, stop)]
    for layer in layers:
        if layer.blocks is None:
            found += [(low, high, layer) for low, high in gaps]
            break
        below = []
        for low, high in gaps:
            position = low
            for begin, end in layer.blocks.runs(low, high):
                found.append((begin, end, layer))
                if position < begin:
                    below.append((position, begin))
                position = end
            if position < high:
                below.append((position, high))
        gaps = below
    found.sort(key=lambda piece: piece[0])
    return found


def read_chain(layers: Sequence[Layer], offset: int, view: memoryview) -> None:
    """Fill `view` with the disk's bytes from `offset`, as seen through the layers (top first)."""
    end = offset + len(view)
    for first, stop, layer in locate_blocks(layers, offset // BLOCK, -(-end // BLOCK)):
        low, high = max(first * BLOCK, offset), min(stop * BLOCK, end)
        layer.read_into(view[low - offset : high - offset], low)


def pieces(runs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(offset, length) runs cut to PIECE bytes."""
    for offset, length in runs:
        for position in range(offset, offset + length, PIECE):
            yield position, min(PIECE, offset + length - position)

"""One file of a virtual disk: the base, which holds every block, or a delta, which holds those written since.

A layer's extent file has the disk's full size and holes where nothing was written; ESXi's delta format (COWD, SEsparse)
is not imitated, because no client reads it: reads go through `/folder` (bases only), NFC or a lease.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.lab.bitmap import BLOCK, BlockMap
from engine.lab.host_file import HostFile, Storage

PIECE = 1 << 20  # bytes copied at a time while a disk's lock is held


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
        storage: Storage | None = None,
    ) -> None:
        """storage: where the bytes lie, if not in a file of this machine at `path`."""
        self.path, self.capacity, self.number, self.cid = path, capacity, number, cid
        self.parent, self.blocks = parent, blocks
        self.pins: set[Pin] = set()
        self.successor: Layer | None = None
        self.destroyed = False  # its file was deleted under us: reads fail, as on ESXi
        self.storage: Storage = HostFile(path, capacity) if storage is None else storage
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

    # -- its bytes
    def create(self) -> None:
        """Make its file now."""
        self.storage.create()

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill `view` from this file alone; holes and a file never written read as zeros."""
        if self.destroyed:
            raise FileNotFoundError(errno.ENOENT, "the disk file was deleted", str(self.path))
        self.storage.read_into(view, offset)

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        self.storage.write(data, offset)

    def take(self, source: Layer, offset: int, length: int) -> None:
        """Copy bytes of `source`'s own file to the same place here."""
        self.storage.take(source.storage, offset, length)

    def extents(self) -> list[tuple[int, int]]:
        """(offset, length) in bytes of what is held of this layer alone."""
        return self.storage.extents()

    def allocated(self) -> int:
        """Bytes that it occupies."""
        return self.storage.allocated()

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self.storage.resize(capacity)

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
        self.storage.remove()
        with self._guard:
            self._retired = True
            if not self._users:
                self.close()

    def close(self) -> None:
        self.storage.close()


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

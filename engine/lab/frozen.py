"""Raw copies of the disks that snapshots freeze: what a test compares a backup with, also when the snapshot is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.lab.bitmap import BLOCK
from engine.lab.disks import Disk
from engine.lab.layers import Layer, locate_blocks, pieces

if TYPE_CHECKING:
    from engine.lab.snapshots import Snapshot


class Recorder:
    """Keeps `<root>/<snapshot moref>/<device key>.raw`, sparse, for every snapshot from now on."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, snapshot: Snapshot) -> None:
        """Copy what the snapshot froze. The layers no longer change, so the guest may go on writing meanwhile."""
        for key, level in snapshot.levels.items():
            slot = snapshot.definition.slot(key)
            assert slot is not None
            copy_image(snapshot.vm.store[slot.disk], level, self._path(snapshot.id, key))

    def image(self, snapshot: str, device_key: int) -> Path:
        """LookupError when no such snapshot or disk was recorded."""
        path = self._path(snapshot, device_key)
        if not path.is_file():
            raise LookupError(f"no image of disk {device_key} in {snapshot} was recorded")
        return path

    def _path(self, snapshot: str, key: int) -> Path:
        return self.root / snapshot / f"{key}.raw"


def copy_image(disk: Disk, level: Layer | None, target: Path) -> None:
    """A sparse raw file with the image's bytes; complete, or not there under its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, disk.capacity)
        with disk.open(level) as handle:
            for offset, length, layer in _pieces(disk, handle.level):
                layer.storage.copy_to(descriptor, offset, length)
    finally:
        os.close(descriptor)
    partial.rename(target)


def _pieces(disk: Disk, level: Layer | None) -> Iterator[tuple[int, int, Layer]]:
    """(offset, length, layer) of an image's contents, for a copy file by file."""
    layers = disk.chain(level)
    for offset, length in pieces(disk.allocated(level)):
        for first, stop, layer in locate_blocks(layers, offset // BLOCK, -(-(offset + length) // BLOCK)):
            low, high = max(first * BLOCK, offset), min(stop * BLOCK, offset + length)
            yield low, high - low, layer

"""LUNs behind a datastore: a VMFS volume on image files, in which the base disks lie, and their links by identity.

A reader of the LUN finds the flat files and descriptors of all disks, thin, while guests write to them. Deltas stay in
the datastore's directory: ESXi's delta formats are not imitated.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from engine.lab.host_file import Storage
from engine.lab.persistence import replace_file
from engine.lab.vmfs.files import File
from engine.lab.vmfs.form import Version
from engine.lab.vmfs.volume import Volume

SIZE = 256 << 30
"""Bytes of each LUN."""
_PIECE = 1 << 20


class LunStore:
    """`names` are the LUNs' canonical names, in the volume's order; all are `naa.`."""

    def __init__(self, directory: Path, by_id: Path, label: str, names: tuple[str, ...], version: Version) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.names, self._index = names, directory / "files.json"
        self._lock = threading.RLock()
        self._files: dict[str, LunFile] = {}
        paths = [directory / f"{name}.lun" for name in names]
        how = {"version": version, "size": SIZE * len(names), "label": label, "seed": label}
        if self._index.exists():
            self.volume = Volume.reopen(paths, json.loads(self._index.read_text()), **how)
        else:
            self.volume = Volume.create(paths, **how)
            self._save()
        _publish(by_id, dict(zip(names, paths, strict=True)))

    @property
    def uuid(self) -> str:
        return self.volume.uuid

    @property
    def version(self) -> int:
        return self.volume.form.version

    def file(self, path: str, capacity: int) -> LunFile:
        """The flat file of this path from the datastore's root; made if it is not there."""
        with self._lock:
            if path not in self._files:
                known = self.volume.files.get(path)
                file = self.volume.add_thin(path, capacity) if known is None else known
                if known is None:
                    self._save()
                self._files[path] = LunFile(self, path, file)
            return self._files[path]

    def describe(self, path: str, text: str, *, anew: bool = False) -> None:
        """The descriptor of a disk; one that is there stays, unless it is to be written anew."""
        with self._lock:
            if anew and path in self.volume.files:
                self.volume.remove(path)
            if path not in self.volume.files:
                self.volume.add_file(path, text.encode())
                self._save()

    def occupied(self) -> int:
        """Bytes of this machine's disk."""
        return sum(path.stat().st_blocks * 512 for path in self.volume.luns.paths)

    def write(self, file: File, offset: int, data: bytes | bytearray | memoryview) -> None:
        with self._lock:
            self.volume.write(file, offset, memoryview(data))

    def resize(self, path: str, capacity: int) -> None:
        with self._lock:
            self.volume.resize(path, capacity)
            self._save()

    def remove(self, path: str) -> None:
        with self._lock:
            self._files.pop(path, None)
            for name in (path, path.replace("-flat.vmdk", ".vmdk")):
                if name in self.volume.files:
                    self.volume.remove(name)
            self._save()

    def close(self) -> None:
        with self._lock:
            self.volume.flush()
            self.volume.close()

    def _save(self) -> None:
        replace_file(self._index, json.dumps(self.volume.index()).encode())


class LunFile:
    """A flat file on the LUNs, as the storage of a disk's base."""

    def __init__(self, store: LunStore, path: str, file: File) -> None:
        self._store, self._path, self._file = store, path, file

    def create(self) -> None:
        """It is there."""

    def read_into(self, view: memoryview, offset: int) -> None:
        self._store.volume.read_into(self._file, offset, view)

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        self._store.write(self._file, offset, data)

    def take(self, source: Storage, offset: int, length: int) -> None:
        buffer = memoryview(bytearray(min(length, _PIECE)))
        for at in range(offset, offset + length, _PIECE):
            piece = buffer[: min(_PIECE, offset + length - at)]
            source.read_into(piece, at)
            self.write(piece, at)

    def copy_to(self, descriptor: int, offset: int, length: int) -> None:
        buffer = memoryview(bytearray(min(length, _PIECE)))
        for at in range(offset, offset + length, _PIECE):
            piece = buffer[: min(_PIECE, offset + length - at)]
            self.read_into(piece, at)
            done = 0
            while done < len(piece):
                done += os.pwrite(descriptor, piece[done:], at + done)

    def extents(self) -> list[tuple[int, int]]:
        return self._store.volume.data(self._file)

    def allocated(self) -> int:
        return sum(length for _, length in self.extents())

    def resize(self, capacity: int) -> None:
        self._store.resize(self._path, capacity)

    def remove(self) -> None:
        self._store.remove(self._path)

    def close(self) -> None:
        """The LUNs stay open."""


def _publish(directory: Path, luns: dict[str, Path]) -> None:
    """Links as udev makes them of a LUN with one path: by its world-wide name, and by SCSI identification."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, path in luns.items():
        digits = name.partition(".")[2]
        for link in (directory / f"wwn-0x{digits}", directory / f"scsi-3{digits}"):
            with contextlib.suppress(FileExistsError):
                link.symlink_to(path.resolve())

"""The file of this machine that holds one layer of a virtual disk."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Protocol

_opening = threading.Lock()


class Storage(Protocol):
    """Where the bytes of a layer lie. What was never written reads as zeros."""

    def create(self) -> None:
        """Makes the file, if it is made only when it is needed."""
        ...

    def read_into(self, view: memoryview, offset: int) -> None: ...

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None: ...

    def take(self, source: Storage, offset: int, length: int) -> None:
        """Copies bytes of `source` to the same place here."""
        ...

    def copy_to(self, descriptor: int, offset: int, length: int) -> None:
        """Copies bytes to the same place of an open file, which holds zeros there."""
        ...

    def extents(self) -> list[tuple[int, int]]:
        """(offset, length) in bytes of what is held, ascending."""
        ...

    def allocated(self) -> int:
        """Bytes that are taken."""
        ...

    def resize(self, capacity: int) -> None: ...

    def remove(self) -> None:
        """Its name is gone; reads under way go on until `close`."""
        ...

    def close(self) -> None: ...


class HostFile:
    """Sparse, of the disk's full size; made by the first write: a disk without contents costs nothing on disk."""

    def __init__(self, path: Path, capacity: int) -> None:
        self.path, self.capacity = path, capacity
        self._descriptor: int | None = None

    def _file(self, *, create: bool = False) -> int | None:
        """The open file; None when it was never written and `create` is false."""
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

    def create(self) -> None:
        self._file(create=True)

    def read_into(self, view: memoryview, offset: int) -> None:
        descriptor = self._file()
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
        descriptor = self._file(create=True)
        assert descriptor is not None
        view = memoryview(data)
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count

    def take(self, source: Storage, offset: int, length: int) -> None:
        target = self._file(create=True)
        assert target is not None
        source.copy_to(target, offset, length)

    def copy_to(self, descriptor: int, offset: int, length: int) -> None:
        """Inside the kernel."""
        origin = self._file()
        while origin is not None and length:
            count = os.copy_file_range(origin, descriptor, length, offset, offset)
            if count == 0:
                raise OSError(errno.EIO, "the disk file is shorter than the disk", str(self.path))
            offset, length = offset + count, length - count

    def extents(self) -> list[tuple[int, int]]:
        """From SEEK_DATA."""
        descriptor = self._file()
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
        descriptor = self._file()
        return 0 if descriptor is None else os.fstat(descriptor).st_blocks * 512

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        descriptor = self._file()
        if descriptor is not None:
            os.ftruncate(descriptor, capacity)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

"""The LUN image files of a volume, as one range of bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.lab.vmfs import lvm, partition_table
from engine.lab.vmfs.form import Form


class Luns:
    """Offsets are bytes of the logical volume. Files are sparse; several threads may use them."""

    def __init__(self, paths: Sequence[Path], group: lvm.Group, *, partitioned: bool) -> None:
        self.paths, self.group = tuple(paths), group
        self._start = partition_table.START if partitioned else 0
        self._descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for path in paths]

    def format(self, form: Form) -> None:
        """Makes the files anew, with partition table and LVM headers."""
        for device, descriptor in enumerate(self._descriptors):
            size = lvm.size_of_device(self.group.extents[device])
            os.ftruncate(descriptor, 0)
            parts = {self._start + at: data for at, data in lvm.headers(self.group, device, form).items()}
            if self._start:
                size += partition_table.START + partition_table.TAIL
                parts |= partition_table.gpt(size, self.group.devices[device])
            os.ftruncate(descriptor, size)
            for at, data in parts.items():
                os.pwrite(descriptor, data, at)

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(file descriptor, offset in the file, length) of a range."""
        if offset < 0 or offset + length > self.group.size:
            raise OSError(errno.ENOSPC, "outside of the VMFS volume", str(self.paths[0]))
        first = 0
        for descriptor, extents in zip(self._descriptors, self.group.extents, strict=True):
            size = extents * lvm.PHYSICAL_EXTENT
            low, high = max(offset, first), min(offset + length, first + size)
            if low < high:
                yield descriptor, self._start + lvm.DATA + low - first, high - low
            first += size

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        for descriptor, at, length in self.pieces(offset, len(view)):
            piece, view = view[:length], view[length:]
            done = 0
            while done < length:
                done += os.pwrite(descriptor, piece[done:], at + done)

    def read_into(self, offset: int, view: memoryview) -> None:
        for descriptor, at, length in self.pieces(offset, len(view)):
            piece, view = view[:length], view[length:]
            done = 0
            while done < length:
                count = os.preadv(descriptor, [piece[done:]], at + done)
                if not count:
                    raise OSError(errno.EIO, "the LUN's file is cut short", str(self.paths[0]))
                done += count

    def clear(self, offset: int, length: int) -> None:
        """The range reads as zeros."""
        for at, count in self.data(offset, length):
            self.write(at, bytes(count))

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def data(self, offset: int, length: int) -> list[tuple[int, int]]:
        """(offset, length) of what the host's file system holds of a range, from SEEK_DATA."""
        found = []
        position = offset
        for descriptor, at, size in self.pieces(offset, length):
            found += [(position + start - at, count) for start, count in _data(descriptor, at, at + size)]
            position += size
        return found

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


def _data(descriptor: int, position: int, end: int) -> Iterator[tuple[int, int]]:
    while position < end:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file
                return
            raise
        if start >= end:
            return
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        yield start, position - start

"""A block device of this machine read past its page cache: what `san` and `hotadd` have in common.

Another computer writes to the device, so a cached page may be a lie: every read goes through O_DIRECT. That wants
memory, offset and length to be multiples of the sector; what is not goes through an aligned buffer of the thread's own.
"""

import ctypes
import errno
import os
import stat
import threading
from pathlib import Path

from engine.errors import TransportError
from engine.page_memory import private_memory

ALIGNMENT = 4096
"""Covers devices with sectors of 512 bytes and of 4 KiB."""

_BOUNCE = 1 << 20


class BlockDevice:
    """Opened read-only; nothing is ever sent to it but reads. Several threads may read at once.

    `path` may also be a file that holds a device's image; only where its file system knows no O_DIRECT is it read
    without. Raises TransportError for whatever the system says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        try:
            self._descriptor, self.direct = _open(path)
            self.size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise _failure(f"The device {path} can't be opened", error) from error

    @property
    def identity(self) -> tuple[int, int]:
        """Two paths to one device have the same (not two legs of one LUN: those are two devices)."""
        status = os.fstat(self._descriptor)
        return (status.st_rdev, 0) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fills the whole of `view` (writable, contiguous bytes) from byte `offset`."""
        if offset < 0 or offset + len(view) > self.size:
            raise TransportError(f"A read of {len(view)} bytes at {offset:,} lies outside of {self.path}.")
        if not len(view):
            return
        try:
            if not self.direct or _aligned(offset, view):
                self._read_all(offset, view, len(view))
            else:
                self._read_through(offset, view)
        except OSError as error:
            raise _failure(f"{self.path} can't be read at byte {offset:,}", error) from error

    def close(self) -> None:
        """Safe twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_all(self, offset: int, view: memoryview, wanted: int) -> None:
        """Until `wanted` bytes are there; `view` may reach past the device's end."""
        done = 0
        while done < wanted:
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not count:
                raise OSError(errno.EIO, "the device ended early")
            done += count

    def _read_through(self, offset: int, view: memoryview) -> None:
        buffer = self._buffer()
        done = 0
        while done < len(view):
            start = (offset + done) // ALIGNMENT * ALIGNMENT
            skip = offset + done - start
            count = min(len(view) - done, _BOUNCE - skip)
            span = -(-(skip + count) // ALIGNMENT) * ALIGNMENT
            self._read_all(start, buffer[:span], skip + count)
            view[done : done + count] = buffer[skip : skip + count]
            done += count

    def _buffer(self) -> memoryview:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = private_memory(_BOUNCE)
        return self._local.buffer


def _open(path: Path) -> tuple[int, bool]:
    """(descriptor, whether it is past the page cache)."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT), True
    except OSError as error:
        if error.errno != errno.EINVAL or not stat.S_ISREG(path.stat().st_mode):
            raise
    return os.open(path, flags), False


def _aligned(offset: int, view: memoryview) -> bool:
    if offset % ALIGNMENT or len(view) % ALIGNMENT:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % ALIGNMENT == 0


def _failure(doing: str, error: OSError) -> TransportError:
    hints = {
        errno.EACCES: "Reading block devices needs root, or the group that owns them (disk).",
        errno.ENOENT: "Is the LUN still presented to this proxy?",
        errno.EIO: "Look at the paths of the LUN: multipath -ll, dmesg.",
    }
    name = errno.errorcode.get(error.errno or 0, "")
    return TransportError(f"{doing}: {error.strerror}.", fault=name, hint=hints.get(error.errno or 0, ""))

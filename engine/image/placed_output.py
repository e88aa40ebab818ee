"""A file written at any place by several threads, past the page cache: nothing waits for a turn, nothing is copied."""

import errno
import fcntl
import os
import threading
import time
from pathlib import Path

from engine.image.direct_output import Reserve, discard, target_error


class PlacedOutput:
    """The file `path` (mode 0600) of `size` bytes, all hole at first; O_DIRECT where the file system takes it.

    An older file is replaced, or, if `exclusive`, an error and left alone. Every method may raise `TargetFull` or
    `TargetError`. Whoever does not reach `close` must call `abort`, which removes the file; no `put` may run then.
    """

    def __init__(self, path: Path, size: int, *, exclusive: bool = False, reserve: Reserve | None = None) -> None:
        self.path = path
        self.stored = 0
        """Bytes written so far."""
        self._size = size
        self._reserve = reserve
        self._lock = threading.Lock()
        self._writing = 0
        self._since = 0.0
        self._seconds = 0.0
        try:
            self._fd, self._direct = opened(path, os.O_RDWR | os.O_CREAT | (os.O_EXCL if exclusive else os.O_TRUNC))
        except OSError as error:
            raise target_error(error, path) from error
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            self.abort()
            raise target_error(error, path) from error

    @property
    def hash_seconds(self) -> float:
        """None: whoever brings the data has hashed them."""
        return 0.0

    @property
    def write_seconds(self) -> float:
        """Seconds in which any thread was writing."""
        with self._lock:
            return self._seconds + (time.perf_counter() - self._since if self._writing else 0.0)

    def put(self, offset: int, data: memoryview) -> None:
        """From any thread. `offset`, the length and the memory of `data` are multiples of 4096; the last block may
        reach beyond the end of the file, and is cut there."""
        if self._reserve is not None:
            self._reserve(len(data))
        self._begin()
        try:
            self._put(offset, data)
        finally:
            self._end()
        with self._lock:
            self.stored += min(len(data), self._size - offset)

    def close(self) -> None:
        """After this the file is complete and durable."""
        try:
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        except OSError as error:
            raise target_error(error, self.path) from error
        os.close(self._fd)
        self._fd = -1

    def abort(self) -> None:
        """Safe more than once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        discard(self.path)

    def _put(self, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self._fd, data[done:], offset + done)
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise target_error(error, self.path) from error
                self._leave_direct()

    def _leave_direct(self) -> None:
        """Some file systems take the O_DIRECT flag and refuse the write, or want a larger alignment than 4096."""
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~os.O_DIRECT)
        self._direct = False

    def _begin(self) -> None:
        with self._lock:
            if not self._writing:
                self._since = time.perf_counter()
            self._writing += 1

    def _end(self) -> None:
        with self._lock:
            self._writing -= 1
            if not self._writing:
                self._seconds += time.perf_counter() - self._since


def opened(path: Path, flags: int) -> tuple[int, bool]:
    """A descriptor, and whether it goes past the page cache: some file systems refuse that."""
    flags |= os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600), True
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    if flags & os.O_EXCL:
        discard(path)  # it was made all the same, and by us: one that existed is another error
    fd = os.open(path, flags, 0o600)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd, False

"""One file written front to back, past the page cache, with its SHA-256 on the way.

Fresh page-cache pages cost more than everything else in a virtual machine (measured: 1.5 to 4 CPU seconds a GiB),
so blocks go out by O_DIRECT from a few reused, page-aligned buffers. The caller's thread fills a buffer while one
thread of this module hashes the one before, and another writes the one before that: SHA-256 of all bytes has no second
core to go to, so nothing waits for it in turn.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from engine.block_hash import BLOCK, BlockHash
from engine.errors import TargetError, TargetFull
from engine.image.written import WrittenFile
from engine.page_memory import private_memory

ALIGNMENT = 4096
"""Of offsets, lengths and memory under O_DIRECT; also right for 512-byte devices."""
BUFFER = 4 << 20
BUFFERS = 4
"""One being filled, one hashed, one written, and one between them."""
_TICK = 0.1
_HOLE = 1 << 40
"""Hashed in one go: half a second."""
_ZEROS = memoryview(bytes(ALIGNMENT))
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Reserve = Callable[[int], None]
"""Called with the size of each block before it is written; raises `TargetFull` to end the export there."""


def target_error(error: OSError, path: Path) -> TargetError:
    """The engine's error for an OSError on the target: `TargetFull` when space or quota ran out."""
    fault = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno in _NO_SPACE:
        return TargetFull(
            f"No space is left for {path}.", fault=fault, hint="Free space there, or point BACKUPROOT elsewhere."
        )
    if error.errno == errno.EFBIG:
        return TargetError(
            f"{path} grows larger than its file system or the process limit allows.",
            fault=fault,
            hint="Use a file system for large files (xfs, ext4), or EXPORT_FORMAT compact.",
        )
    return TargetError(f"{path} cannot be written: {os.strerror(error.errno or 0)}.", fault=fault)


def keep_free(directory: Path, floor: int) -> Reserve:
    """A `Reserve` that leaves at least `floor` bytes free (for an ordinary user) in the file system of `directory`."""

    def check(size: int) -> None:
        try:
            status = os.statvfs(directory)
        except OSError as error:
            raise target_error(error, directory) from error
        if status.f_bavail * status.f_frsize - size < floor:
            raise TargetFull(
                f"{directory} has come down to the {floor} bytes that must stay free.",
                hint="Free space there, or lower KEEP_FREE.",
            )

    return check


def discard(path: Path) -> None:
    """Removes an unfinished file after a failure, if it can: the error that led here must not be hidden by another."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def write_small(path: Path, data: bytes) -> WrittenFile:
    """Writes and fsyncs a file that fits in memory (a descriptor). Raises `TargetFull`, `TargetError`."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except OSError as error:
        raise target_error(error, path) from error
    return WrittenFile(path.name, len(data), hashlib.sha256(data).hexdigest())


class _Block(NamedTuple):
    """Filled up to `size`, for byte `offset` of the file."""

    buffer: memoryview
    size: int
    offset: int


class DirectOutput:
    """Sequential writer of `path` (mode 0600, replaced if it exists). Memory: four buffers of 4 MiB.

    Every method may raise `TargetFull` or `TargetError`, also for a block handed over earlier. Whoever does not
    reach `close` must call `abort`, which removes the file. `pulse` is called about ten times a second, from the
    caller's thread, while it waits for the hash or the target, and may raise. Where the file system refuses O_DIRECT,
    writing goes on through the page cache. The SHA-256 is that of all bytes, or, with `blocks`, of their blocks: only
    then there can be holes.
    """

    def __init__(
        self,
        path: Path,
        *,
        reserve: Reserve | None = None,
        pulse: Callable[[], None] | None = None,
        blocks: BlockHash | None = None,
    ) -> None:
        self.path = path
        self.hash_seconds = 0.0
        self.write_seconds = 0.0
        self.stored = 0
        """Bytes handed over so far, holes not counted."""
        self._reserve = reserve
        self._pulse = pulse or (lambda: None)
        self._blocks = blocks
        self._hash = hashlib.sha256() if blocks is None else blocks
        self._error: BaseException | None = None
        self._fd, self._direct = self._open()
        self._start = 0
        self._fill = 0
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._filled: SimpleQueue[_Block | int | None] = SimpleQueue()
        self._hashed: SimpleQueue[_Block | None] = SimpleQueue()
        for _ in range(BUFFERS - 1):
            self._free.put(private_memory(BUFFER))
        self._buffer = private_memory(BUFFER)
        self._threads = [
            threading.Thread(target=self._hash_all, name=f"image-hash {path.name}", daemon=True),
            threading.Thread(target=self._write_all, name=f"image-output {path.name}", daemon=True),
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.abort()
            raise

    @property
    def position(self) -> int:
        """Bytes of the file so far, holes included."""
        return self._start + self._fill

    def write(self, data: bytes | memoryview) -> None:
        """Appends; waits while all buffers are on their way to the target."""
        view = memoryview(data)
        at, size = 0, len(view)
        while at < size:
            step = min(size - at, BUFFER - self._fill)
            self._buffer[self._fill : self._fill + step] = view[at : at + step]
            self._fill += step
            at += step
            if self._fill == BUFFER:
                self._hand_over()

    def skip(self, length: int) -> None:
        """Leaves a hole of `length` bytes, which reads, and is hashed, as zeros. What follows must start at a multiple
        of 4096.
        """
        assert self._blocks is not None, "a hash of all bytes would go through the hole"
        if not length:
            return
        self._hand_over()
        self._filled.put(length)
        self._start += length

    def close(self) -> WrittenFile:
        """Writes the rest, waits for it and for the hash, fsyncs. After this the file is complete and durable."""
        size = self.position
        self._hand_over()
        self._stop(self._pulse)
        if self._error is not None:
            raise self._error
        began = time.perf_counter()
        try:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        except OSError as error:
            raise target_error(error, self.path) from error
        self.write_seconds += time.perf_counter() - began
        os.close(self._fd)
        self._fd = -1
        return WrittenFile(self.path.name, size, self._hash.hexdigest(), BLOCK if self._blocks else 0)

    def abort(self) -> None:
        """Ends the threads and removes the file, finished or not. Safe more than once."""
        self._error = self._error or TargetError(f"Writing {self.path} was given up.")
        self._stop(lambda: None)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        discard(self.path)

    def _stop(self, pulse: Callable[[], None]) -> None:
        """Lets the threads come to the end of what was handed over; after an error they only run through it."""
        self._filled.put(None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_TICK)
                pulse()

    def _open(self) -> tuple[int, bool]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            try:
                return os.open(self.path, flags | os.O_DIRECT, 0o600), True
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return os.open(self.path, flags, 0o600), False
        except OSError as error:
            raise target_error(error, self.path) from error

    def _hand_over(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._fill:
            return
        self._filled.put(_Block(self._buffer, self._fill, self._start))
        self._start += self._fill
        self.stored += self._fill
        self._fill = 0
        self._buffer = self._empty_buffer()

    def _empty_buffer(self) -> memoryview:
        """The next one that was hashed and written."""
        while True:
            try:
                return self._free.get(timeout=_TICK)
            except Empty:
                self._pulse()

    def _hash_all(self) -> None:
        """Hashes blocks and holes in the file's order, and passes the blocks on."""
        while (part := self._filled.get()) is not None:
            began = time.perf_counter()
            try:
                if self._error is not None:
                    pass
                elif not isinstance(part, int):
                    self._hash.update(part.buffer[: part.size])
                elif self._blocks is not None:
                    self._hash_hole(self._blocks, part)
            except BaseException as error:  # raised again in the caller's thread
                self._error = self._error or error
            self.hash_seconds += time.perf_counter() - began
            if not isinstance(part, int):
                self._hashed.put(part)
        self._hashed.put(None)

    def _hash_hole(self, blocks: BlockHash, length: int) -> None:
        for done in range(0, length, _HOLE):
            if self._error is not None:
                return
            blocks.zeros(min(_HOLE, length - done))

    def _write_all(self) -> None:
        while (block := self._hashed.get()) is not None:
            if self._error is None:
                began = time.perf_counter()
                try:
                    self._write_block(block)
                except OSError as error:
                    self._error = target_error(error, self.path)
                except BaseException as error:  # raised again in the caller's thread
                    self._error = error
                self.write_seconds += time.perf_counter() - began
            self._free.put(block.buffer)

    def _write_block(self, block: _Block) -> None:
        """The block, padded with zeros to the alignment; `close` cuts the padding of the last one off."""
        buffer, size, offset = block
        padded = -(-size // ALIGNMENT) * ALIGNMENT
        buffer[size:padded] = _ZEROS[: padded - size]
        if self._reserve is not None:
            self._reserve(padded)
        done = 0
        while done < padded:
            try:
                done += os.pwrite(self._fd, buffer[done:padded], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._leave_direct()

    def _leave_direct(self) -> None:
        """Some file systems take the O_DIRECT flag and refuse the write, or want a larger alignment than 4096."""
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~os.O_DIRECT)
        self._direct = False

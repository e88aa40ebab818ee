"""Any disk as one raw file: written by several threads at the places of its data, past the page cache, and read back.

Unlike an export nothing has to be in order: each thread reads (which inflates), finds zeros and writes for itself, so
all cores work and no buffer is copied. What was only zeros stays a hole.
"""

import errno
import fcntl
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from engine.cancel import CancelToken
from engine.errors import ImageError, VerifyError
from engine.extents import DiskSource, Extent, aligned, total
from engine.image.direct_output import discard, target_error
from engine.image.flat import image_error
from engine.image.pipeline import PROGRESS_INTERVAL, OnProgress, default_threads
from engine.image.sparse_header import GRAIN, MAX_CAPACITY, SECTOR
from engine.image.units import READ, AlignedBytes, pieces
from engine.image.written import Progress

_TICK = 0.1
_WAITING = 2
"""Threads beyond the cores: while some wait for the target, the cores inflate."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A finished raw image. `read` bytes of the disk were read, `stored` of them written, the rest are holes.

    `starts`, `lengths` and `digests` name the pieces that were read (up to 2 MiB each) with their xxh3: 12 MiB of
    memory for each TiB of data.
    """

    path: Path
    capacity: int
    read: int
    stored: int
    starts: "array[int]"
    lengths: "array[int]"
    digests: "array[int]"
    seconds: float


def write_raw(
    source: DiskSource,
    extents: Sequence[Extent],
    target: Path,
    *,
    threads: int,
    cancel: CancelToken,
    progress: OnProgress,
) -> RawFile:
    """Writes the new file `target` (mode 0600; one that exists is an error, never replaced) and fsyncs it.

    Reads the extents, widened to grains; everything else becomes a hole. Memory: 2 MiB a thread and 4, and `RawFile`'s.
    Raises what the source raises, `TargetFull`, `TargetError`, `Cancelled`; the file is gone then and all threads
    have ended.
    """
    capacity = source.capacity
    if capacity % SECTOR or not 0 <= capacity <= MAX_CAPACITY:
        raise ImageError(f"A disk of {capacity} bytes cannot be stored: not a plausible number of whole sectors.")
    wanted = aligned(extents, GRAIN, capacity)
    began = time.perf_counter()
    file = _Output(target)
    try:
        file.resize(capacity)
        job = _Writing(source, file, wanted)
        _run(job.work, (threads or default_threads()) + _WAITING, cancel, lambda: progress(job.state), job.stop)
        file.finish(capacity)
    except BaseException:
        file.close()
        discard(target)
        raise
    progress(job.state)
    seconds = time.perf_counter() - began
    return RawFile(target, capacity, job.read, job.stored, job.starts, job.lengths, job.digests, seconds)


def verify_raw(raw: RawFile, *, threads: int, cancel: CancelToken, progress: Callable[[int], None]) -> int:
    """Reads what was written back from the medium and compares; returns the bytes read. Raises `VerifyError`."""
    fd, _ = _opened(raw.path, os.O_RDONLY)
    job = _Reading(fd, raw)
    try:
        if os.fstat(fd).st_size != raw.capacity:
            raise VerifyError(f"{raw.path} has {os.fstat(fd).st_size} bytes; the disk has {raw.capacity}.")
        _run(job.work, threads or default_threads(), cancel, lambda: progress(job.done), job.stop)
    finally:
        os.close(fd)
    return job.done


class _Output:
    """The file, written at any offset by any thread; O_DIRECT where the file system takes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd, self._direct = _opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            raise target_error(error, path) from error

    def resize(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise target_error(error, self.path) from error

    def write(self, offset: int, data: memoryview) -> None:
        """`offset`, the length and the memory of `data` are multiples of 4096."""
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self._fd, data[done:], offset + done)
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:  # it wants a larger alignment than 4096
                    raise target_error(error, self.path) from error
                self._direct = False
                fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~os.O_DIRECT)

    def finish(self, size: int) -> None:
        """The last grain of an odd disk was written whole: cut to the disk's size, and make it durable."""
        try:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        except OSError as error:
            raise target_error(error, self.path) from error
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Shared:
    """Work that several threads take piece by piece."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopping = False

    def stop(self) -> None:
        """No piece is begun after this; one that was begun is finished."""
        self._stopping = True

    def _next(self, source: Iterator[Extent]) -> Extent | None:
        with self._lock:
            return None if self._stopping else next(source, None)


class _Writing(_Shared):
    def __init__(self, source: DiskSource, file: _Output, wanted: Sequence[Extent]) -> None:
        super().__init__()
        self._source, self._file = source, file
        self._pieces = pieces(wanted)
        self._to_read = total(wanted)
        self.read = self.stored = 0
        self.starts, self.lengths, self.digests = array("Q"), array("Q"), array("Q")

    @property
    def state(self) -> Progress:
        return Progress(self.read, self._to_read, self.stored, 0)

    def work(self) -> None:
        scratch = AlignedBytes(READ)
        while (piece := self._next(self._pieces)) is not None:
            room = scratch.view[: piece.length]
            self._source.read_into(piece.start, room)
            digest = xxhash.xxh3_64_intdigest(room)
            stored = 0
            for first, end in _data(scratch, scratch.pad_grain(piece.length)):
                self._file.write(piece.start + first, scratch.view[first:end])
                stored += min(end, piece.length) - first
            with self._lock:
                self.read += piece.length
                self.stored += stored
                self.starts.append(piece.start)
                self.lengths.append(piece.length)
                self.digests.append(digest)


class _Reading(_Shared):
    def __init__(self, fd: int, raw: RawFile) -> None:
        super().__init__()
        self._fd, self._raw = fd, raw
        self._pieces = map(Extent, raw.starts, raw.lengths)
        self._expected = iter(raw.digests)
        self.done = 0

    def work(self) -> None:
        scratch = AlignedBytes(READ)
        while (job := self._take()) is not None:
            piece, expected = job
            self._fill(piece.start, scratch.view, piece.length)
            if xxhash.xxh3_64_intdigest(scratch.view[: piece.length]) != expected:
                raise VerifyError(
                    f"{self._raw.path}: the {piece.length} bytes from {piece.start} on are not what was written.",
                    hint="Suspect the storage it was written to.",
                )
            with self._lock:
                self.done += piece.length

    def _take(self) -> tuple[Extent, int] | None:
        with self._lock:
            piece = None if self._stopping else next(self._pieces, None)
            return None if piece is None else (piece, next(self._expected))

    def _fill(self, offset: int, buffer: memoryview, length: int) -> None:
        """O_DIRECT wants whole blocks; beyond the end of the file nothing comes."""
        done = 0
        while done < length:
            try:
                got = os.preadv(self._fd, [buffer[done : -(-length // 4096) * 4096]], offset + done)
            except OSError as error:
                raise image_error(error, self._raw.path) from error
            if not got:
                raise VerifyError(f"{self._raw.path} ends at byte {offset + done}, inside the disk.")
            done += got


def _data(scratch: AlignedBytes, end: int) -> Iterator[tuple[int, int]]:
    """The runs of grains that are not all zeros, as (first byte, end)."""
    first = -1
    for at in range(0, end, GRAIN):
        zero = scratch.is_zero_grain(at)
        if zero and first >= 0:
            yield first, at
            first = -1
        elif not zero and first < 0:
            first = at
    if first >= 0:
        yield first, end


def _run(
    work: Callable[[], None], threads: int, cancel: CancelToken, tell: Callable[[], None], stop: Callable[[], None]
) -> None:
    """`work` in each of the threads until all have returned; the first error, or the cancel, stops the others."""
    errors: list[BaseException] = []
    ended = threading.Semaphore(0)

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised again in the calling thread
            errors.append(error)
            stop()
        finally:
            ended.release()

    crew = [threading.Thread(target=guarded, name=f"raw-file-{n}", daemon=True) for n in range(threads)]
    try:
        with cancel.on_cancel(stop):
            for thread in crew:
                thread.start()
            told = time.perf_counter()
            running = len(crew)
            while running:
                running -= ended.acquire(timeout=_TICK)
                if time.perf_counter() - told >= PROGRESS_INTERVAL:
                    told = time.perf_counter()
                    tell()
    finally:
        stop()
        for thread in crew:
            with suppress(RuntimeError):  # never started
                thread.join()
    cancel.check()
    if errors:
        raise errors[0]


def _opened(path: Path, flags: int) -> tuple[int, bool]:
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

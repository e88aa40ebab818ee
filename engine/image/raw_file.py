"""Any disk as one raw file: written by several threads at the places of its data, past the page cache, and read back.

Unlike an export nothing has to be in order: each thread reads (which inflates), finds zeros and writes for itself, so
all cores work and no buffer is copied. What was only zeros stays a hole.
"""

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
from engine.cores import default_threads
from engine.errors import ImageError, VerifyError
from engine.extents import DiskSource, Extent, aligned, total
from engine.image.flat import image_error
from engine.image.pipeline import PROGRESS_INTERVAL, OnProgress
from engine.image.placed_output import PlacedOutput, opened
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
    file = PlacedOutput(target, capacity, exclusive=True)
    try:
        job = _Writing(source, file, wanted)
        _run(job.work, (threads or default_threads()) + _WAITING, cancel, lambda: progress(job.state), job.stop)
        file.close()
    except BaseException:
        file.abort()
        raise
    progress(job.state)
    seconds = time.perf_counter() - began
    return RawFile(target, capacity, job.read, job.stored, job.starts, job.lengths, job.digests, seconds)


def verify_raw(raw: RawFile, *, threads: int, cancel: CancelToken, progress: Callable[[int], None]) -> int:
    """Reads what was written back from the medium and compares; returns the bytes read. Raises `VerifyError`."""
    fd, _ = opened(raw.path, os.O_RDONLY)
    job = _Reading(fd, raw)
    try:
        if os.fstat(fd).st_size != raw.capacity:
            raise VerifyError(f"{raw.path} has {os.fstat(fd).st_size} bytes; the disk has {raw.capacity}.")
        _run(job.work, threads or default_threads(), cancel, lambda: progress(job.done), job.stop)
    finally:
        os.close(fd)
    return job.done


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
    def __init__(self, source: DiskSource, file: PlacedOutput, wanted: Sequence[Extent]) -> None:
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
                self._file.put(piece.start + first, scratch.view[first:end])
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

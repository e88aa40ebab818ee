"""Proof that what lies on the medium is what was written: every file read back and hashed."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from engine.block_hash import BLOCK, BlockHash
from engine.cancel import CancelToken
from engine.cores import default_threads
from engine.errors import VerifyError
from engine.extents import Extent
from engine.page_memory import private_memory
from engine.points.manifest import FileEntry

_READ = 4 << 20
_SECTOR = 4096
"""What O_DIRECT wants."""


class Reader(Protocol):
    """Looks at one file's bytes while they are read back."""

    def take(self, data: memoryview) -> None:
        """The next bytes, up to 4 MiB; their memory is reused when the call returns."""
        ...

    def hole(self, length: int) -> None:
        """The next bytes, zeros, of a file that is hashed by blocks: a hole from a multiple of `BLOCK` on, to another
        or to the end of the file."""
        ...

    def finish(self) -> None:
        """All bytes came, and the file is what was written."""
        ...


def verify_files(
    directory: Path,
    files: Sequence[FileEntry],
    cancel: CancelToken,
    progress: Callable[[int], None] | None = None,
    readers: Mapping[str, Reader] | None = None,
) -> int:
    """Reads each file from the medium, past the page cache where the file system allows it, and compares size and
    SHA-256. Holes of files that are hashed by blocks are not read. Returns the bytes compared; `progress` gets their
    running sum, and of `readers` (by file name) the one of the file its bytes. Raises VerifyError naming the file, and
    what a reader raises."""
    done = 0
    buffer = private_memory(_READ)
    with ExitStack() as opened:
        pool = None
        if any(entry.blocks for entry in files):
            pool = opened.enter_context(ThreadPoolExecutor(default_threads(), thread_name_prefix="verify"))
        for entry in files:
            reader = (readers or {}).get(entry.name)
            look = _Look(entry, reader, BlockHash(pool) if entry.blocks else hashlib.sha256())
            for size in look.through(directory / entry.name, buffer):
                cancel.check()
                if progress is not None:
                    progress(done + size)
            look.compare()
            if reader is not None:
                reader.finish()
            done += entry.size
    return done


class _Look:
    """One file, read to its end."""

    def __init__(self, entry: FileEntry, reader: Reader | None, digest: "BlockHash | hashlib._Hash") -> None:
        if entry.blocks not in (0, BLOCK):
            raise VerifyError(
                f"{entry.name} is hashed by blocks of {entry.blocks:,} bytes, which this version does not know."
            )
        self._entry, self._reader, self._digest = entry, reader, digest
        self._size = 0

    def through(self, path: Path, buffer: memoryview) -> Iterator[int]:
        """Yields the bytes that it has come past."""
        fd = _open_past_cache(path)
        try:
            for extent, hole in _parts(fd, os.fstat(fd).st_size, holes=self._entry.blocks > 0):
                if hole:
                    self._skip(extent.length)
                    yield self._size
                    continue
                while self._size < extent.end:
                    room = buffer[: -(-(extent.end - self._size) // _SECTOR) * _SECTOR]
                    if not (got := os.preadv(fd, [room], self._size)):
                        return
                    self._take(room[:got])
                    yield self._size
        except OSError as error:
            raise VerifyError(
                f"{self._entry.name} can't be read back: {error.strerror}.", fault=type(error).__name__
            ) from error
        finally:
            os.close(fd)

    def _skip(self, length: int) -> None:
        assert isinstance(self._digest, BlockHash)
        if self._reader is not None:
            self._reader.hole(length)
        self._digest.zeros(length)
        self._size += length

    def _take(self, data: memoryview) -> None:
        if self._reader is not None:
            self._reader.take(data)
        self._digest.update(data)
        self._size += len(data)

    def compare(self) -> None:
        entry, found = self._entry, self._digest.hexdigest()
        if self._size != entry.size or found != entry.sha256:
            raise VerifyError(
                f"{entry.name} is not what was written: {self._size} bytes, SHA-256 {found[:16]}...; "
                f"expected {entry.size} bytes, {entry.sha256[:16]}...",
                hint="Suspect the storage under BACKUPROOT; the point was not kept.",
            )


def _parts(fd: int, size: int, *, holes: bool) -> Iterator[tuple[Extent, bool]]:
    """The file from its beginning to its end, and whether a part is a hole; parts begin at blocks."""
    at = 0
    while at < size:
        data = _seek(fd, at, os.SEEK_DATA, size) if holes else at
        begin = size if data == size else data // BLOCK * BLOCK
        if begin > at:
            yield Extent(at, begin - at), True
            at = begin
            continue
        end = -(-_seek(fd, data, os.SEEK_HOLE, size) // BLOCK) * BLOCK if holes else size
        yield Extent(at, min(end, size) - at), False
        at = end


def _seek(fd: int, at: int, how: int, size: int) -> int:
    """Where the next data begin, or the next hole. A file system that cannot tell has no holes."""
    try:
        return min(os.lseek(fd, at, how), size)
    except OSError as error:
        return size if error.errno == errno.ENXIO or how == os.SEEK_HOLE else at


def _open_past_cache(path: Path) -> int:
    """O_DIRECT, or a buffered descriptor whose cached pages were dropped first (tmpfs and some network mounts)."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except FileNotFoundError:
        raise VerifyError(f"{path.name} is missing.") from None
    except OSError:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return fd

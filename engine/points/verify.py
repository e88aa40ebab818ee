"""Proof that what lies on the medium is what was written: every file read back and hashed."""

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from engine.cancel import CancelToken
from engine.errors import VerifyError
from engine.points.manifest import FileEntry

_BLOCK = 4 << 20


class Reader(Protocol):
    """Looks at one file's bytes while they are read back."""

    def take(self, data: memoryview) -> None:
        """The next bytes, up to 4 MiB; their memory is reused when the call returns."""
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
    SHA-256. Returns the bytes read; `progress` gets their running sum, and of `readers` (by file name) the one of the
    file its bytes. Raises VerifyError naming the file, and what a reader raises."""
    done = 0
    buffer = memoryview(mmap.mmap(-1, _BLOCK))  # O_DIRECT needs page-aligned memory
    for entry in files:
        digest = hashlib.sha256()
        reader = (readers or {}).get(entry.name)
        size = 0
        fd = _open_past_cache(directory / entry.name)
        try:
            while got := os.readv(fd, [buffer]):
                cancel.check()
                if reader is not None:
                    reader.take(buffer[:got])
                digest.update(buffer[:got])
                size += got
                if progress is not None:
                    progress(done + size)
        except OSError as error:
            raise VerifyError(
                f"{entry.name} can't be read back: {error.strerror}.", fault=type(error).__name__
            ) from error
        finally:
            os.close(fd)
        if size != entry.size or digest.hexdigest() != entry.sha256:
            raise VerifyError(
                f"{entry.name} is not what was written: {size} bytes, SHA-256 {digest.hexdigest()[:16]}...; "
                f"expected {entry.size} bytes, {entry.sha256[:16]}...",
                hint="Suspect the storage under BACKUPROOT; the point was not kept.",
            )
        if reader is not None:
            reader.finish()
        done += size
    return done


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

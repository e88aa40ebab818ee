"""Part of a disk as a file of its own, for programs that check file systems.

It lies in a directory with room, takes what is not zeros, and goes when the look at it ends. Its flock tells that
somebody looks: what a killed process left behind has none, and goes with the next look.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import TargetFull
from engine.extents import DiskSource, Extent, aligned, intersection, total
from engine.image.direct_output import discard, keep_free, target_error
from engine.image.sparse_header import GRAIN
from engine.image.units import READ, AlignedBytes, pieces

_SLACK = 64 << 20
"""Room for a journal that is replayed into the file."""


PREFIX = ".vcb-drill-"


@dataclass(frozen=True, slots=True)
class Carved:
    """`fd` is open for reading and writing; `stored` bytes are not zeros."""

    path: Path
    fd: int
    stored: int


@contextmanager
def carved(disk: DiskSource, place: Extent, directory: Path, *, floor: int, cancel: CancelToken) -> Iterator[Carved]:
    """Bytes `place` of the disk, while the block runs. `floor` bytes of the directory's file system stay free.

    Memory: 2 MiB. Raises what the disk raises, `TargetFull` before anything is written when it can't hold what is
    allocated there, `TargetError`, `Cancelled`.
    """
    wanted = intersection(aligned(intersection(disk.allocated(), [place]), GRAIN, disk.capacity), [place])
    try:
        for path in abandoned(directory):
            path.unlink(missing_ok=True)
        reserve = keep_free(directory, floor)
        try:
            reserve(total(wanted) + _SLACK)
        except TargetFull:
            raise TargetFull(
                f"{directory} has no room for {total(wanted):,} bytes of scratch.",
                hint="Free space there, or name another directory with --scratch.",
            ) from None
        path, fd = _new_file(directory)
    except OSError as error:
        raise target_error(error, directory) from error
    try:
        yield Carved(path, fd, _fill(disk, place, wanted, fd, path, cancel))
    finally:
        discard(path)
        os.close(fd)


def abandoned(directory: Path) -> Iterator[Path]:
    """What killed processes left in it: regular files of ours that nobody holds."""
    for path in sorted(directory.glob(f"{PREFIX}*")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, another user's, or a symlink
            continue
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                with suppress(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield path
        finally:
            os.close(fd)


def _new_file(directory: Path) -> tuple[Path, int]:
    """Empty, and held by this process."""
    while True:
        path = directory / f"{PREFIX}{secrets.token_hex(8)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:  # else somebody took it for abandoned before it was held
                return path, fd
        os.close(fd)


def _fill(disk: DiskSource, place: Extent, wanted: list[Extent], fd: int, path: Path, cancel: CancelToken) -> int:  # noqa: PLR0917
    stored = 0
    scratch = AlignedBytes(READ)
    try:
        os.ftruncate(fd, place.length)
        for piece in pieces(wanted):
            cancel.check()
            room = scratch.view[: piece.length]
            disk.read_into(piece.start, room)
            for at in range(0, scratch.pad_grain(piece.length), GRAIN):
                data = room[at : at + GRAIN]
                if not scratch.is_zero_grain(at):
                    stored += os.pwrite(fd, data, piece.start - place.start + at)
    except OSError as error:
        raise target_error(error, path) from error
    return stored

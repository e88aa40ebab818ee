"""Removing a restore point so that no half of it is ever taken for a whole one.

A point is first renamed out of BACKUPROOT/points, into a tombstone beside that directory; only then are its files
deleted, the manifest last, because it says which files are ours. A removal that was cut off is completed from the
tombstone by the next one. Everything works on directory descriptors and follows no symlink.
"""

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.errors import PolicyError, TargetError, VcbError
from engine.points import manifest as manifests, proof
from engine.points.confined import is_file, opened
from engine.points.manifest import Manifest
from engine.points.naming import POINTS

TOMBSTONE_PREFIX = ".removing-"
_LARGEST_MANIFEST = 64 << 20
_LAST = (proof.FILE_NAME, manifests.FILE_NAME)


def remove_point(root: Path, point: Path) -> None:
    """Removes BACKUPROOT/points/<vm>/<time>; when the call returns that is durable.

    Raises PolicyError, with nothing changed, when `point` lies anywhere else, or holds anything that its manifest does
    not list. Raises TargetError when the file system refuses; what is left then is a tombstone, never a half point.
    Whether another point needs it is the caller's to know.
    """
    vm, name = _place(root, point)
    tombstone = f"{TOMBSTONE_PREFIX}{vm}-{name}"
    with _refusals(point), opened(root, None) as root_fd, opened(POINTS, root_fd) as points_fd:
        with opened(vm, points_fd) as vm_fd:
            with opened(name, vm_fd) as fd:
                ours(point, fd)
            if _exists(tombstone, root_fd):
                _bury(root / tombstone, root_fd)
            os.rename(name, tombstone, src_dir_fd=vm_fd, dst_dir_fd=root_fd)
            os.fsync(root_fd)
            os.fsync(vm_fd)
        _bury(root / tombstone, root_fd)


def require_only_ours(point: Path) -> None:
    """Raises PolicyError when the point holds anything that its manifest does not list."""
    with _refusals(point), opened(point, None) as fd:
        ours(point, fd)


def bury(root: Path, directory: Path) -> None:
    """Removes a directory with the files of a point that lies two levels below `root`, by way of a tombstone."""
    tombstone = f"{TOMBSTONE_PREFIX}{directory.parent.name.lstrip('.')}"
    with _refusals(directory), opened(root, None) as root_fd:
        with opened(directory.parent.name, root_fd) as parent_fd:
            with opened(directory.name, parent_fd) as fd:
                ours(directory, fd)
            os.rename(directory.name, tombstone, src_dir_fd=parent_fd, dst_dir_fd=root_fd)
        os.fsync(root_fd)
        _bury(root / tombstone, root_fd)


def finish_removals(root: Path) -> tuple[list[Path], list[VcbError]]:
    """Completes every removal that was cut off. Returns the tombstones that are gone, and why others are not."""
    gone: list[Path] = []
    errors: list[VcbError] = []
    for path in tombstones(root):
        try:
            finish_removal(root, path)
            gone.append(path)
        except (PolicyError, TargetError) as error:
            errors.append(error)
    return gone, errors


def finish_removal(root: Path, tombstone: Path) -> None:
    """Completes one removal that was cut off. Raises PolicyError, TargetError."""
    with _refusals(tombstone), opened(root, None) as root_fd:
        _bury(tombstone, root_fd)


def tombstones(root: Path) -> list[Path]:
    """What removals that were cut off have left."""
    return sorted(path for path in root.iterdir() if path.name.startswith(TOMBSTONE_PREFIX))


def plain(name: str) -> bool:
    """Whether a name from a manifest is that of a file in the point's own directory."""
    return bool(name) and name not in (".", "..") and "/" not in name and "\0" not in name


def _bury(tombstone: Path, root_fd: int) -> None:
    with opened(tombstone.name, root_fd) as fd:
        for name in ours(tombstone, fd):
            os.unlink(name, dir_fd=fd)
    os.rmdir(tombstone.name, dir_fd=root_fd)
    os.fsync(root_fd)


def _place(root: Path, point: Path) -> tuple[str, str]:
    """The two names below BACKUPROOT/points."""
    relative = point.relative_to(root / POINTS).parts if point.is_relative_to(root / POINTS) else ()
    if len(relative) != 2 or not all(plain(part) for part in relative):
        raise PolicyError(f"{point} is not a restore point under {root / POINTS}; nothing else is ever deleted.")
    return relative[0], relative[1]


def ours(path: Path, fd: int) -> list[str]:
    """The files of the directory `fd`, all of them listed by its manifest; the manifest is the last. Raises PolicyError
    for anything else in it."""
    present = os.listdir(fd)
    if not present:
        return []
    listed = {entry.name for entry in _manifest(path, fd).file} | {*_LAST, proof.NEW_NAME}
    strangers = [name for name in present if name not in listed or not is_file(name, fd)]
    if strangers:
        raise PolicyError(
            f"{path} holds what its manifest does not list: {', '.join(sorted(strangers))}. Nothing was deleted.",
            hint="Move those away, then try again.",
        )
    return sorted(present, key=lambda name: (name in _LAST, name == manifests.FILE_NAME))


def _manifest(path: Path, fd: int) -> Manifest:
    """Read through the descriptor, so that it is the one that lies there."""
    try:
        opened = os.open(manifests.FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
        with os.fdopen(opened, "rb") as stream:
            return msgspec.convert(tomllib.loads(stream.read(_LARGEST_MANIFEST).decode()), Manifest)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(
            f"{path} has no manifest that can be read, so nothing tells which files are ours. Nothing was deleted.",
            fault=type(error).__name__,
            hint="Look at the directory and remove it by hand.",
        ) from None


def _exists(name: str, fd: int) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(
            f"{path} can't be removed: {error.strerror}.", fault=type(error).__name__, hint="Close what uses it."
        ) from None

"""The mount point of one VM under BACKUPROOT: made, recognised, and removed without touching anything else.

A directory is ours when its marker says so: it is written before anything else, and names the job, the proxy, the
VM, the snapshot, and every file that the run may put there. Deleting works on directory descriptors, follows no
symlink, removes only the files the marker names, and refuses as a whole if anything else lies there.
"""

import os
import stat
import tomllib
from enum import StrEnum
from pathlib import Path

import msgspec
import tomli_w

from engine.errors import PolicyError, TargetError
from engine.points.confined import is_file, opened
from engine.points.naming import PARTIAL_SUFFIX

MARKER = "vcb-mount.toml"


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Whose directory this is. `contents` are all file names a run may create in it."""

    job: str
    proxy: str
    vcenter: str
    vm: str
    vm_name: str
    snapshot_policy: str
    contents: list[str]
    snapshot: str = ""
    """Moref of the snapshot that belongs to the mount point, once it is known."""
    adopted: bool = False
    """The operator declared that snapshot removable; its own description doesn't prove it ours."""


class State(StrEnum):
    """What lies where a mount point should go."""

    ABSENT = "nothing"
    OURS = "ours"
    STRANGER = "a stranger's"
    SYMLINK = "a symlink"


class Found(msgspec.Struct, frozen=True):
    state: State
    path: Path
    marker: Marker | None = None
    why: str = ""


def backuproot(path: Path) -> Path:
    """BACKUPROOT resolved. It must exist (VCB never creates it) and be a writable directory."""
    try:
        resolved = path.resolve(strict=True)
    except OSError as error:
        raise TargetError(
            f"BACKUPROOT {path} can't be used: {error.strerror}.",
            fault=type(error).__name__,
            hint="Create the directory, or set BACKUPROOT to one that exists.",
        ) from None
    if not resolved.is_dir():
        raise TargetError(f"BACKUPROOT {path} is not a directory.")
    if not os.access(resolved, os.W_OK | os.X_OK):
        raise TargetError(f"BACKUPROOT {path} is not writable for this user.")
    return resolved


def inspect(path: Path, *, proxy: str, vcenter: str, vm: str) -> Found:
    """What lies at `path`, and whether it is provably this proxy's mount point of this VM."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return Found(State.ABSENT, path)
    if stat.S_ISLNK(mode):
        return Found(State.SYMLINK, path, why="it is a symbolic link")
    if not stat.S_ISDIR(mode):
        return Found(State.STRANGER, path, why="it is not a directory")
    marker = read_marker(path)
    if marker is None:
        return Found(State.STRANGER, path, why=f"it holds no {MARKER}")
    if (marker.proxy, marker.vcenter, marker.vm) != (proxy, vcenter, vm):
        return Found(State.STRANGER, path, marker, why=f"its {MARKER} names another proxy, vCenter or VM")
    return Found(State.OURS, path, marker)


def read_marker(path: Path) -> Marker | None:
    """The marker of a directory, or None when there is none that can be understood."""
    try:
        with open(path / MARKER, "rb", opener=_no_symlink) as stream:
            return msgspec.convert(tomllib.loads(stream.read().decode()), Marker)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Puts or replaces the marker, durable when the call returns."""
    temporary = path / (MARKER + ".new")
    with temporary.open("wb") as stream:
        stream.write(tomli_w.dumps(msgspec.to_builtins(marker)).encode())
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path / MARKER)
    fsync_directory(path)


def create(path: Path, marker: Marker) -> None:
    """Makes the directory with its marker inside. Raises TargetError, also when something appeared there meanwhile."""
    try:
        path.mkdir(mode=0o700)
        write_marker(path, marker)
        fsync_directory(path.parent)
    except OSError as error:
        raise TargetError(f"{path} can't be created: {error.strerror}.", fault=type(error).__name__) from None


def remove(path: Path, marker: Marker, root: Path) -> None:
    """Deletes a mount point of ours. Raises PolicyError when anything in it isn't ours, TargetError when the file
    system refuses; `path` must lie directly in `root`."""
    if path.parent != root:
        raise PolicyError(f"{path} does not lie in BACKUPROOT {root}; nothing outside it is ever deleted.")
    try:
        with opened(root, None) as root_fd, opened(path.name, root_fd) as directory_fd:
            _remove_contents(path, marker, directory_fd)
            os.rmdir(path.name, dir_fd=root_fd)
            os.fsync(root_fd)
    except OSError as error:
        raise TargetError(
            f"{path} can't be removed: {error.strerror}.", fault=type(error).__name__, hint="Close what uses it."
        ) from None


def require_only_ours(path: Path, marker: Marker) -> None:
    """Raises PolicyError naming what lies in a mount point that the marker doesn't announce."""
    with opened(path, None) as fd:
        _announced(path, marker, fd)


def _remove_contents(path: Path, marker: Marker, directory_fd: int) -> None:
    present = _announced(path, marker, directory_fd)
    for name in sorted(present, key=lambda name: name == MARKER):  # the marker goes last: it proves the rest is ours
        os.unlink(name, dir_fd=directory_fd)


def _announced(path: Path, marker: Marker, directory_fd: int) -> list[str]:
    """What is in the directory, all of it ours."""
    expected = {*marker.contents, MARKER, MARKER + ".new"}
    present = os.listdir(directory_fd)
    strangers = [name for name in present if name not in expected or not is_file(name, directory_fd)]
    if strangers:
        raise PolicyError(
            f"{path} holds what vcb-console did not write: {', '.join(sorted(strangers))}. Nothing was deleted.",
            hint="Move those away, then try again.",
        )
    return present


def partial(path: Path) -> Path:
    """Where a mount point or restore point grows until it is proven."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


def fsync_directory(path: Path) -> None:
    with opened(path, None) as fd:
        os.fsync(fd)


def _no_symlink(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)

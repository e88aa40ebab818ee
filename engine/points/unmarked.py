"""A run's directory whose marker is not there: the run was killed before it was written, or just after it was taken
away because the directory was about to become a restore point. Only a ledger proves whose it is; what may be in it is
what its manifest lists, or nothing."""

import os
from pathlib import Path

from engine.errors import PolicyError, TargetError
from engine.points import manifest as manifests
from engine.points.confined import is_file, opened
from engine.points.mount_point import MARKER
from engine.points.removal import ours


def require_only_ours(path: Path) -> None:
    """Raises PolicyError naming what lies in it that a run of ours does not explain."""
    with opened(path, None) as fd:
        _files(path, fd)


def remove(path: Path, root: Path) -> None:
    """Deletes it; it must lie directly in `root`. Raises PolicyError when anything else is in it, TargetError when the
    file system refuses."""
    if path.parent != root:
        raise PolicyError(f"{path} does not lie in BACKUPROOT {root}; nothing outside it is ever deleted.")
    try:
        with opened(root, None) as root_fd, opened(path.name, root_fd) as fd:
            for name in _files(path, fd):
                os.unlink(name, dir_fd=fd)
            os.rmdir(path.name, dir_fd=root_fd)
            os.fsync(root_fd)
    except OSError as error:
        raise TargetError(f"{path} can't be removed: {error.strerror}.", fault=type(error).__name__) from None


def _files(path: Path, fd: int) -> list[str]:
    present = os.listdir(fd)
    if manifests.FILE_NAME in present:
        return ours(path, fd)
    strangers = [name for name in present if name != f"{MARKER}.new" or not is_file(name, fd)]
    if strangers:
        raise PolicyError(f"{path} holds what nothing explains: {', '.join(sorted(strangers))}. Nothing was deleted.")
    return present

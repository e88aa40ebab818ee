"""Directories by descriptor: what is deleted is what was looked at, and no symlink leads anywhere else."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened(name: Path | str, parent_fd: int | None) -> Iterator[int]:
    """A descriptor of a directory that is no symlink. Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def is_file(name: str, directory_fd: int) -> bool:
    """Whether it is a regular file, itself and not by way of a symlink."""
    return stat.S_ISREG(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode)

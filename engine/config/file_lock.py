"""One writer at a time: an advisory lock (flock) on the configuration file itself.

Nothing lies about afterwards: the kernel releases the lock with the process. A save replaces the file, so a lock counts
only while the path still names the file that was locked; whoever waited for an older one takes the new one. The new
file comes into place locked (see whole_file), so that a save ends before the next one begins.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine.errors import BusyError

PATIENCE = 2.0
"""Seconds to wait for another save, which takes a moment."""
_PAUSE = 0.02
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Held(NamedTuple):
    """`fd` is open for reading and writing, or None where there is no file. `note` tells of missing locks."""

    fd: int | None
    note: str = ""


@contextmanager
def locked(path: Path) -> Iterator[Held]:
    """Holds the lock of a file. Raises BusyError after PATIENCE seconds, OSError when it cannot be opened."""
    held = _acquire(path, time.monotonic() + PATIENCE)
    try:
        yield held
    finally:
        if held.fd is not None:
            os.close(held.fd)


def _acquire(path: Path, deadline: float) -> Held:
    while True:
        try:
            # for writing, though nothing is written: NFS locks no other way, and a file that refuses says so here
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return Held(None)
        try:
            note = _lock(fd, path, deadline)
            if _is_at(fd, path):
                return Held(fd, note)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, path: Path, deadline: float) -> str:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BusyError(f"Another program is saving {path} just now.", hint="Try again.") from None
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return f"The file system of {path} has no locks: another program could have saved it at the same time."
        else:
            return ""


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False

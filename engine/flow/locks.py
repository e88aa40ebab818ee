"""One job a VM: two of them would remove each other's snapshots."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import BusyError
from engine.state_directory import StateDirectory


@contextmanager
def vm_lock(state: StateDirectory, vcenter: str, moref: str, job_id: str) -> Iterator[None]:
    """Held while a job works on a VM; the kernel releases it with the process, so it can't go stale."""
    path = state.locks / f"{vcenter}-{moref}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another job"
            raise BusyError(
                f"{holder} of this proxy is working on this VM.", hint="Wait until it ends, or cancel it."
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"job {job_id} (process {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(fd)

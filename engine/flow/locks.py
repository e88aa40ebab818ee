"""Who works on a VM, and who uses a BACKUPROOT: two jobs would take each other's things away.

A lock is the kernel's flock on a file, which ends with the process that holds it; what the file says names the holder.
A child that inherited the descriptor would keep the flock of a dead holder: then pid, start time and boot id tell that
nobody is there any more, and the lock is taken over.
"""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import BusyError, TargetError, TargetFull
from engine.process_identity import ProcessIdentity
from engine.state_directory import StateDirectory

ROOT_LOCK = ".vcb-lock"
"""In BACKUPROOT, while a job uses it."""
_LONGEST = 4096
_OPENING = b'{"job": "'
"""How each lock file of ours begins."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock. `since` is in seconds since the epoch, by the holder's clock."""

    job: str
    proxy: str
    host: str
    since: float
    process: ProcessIdentity

    @classmethod
    def me(cls, job_id: str, proxy: str) -> "Holder":
        return cls(job_id, proxy, platform.node(), time.time(), ProcessIdentity.mine())

    @classmethod
    def parse(cls, data: bytes) -> "Holder | None":
        """What `to_bytes` wrote; None for anything else, such as a lock whose holder has not written yet."""
        try:
            shape = json.loads(data)
            process = ProcessIdentity.parse(shape.pop("process"))
            return cls(**shape, process=process) if process else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def to_bytes(self) -> bytes:
        shape = {"job": self.job, "proxy": self.proxy, "host": self.host, "since": self.since}
        return json.dumps(shape | {"process": str(self.process)}).encode()

    @property
    def dead(self) -> bool:
        """Certain only for a process of this boot: another boot id may be another machine, on shared storage."""
        return self.process.boot == ProcessIdentity.mine().boot and not self.process.alive

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC)
        return f"job {self.job} (process {self.process.pid} on {self.host}), since {since:%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def vm_lock(state: StateDirectory, vcenter: str, moref: str, job_id: str) -> Iterator[None]:
    """Held while a job works on a VM. Raises BusyError naming who does, and since when."""

    def busy(holder: Holder | None) -> BusyError:
        who = str(holder) if holder else "another job"
        return BusyError(
            f"This VM is being worked on by {who}.", hint="Wait until it ends, or cancel it: vcb jobs, vcb cancel."
        )

    fd = _taken(state.locks / f"{vcenter}-{moref}.lock", busy)
    try:
        _say(fd, Holder.me(job_id, state.proxy_id))
        yield
    finally:
        os.close(fd)


def vm_holder(state: StateDirectory, vcenter: str, moref: str) -> Holder | None:
    """Which other process works on a VM; None when nobody does, or this one."""
    try:
        fd = os.open(state.locks / f"{vcenter}-{moref}.lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = Holder.parse(os.pread(fd, _LONGEST, 0))
        return None if holder is None or holder.dead or holder.process == ProcessIdentity.mine() else holder
    finally:
        os.close(fd)
    return None


@contextmanager
def root_lock(root: Path, state: StateDirectory, job_id: str, left: list[str] | None = None) -> Iterator[None]:
    """Held while a job uses BACKUPROOT: the jobs of one proxy share it, another proxy is refused with BusyError.

    Raises TargetError when the file can't be made. The last to leave takes the file away; where that fails, `left`
    gets a line about it.
    """
    path, mine = root / ROOT_LOCK, Holder.me(job_id, state.proxy_id)
    fd = _shared(path, mine)
    try:
        yield
    finally:
        why = _leave(path, fd)
        if why and left is not None:
            left.append(f"the lock file {path} ({why}); it stops nobody, and the next job takes it away")


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A lock file of BACKUPROOT that nobody holds. `holder` is None for one that names nobody: its maker ended before
    it had written all of it."""

    path: Path
    holder: Holder | None


def abandoned(root: Path) -> Abandoned | None:
    """The lock file of BACKUPROOT, left behind; None when there is none, somebody holds it, or it is not a job's."""
    path = root / ROOT_LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        said = os.pread(fd, _LONGEST, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    ours = said.startswith(_OPENING) or _OPENING.startswith(said)
    return Abandoned(path, Holder.parse(said)) if ours else None


def _leave(path: Path, fd: int) -> str:
    """Why the file stays, though nobody holds it; "" when it doesn't."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same(fd, path):
            path.unlink()
    except BlockingIOError:  # others are still there
        return ""
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        os.close(fd)
    return ""


def _shared(path: Path, mine: Holder) -> int:
    """Whoever is alone writes whose BACKUPROOT it is; whoever comes later reads it."""
    try:
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                holder = _joined(fd, mine)
                if holder is not None and holder.proxy != mine.proxy:
                    raise BusyError(
                        f"BACKUPROOT {path.parent} is in use by another proxy ({holder.proxy}): {holder}.",
                        hint="Give each proxy a BACKUPROOT of its own, or wait until that one is done.",
                    )
                if _same(fd, path):
                    return fd
            except (OSError, BusyError):
                _leave(path, fd)
                raise
            os.close(fd)
    except OSError as error:
        kind = TargetFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else TargetError
        raise kind(f"{path} can't be made: {error.strerror}.", fault=type(error).__name__) from None


def _joined(fd: int, mine: Holder) -> Holder | None:
    """Shares the lock, after having written oneself into it if nobody holds it; returns whom it names then."""
    with suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _say(fd, mine)
    fcntl.flock(fd, fcntl.LOCK_SH)  # who has it alone has it for a moment only
    return Holder.parse(os.pread(fd, _LONGEST, 0))


def _taken(path: Path, busy: Callable[[Holder | None], BusyError]) -> int:
    """A descriptor that holds the file's flock alone."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = Holder.parse(os.pread(fd, _LONGEST, 0))
            if holder is None or not holder.dead:
                os.close(fd)
                raise busy(holder) from None
            _break(path, fd)
        else:
            if _same(fd, path):
                return fd
        os.close(fd)


def _break(path: Path, fd: int) -> None:
    """Takes the name away from a lock whose holder is dead; one at a time, so that nobody breaks its successor's."""
    guard = os.open(path.with_suffix(".guard"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _same(fd, path):
            path.unlink()
    finally:
        os.close(guard)


def _same(fd: int, path: Path) -> bool:
    """Whether the descriptor's file still has the name."""
    try:
        there, held = path.lstat(), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _say(fd: int, holder: Holder) -> None:
    data = holder.to_bytes()
    os.pwrite(fd, data, 0)
    os.ftruncate(fd, len(data))

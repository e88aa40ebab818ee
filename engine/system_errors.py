"""What the operating system refuses, in an operator's words: for the places where a job ends, whatever it was doing."""

import errno
import os

from engine.errors import TargetError, TargetFull, VcbError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
NO_THREAD = "can't start new thread"
"""Python's words (a RuntimeError) when the process table, or this user's share of it, is full."""


def from_system(error: BaseException) -> VcbError | None:
    """The engine's error for one of the system's; None for anything else, which is a defect."""
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return VcbError(
            "The system starts no more threads for this user.",
            fault="EAGAIN",
            hint="Look at what fills the process table (ps), or raise its limit: ulimit -u, TasksMax.",
        )
    if isinstance(error, MemoryError):
        return VcbError(
            "This machine has no memory left for the job.", fault="ENOMEM", hint="Run fewer jobs at once: --parallel."
        )
    if not isinstance(error, OSError) or error.errno is None:
        return None
    fault = errno.errorcode.get(error.errno, type(error).__name__)
    where = _where(error)
    if error.errno in _NO_DESCRIPTOR:
        return VcbError(
            f"This process may open no more files ({where}).",
            fault=fault,
            hint="Raise the limit (ulimit -n, LimitNOFILE), or run fewer jobs at once: --parallel.",
        )
    if error.errno in _NO_SPACE:
        return TargetFull(f"No space is left for {where}.", fault=fault)
    return TargetError(f"The file system refuses {where}: {os.strerror(error.errno)}.", fault=fault)


def _where(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) else "a file of the job"

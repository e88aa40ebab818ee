"""Which process is meant: a pid alone names another one tomorrow."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_START_FIELD = 22
"""starttime of /proc/PID/stat, in clock ticks since boot (proc(5))."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of one boot of this machine; `started` is in clock ticks since that boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def mine(cls) -> "ProcessIdentity":
        pid = os.getpid()
        return cls(pid, _started(pid), boot_id())

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity | None":
        """What `str` wrote; None for anything else."""
        words = text.split()
        if len(words) != 3 or not (words[0].isdigit() and words[1].isdigit()):
            return None
        return cls(int(words[0]), int(words[1]), words[2])

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.boot}"

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs: same boot, same start time, and not a zombie."""
        return self.boot == boot_id() and _started(self.pid) == self.started

    def terminate(self) -> bool:
        """Asks exactly this process to end (SIGTERM); False when it is gone. Its pid can't be taken by another one
        between the check and the signal: the pidfd holds it."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:
                return False
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                return True
            return False
        finally:
            os.close(descriptor)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int:
    """0 when there is no such process, or only its zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()  # the program's name may hold anything, parentheses too
    return 0 if fields[0] in ("Z", "X") else int(fields[_START_FIELD - 3])

"""The ledger: every side effect is written down, and on disk, before it is done.

One `ledger.jsonl` a job. An entry is an intent; a later line with the same number tells its fate: `done` (the thing
exists), `undone` (it is gone again), `left` (it stays, and why). Whoever reads the ledger of a dead job knows what may
have been left behind: each entry whose last word is `intent` or `done`.

The job holds its ledger's flock as long as it lives, so that everybody can tell a dead job from one that works.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from engine.errors import BusyError
from engine.process_identity import ProcessIdentity
from engine.state_directory import private_directory

FILE_NAME = "ledger.jsonl"


class Kind(StrEnum):
    """What a job can leave behind."""

    JOB = "job"
    SNAPSHOT = "snapshot"
    DIRECTORY = "directory"
    LEASE = "lease"
    VM = "vm"
    DISK = "disk"
    ATTACHMENT = "attachment"
    """A frozen disk on the proxy's own VM."""
    CONTENTS = "disk contents"
    """A disk of production that is being written over; nothing but finishing it makes that good."""


class Fate(StrEnum):
    INTENT = "intent"
    DONE = "done"
    UNDONE = "undone"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Entry:
    """One side effect as its last line tells it; `details` are merged over its lines."""

    number: int
    kind: Kind
    fate: Fate
    at: float
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """True while something may exist that nobody has accounted for."""
        return self.fate in (Fate.INTENT, Fate.DONE)

    def __str__(self) -> str:
        what = self.details.get("path") or self.details.get("moref") or self.details.get("name", "")
        return f"{self.kind} {what}".strip()


class Ledger:
    """Appends to one job's ledger; each line is fsynced before the call returns. The file is made by the first line:
    a job that touched nothing leaves no ledger."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._entries: dict[int, Entry] = {}
        self._fd = -1

    @classmethod
    def resume(cls, directory: Path) -> "Ledger":
        """The ledger of a dead job, to be told what became of its entries. Raises BusyError when the job lives."""
        ledger = cls(directory)
        ledger._open()
        ledger._entries = {entry.number: entry for entry in read(ledger.path)}
        return ledger

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def intent(self, kind: Kind, **details: Any) -> int:
        """Announces a side effect; returns the number under which its fate is reported."""
        number = len(self._entries) + 1
        if kind is Kind.JOB:
            details = {**details, "process": str(ProcessIdentity.mine())}
        self._write(Entry(number, kind, Fate.INTENT, time.time(), details))
        return number

    def done(self, number: int, **details: Any) -> None:
        self._follow(number, Fate.DONE, details)

    def undone(self, number: int, **details: Any) -> None:
        self._follow(number, Fate.UNDONE, details)

    def left(self, number: int, why: str, **details: Any) -> None:
        """It stays on purpose (a policy, a restore point), or because its removal failed."""
        self._follow(number, Fate.LEFT, {**details, "why": why})

    def open_entries(self) -> list[Entry]:
        """What is there and must be undone, newest first."""
        return [entry for entry in reversed(self._entries.values()) if entry.open and entry.kind is not Kind.JOB]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _follow(self, number: int, fate: Fate, details: dict[str, Any]) -> None:
        before = self._entries[number]
        self._write(Entry(number, before.kind, fate, time.time(), {**before.details, **details}))

    def _write(self, entry: Entry) -> None:
        if self._fd < 0:
            self._open()
        line = {"number": entry.number, "kind": entry.kind, "fate": entry.fate, "at": entry.at, **entry.details}
        _end_torn_line(self._fd)  # of a write before that failed half way
        os.write(self._fd, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        os.fsync(self._fd)
        self._entries[entry.number] = entry

    def _open(self) -> None:
        private_directory(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise BusyError(f"Job {self.path.parent.name} is being worked on by another process.") from None
        self._fd = fd
        for directory in self.path.parents[
            :3
        ]:  # the job's, the jobs', the state's: each may be new, and lost with power
            _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _end_torn_line(fd: int) -> None:
    """A line that a power loss or a full disk cut off is taken away, so that the next one stands alone."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    if data and not data.endswith(b"\n"):
        os.ftruncate(fd, data.rfind(b"\n") + 1)


def in_use(path: Path) -> bool:
    """Whether the job that writes this ledger still lives: its flock is held, and not by an heir of the dead."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        header = next((entry for entry in read(path) if entry.kind is Kind.JOB), None)
        process = ProcessIdentity.parse(header.details.get("process", "")) if header else None
        return process is None or process.alive
    else:
        return False
    finally:
        os.close(fd)


def read(path: Path) -> list[Entry]:
    """The entries of a ledger file, each with its last fate. A torn last line (power loss) is ignored."""
    entries: dict[int, Entry] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        fields = json.loads(line)
        number, kind, fate, at = (fields.pop(name) for name in ("number", "kind", "fate", "at"))
        details = {**entries[number].details, **fields} if number in entries else fields
        entries[number] = Entry(number, Kind(kind), Fate(fate), at, details)
    return list(entries.values())


def ledgers(jobs: Path) -> Iterator[tuple[str, list[Entry]]]:
    """(job id, entries) of every ledger under the jobs directory, oldest job first."""
    for path in sorted(jobs.glob(f"*/{FILE_NAME}")):
        yield path.parent.name, read(path)


def left_behind(jobs: Path) -> Iterator[str]:
    """One sentence for each dead job whose ledger leaves something open: what every start tells, without a vCenter."""
    for path in sorted(jobs.glob(f"*/{FILE_NAME}")):
        if in_use(path):
            continue
        job = path.parent.name
        try:
            left = [str(entry) for entry in read(path) if entry.open and entry.kind is not Kind.JOB]
        except (OSError, ValueError, KeyError):
            yield f"The ledger of job {job} can't be read: {path}"
            continue
        if left:
            yield f"Job {job} ended without undoing: {', '.join(left)}. vcb reconcile looks whether it is still there."

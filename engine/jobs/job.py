"""One job as it lies on disk: seen from outside, by anybody who may read its directory."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.errors import ConnectError
from engine.events import ResultState
from engine.flow import ledger
from engine.jobs import control
from engine.jobs.request import Request, read_request
from engine.jobs.state import JobState, read_state
from engine.jobs.tail import JournalReader
from engine.process_identity import ProcessIdentity
from engine.secret import redact

LOCK = "lock"
ERRORS = "worker.err"
"""Standard output and standard error of the worker: empty, unless it met a defect."""

_ENDED = frozenset(state.value for state in ResultState)


class Condition(StrEnum):
    """What the outside can know of a job for certain."""

    RUNNING = "running"
    ENDED = "ended"
    DEAD = "dead"
    """Its worker is gone without having said how the job ended."""


@dataclass(frozen=True)
class Job:
    """One job's directory. `condition`, `state` and `leftovers` are read anew at each call."""

    directory: Path

    @property
    def id(self) -> str:
        return self.directory.name

    @cached_property
    def request(self) -> Request:
        """Raises ConfigError when it can't be read."""
        return read_request(self.directory)

    @property
    def state(self) -> JobState:
        """What the worker last said; as requested, when it never said anything."""
        return read_state(self.directory) or JobState.of(self.request)

    @property
    def alive(self) -> bool:
        """The lock is held, and by the process that wrote itself into it (or by its starter, which has not yet). A
        child that inherited the lock, or another process with the same pid, keeps no job alive."""
        try:
            fd = os.open(self.directory / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            identity = self.worker
            return identity is None or identity.alive
        else:
            return False
        finally:
            os.close(fd)

    @property
    def worker(self) -> ProcessIdentity | None:
        """The process that runs or ran it; None before it has said so."""
        return ProcessIdentity.parse((self.directory / LOCK).read_text(errors="replace"))

    @property
    def condition(self) -> Condition:
        if self.alive:
            return Condition.RUNNING
        state = read_state(self.directory)
        return Condition.ENDED if state and state.state in _ENDED else Condition.DEAD

    @property
    def leftovers(self) -> list[ledger.Entry]:
        """What its ledgers leave open: side effects that nobody has accounted for."""
        entries = (entry for path in self._ledgers() for entry in ledger.read(path))
        return [entry for entry in entries if entry.open and entry.kind is not ledger.Kind.JOB]

    @property
    def last_words(self) -> str:
        """The last line that the worker wrote to its standard error; "" when it had nothing to say."""
        try:
            lines = (self.directory / ERRORS).read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return redact(lines[-1]) if lines else ""

    def reader(self, *, trace: bool = True) -> JournalReader:
        return JournalReader(self.directory, trace=trace)

    def ping(self) -> dict[str, Any]:
        """What the running worker says of itself. Raises ConnectError."""
        return control.ask(self.directory, do="ping")

    def set_loglevel(self, level: int) -> None:
        """What the running job records from now on, 0 to 6. Raises ConnectError."""
        control.ask(self.directory, do="loglevel", level=level)

    def cancel(self) -> None:
        """Asks the worker to undo what it did and end; by signal where its socket does not answer. Raises ConnectError
        when it can't be reached at all."""
        try:
            control.ask(self.directory, do="cancel")
        except ConnectError:
            identity = self.worker if self.alive else None
            if identity is None or not identity.terminate():
                raise

    def parts(self) -> list[Path]:
        """The directories of the job: its own, and those of the ledgers of its second and later parts."""
        return [self.directory, *sorted(self.directory.parent.glob(f"{self.id}.*"))]

    @property
    def resumable(self) -> set[str]:
        """The parts (`Request.part_id`) that left a snapshot, on which another job can go on."""
        return {
            path.parent.name
            for path in self._ledgers()
            if any(entry.open and entry.kind is ledger.Kind.SNAPSHOT for entry in ledger.read(path))
        }

    def _ledgers(self) -> Iterator[Path]:
        for directory in self.parts():
            if (path := directory / ledger.FILE_NAME).exists():
                yield path

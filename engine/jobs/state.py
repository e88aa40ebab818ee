"""Where a job stands, without reading its journal: `state.json`, renamed into place at most four times a second."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from engine.events import (
    DiskEnded,
    DiskProgress,
    DiskStarted,
    Event,
    JobEnded,
    PlanMade,
    Result,
    ResultState,
    StageEnded,
    StageStarted,
)
from engine.jobs.request import Request

FILE_NAME = "state.json"
_EVERY = 0.25
_WORST_FIRST = (ResultState.CANCELLED, ResultState.FAILURE, ResultState.EXCEPTIONS, ResultState.SUCCESS)


class DiskState(msgspec.Struct, omit_defaults=True):
    """Bytes; `to_read` is 0 where nobody knows it beforehand."""

    to_read: int = 0
    read: int = 0
    stored: int = 0
    ended: bool = False


class PartState(msgspec.Struct, omit_defaults=True):
    """One VM of the job. `state` is waiting, running, or the result's; `job` its ledger's id. `moref` and `vcenter`,
    the instance UUID in which it means this VM, are "" before the plan."""

    subject: str
    job: str
    state: str = "waiting"
    vm: str = ""
    stage: str = ""
    sentence: str = ""
    point: str = ""
    moref: str = ""
    vcenter: str = ""
    disks: dict[str, DiskState] = {}

    def follow(self, event: Event) -> None:
        self.vm = event.vm or self.vm
        match event:
            case StageStarted():
                self.state, self.stage = "running", event.stage
            case StageEnded():
                self.stage = ""
            case PlanMade():
                self.vm = event.plan.get("vm", self.vm)
                self.moref, self.vcenter = event.plan.get("moref", ""), event.plan.get("vcenter", "")
            case DiskStarted():
                self.disks[event.disk] = DiskState(to_read=event.to_read)
            case DiskProgress() if event.disk in self.disks:
                disk = self.disks[event.disk]
                disk.to_read, disk.read, disk.stored = event.to_read or disk.to_read, event.read, event.stored
            case DiskEnded() if event.disk in self.disks:
                disk = self.disks[event.disk]
                disk.read, disk.stored, disk.ended = event.read, event.stored, True
            case Result():
                self.state, self.stage, self.sentence = event.state, "", event.sentence
                self.point = event.summary.get("point") or ""


class JobState(msgspec.Struct, omit_defaults=True):
    """The whole job. `state` is starting, running, cancelling, or how it ended; `seq` the newest event in it; `server`
    the HOST:PORT of its settings."""

    job: str
    act: str
    loglevel: int
    parts: list[PartState]
    state: str = "starting"
    pid: int = 0
    seq: int = 0
    started: float = 0.0
    ended: float = 0.0
    server: str = ""

    @classmethod
    def of(cls, request: Request) -> "JobState":
        names = dict(enumerate(request.names, 1))
        parts = [
            PartState(subject, request.part_id(number), vm=names.get(number, ""), disks={})
            for number, subject in enumerate(request.subjects, 1)
        ]
        server = f"{request.settings.HOST}:{request.settings.PORT}"
        return cls(request.job, request.act.value, request.settings.LOGLEVEL, parts, started=time.time(), server=server)

    def follow(self, event: Event, part: int) -> None:
        """Brings the picture up to date with one event of the journal."""
        if isinstance(event, JobEnded):
            self.state, self.ended = event.state, event.at
        elif 0 < part <= len(self.parts):
            self.parts[part - 1].follow(event)

    @property
    def results(self) -> list[ResultState]:
        known = set(ResultState)
        return [ResultState(part.state) for part in self.parts if part.state in known]


def worst(states: Iterable[ResultState]) -> ResultState:
    """What a job with these results is as a whole; one without any has failed."""
    given = set(states)
    return next((state for state in _WORST_FIRST if state in given), ResultState.FAILURE)


def read_state(directory: Path) -> JobState | None:
    """None when the job's worker has not written any yet, or a newer version wrote another kind."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=JobState)
    except (OSError, msgspec.DecodeError):
        return None


class StateFile:
    """Follows the events of a job and keeps `state.json` up to date, from a thread of its own."""

    def __init__(self, directory: Path, state: JobState) -> None:
        self._directory = directory
        self._state = state
        self._lock = threading.Lock()
        self._changed = True
        self._closing = threading.Event()
        self._save()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    def follow(self, event: Event, part: int, seq: int) -> None:
        with self._lock:
            self._state.follow(event, part)
            self._state.seq = max(self._state.seq, seq)
            self._changed = True

    def note(self, **fields: Any) -> None:
        """Facts that no event carries: `state`, `loglevel`, `pid`."""
        with self._lock:
            for name, value in fields.items():
                setattr(self._state, name, value)
            self._changed = True

    @property
    def results(self) -> list[ResultState]:
        with self._lock:
            return self._state.results

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._save()

    def _run(self) -> None:
        while not self._closing.wait(_EVERY):
            self._save()

    def _save(self) -> None:
        """A disk that refuses is tried again at the next turn; the job goes on."""
        with self._lock:
            if not self._changed:
                return
            data, self._changed = msgspec.json.encode(self._state), False
        fresh = self._directory / f"{FILE_NAME}.new"
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            fresh.replace(self._directory / FILE_NAME)
        except OSError:
            with self._lock:
                self._changed = True

"""Follows what workers write, in a thread: which jobs there are, and the journal of the one that is watched.

The console's widgets never wait for a file: they are told once that something has changed, and take all of it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import ConfigError
from engine.jobs import request as requests
from engine.jobs.job import Condition, Job
from engine.jobs.journal import JOURNAL, TRACE, files_of
from engine.jobs.state import FILE_NAME as STATE, JobState
from engine.jobs.tail import Entry, FileTail

_TICK = 0.1
_QUIET_TICK = 0.5
_LIST_EVERY = 0.5
"""Seconds between two looks: at the watched job while it runs, at it while nothing does, at the list of jobs."""
_READ_AT_ONCE = 256 << 10
"""Bytes of journal decoded without letting the console's own thread in between."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the list. `state` is running, cancelling, how it ended, or dead. Bytes; `ended` is 0.0 while it
    runs. `leftovers` are what its ledgers leave open, told only of jobs that don't run."""

    id: str
    act: str
    state: str
    subjects: tuple[str, ...]
    vms: tuple[str, ...]
    started: float
    ended: float
    read: int
    to_read: int
    loglevel: int
    sentence: str = ""
    stage: str = ""
    leftovers: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.state in ("starting", "running", "cancelling")


@dataclass(slots=True)
class Update:
    """What came since the last call. `jobs` is None while the list is the same; `grown` tells that the files of the
    watched job, `watched`, have."""

    jobs: tuple[JobRow, ...] | None
    watched: str
    entries: list[Entry]
    grown: bool


class JobFeed:
    """`changed` is called from the feed's thread, once for all that `take` then returns."""

    def __init__(self, directory: Path, changed: Callable[[], None]) -> None:
        self._directory, self._changed = directory, changed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._watched = ""
        self._tail: FileTail | None = None
        self._sizes: tuple[int, ...] = ()
        self._rows: dict[str, tuple[float, JobRow]] = {}
        self._told = False
        self._update = Update(None, "", [], False)
        self._listed: tuple[JobRow, ...] | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def watch(self, job_id: str) -> None:
        """Follows the journal of this job, from its beginning."""
        with self._lock:
            self._watched = job_id
            self._tail = FileTail(self._directory / job_id) if job_id else None
            self._sizes = ()
            self._update = replace(self._update, watched=job_id, entries=[], grown=False)
        self._wake.set()

    def take(self) -> Update:
        with self._lock:
            update, self._told = self._update, False
            self._update = Update(None, update.watched, [], False)
            return update

    def _run(self) -> None:
        waited = _LIST_EVERY
        while not self._stopped:
            if waited >= _LIST_EVERY:
                waited = 0.0
                self._list()
            more = self._follow()
            pause = 0.001 if more else _TICK if self._busy else _QUIET_TICK
            self._wake.wait(pause)
            self._wake.clear()
            waited += pause

    @property
    def _busy(self) -> bool:
        return any(row.running for _, row in self._rows.values())

    def _list(self) -> None:
        """Jobs that have ended are read once; the others whenever their state was written."""
        found: dict[str, tuple[float, JobRow]] = {}
        try:
            paths = sorted(self._directory.glob(f"*/{requests.FILE_NAME}"), reverse=True)
        except OSError:
            paths = []
        for path in paths:
            job = Job(path.parent)
            known = self._rows.get(job.id)
            written = _written(job.directory / STATE)
            if known and known[0] == written and (not known[1].running or job.alive):
                found[job.id] = known
            elif row := _row(job):
                found[job.id] = written, row
        self._rows = found
        listed = tuple(row for _, row in found.values())
        if listed != self._listed:
            self._listed = listed
            with self._lock:
                self._update.jobs = listed
            self._tell()

    def _follow(self) -> bool:
        """Whether there is more to read of the watched job."""
        with self._lock:
            tail, watched = self._tail, self._watched
        if tail is None:
            return False
        directory = self._directory / watched
        sizes = tuple(_size(path) for name in (JOURNAL, TRACE) for _, path in files_of(directory, name))
        grown, self._sizes = sizes != self._sizes, sizes
        entries = tail.read(_READ_AT_ONCE)
        if not entries and not grown:
            return False
        with self._lock:
            if watched != self._watched:
                return True
            self._update.entries += [entry for entry in entries if entry.event.__struct_config__.tag != "log"]
            self._update.grown |= grown
        self._tell()
        return bool(entries)

    def _tell(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told and not self._stopped:
            self._changed()


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _row(job: Job) -> JobRow | None:
    """None for a job whose files can't be read: one damaged file hides no other job."""
    try:
        state, condition = job.state, job.condition
        leftovers = () if condition is Condition.RUNNING else tuple(str(entry) for entry in job.leftovers)
    except (ConfigError, OSError, ValueError, KeyError):
        return None
    return JobRow(
        id=job.id,
        act=state.act,
        state="dead" if condition is Condition.DEAD else state.state,
        subjects=tuple(part.subject for part in state.parts),
        vms=tuple(part.vm or part.subject.removeprefix("name:") for part in state.parts),
        started=state.started,
        ended=state.ended,
        read=_bytes(state, "read"),
        to_read=_bytes(state, "to_read"),
        loglevel=state.loglevel,
        sentence=next((part.sentence for part in state.parts if part.sentence), ""),
        stage=next((part.stage for part in state.parts if part.stage), ""),
        leftovers=leftovers,
    )


def _bytes(state: JobState, field: str) -> int:
    return sum(getattr(disk, field) for part in state.parts for disk in part.disks.values())

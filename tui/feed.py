"""Follows what workers write, in a thread: which jobs there are, and the journal of the one that is watched.

The console's widgets never wait for a file: they are told once that something has changed, and take all of it.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from engine.errors import ConfigError
from engine.jobs import request as requests
from engine.jobs.job import Condition, Job
from engine.jobs.journal import JOURNAL, TRACE, files_of
from engine.jobs.state import FILE_NAME as STATE, PartState
from engine.jobs.tail import Entry, FileTail, parse

_TICK = 0.1
_QUIET_TICK = 0.5
_LIST_EVERY = 0.5
"""Seconds between two looks: at the watched job while it runs, at it while nothing does, at the list of jobs."""
_YOUNG = 60 * 10**9
"""Nanoseconds in which a job's directory may get its request."""
_READ_AT_ONCE = 256 << 10
"""Bytes of journal looked through without letting the console's own thread in between: half a millisecond."""
_LOG = b',"event":"log",'
_OTHER = re.compile(rb'^\{"seq":\d+,"part":\d+,"event":"(?!log")[^\n]*', re.MULTILINE)
"""What tells the many lines that are log records, of which the models need none, from the few others."""


class PartRow(msgspec.Struct, frozen=True):
    """One VM of a job. `subject` as it was asked for; `state` is waiting, running, or how it ended. Bytes. `moref` and
    `vcenter`, an instance UUID, are known once the job has a plan."""

    subject: str
    vm: str
    state: str
    stage: str
    read: int
    to_read: int
    moref: str = ""
    vcenter: str = ""


class JobRow(msgspec.Struct, frozen=True):
    """One job in the list. `state` is running, cancelling, how it ended, or dead. Bytes; `ended` is 0.0 while it
    runs. `leftovers` are what its ledgers leave open, told only of jobs that don't run. `server` is the HOST:PORT that
    it was sent to."""

    id: str
    act: str
    state: str
    parts: tuple[PartRow, ...]
    started: float
    ended: float
    loglevel: int
    sentence: str = ""
    leftovers: tuple[str, ...] = ()
    server: str = ""

    @property
    def running(self) -> bool:
        return self.state in ("starting", "running", "cancelling")

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(part.subject for part in self.parts)

    @property
    def vms(self) -> tuple[str, ...]:
        return tuple(part.vm for part in self.parts)

    @property
    def stage(self) -> str:
        return next((part.stage for part in self.parts if part.stage), "")

    @property
    def read(self) -> int:
        return sum(part.read for part in self.parts)

    @property
    def to_read(self) -> int:
        return sum(part.to_read for part in self.parts)


class Update(msgspec.Struct):
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
        self._rows: dict[str, tuple[int, JobRow]] = {}
        self._stamp = 0
        self._found: list[Job] = []
        self._defect: Exception | None = None
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
            self._update = msgspec.structs.replace(self._update, watched=job_id, entries=[], grown=False)
        self._wake.set()

    def take(self) -> Update:
        """All that came since the last call. Raises what has ended the thread."""
        if self._defect is not None:
            raise self._defect
        with self._lock:
            update, self._told = self._update, False
            self._update = Update(None, update.watched, [], False)
            return update

    def _run(self) -> None:
        try:
            self._look_on()
        except Exception as defect:
            self._defect = defect  # told by the console's own thread, which can
            self._tell()

    def _look_on(self) -> None:
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
        found: dict[str, tuple[int, JobRow]] = {}
        for job in self._jobs():
            known = self._rows.get(job.id)
            if known and not known[1].running:
                found[job.id] = known
                continue
            written = _written(job.directory / STATE)
            if known and known[0] == written and _alive(job):
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

    def _jobs(self) -> list[Job]:
        """Newest first. Looked for when their directory has changed, and for as long as there is a young one without
        its request: it gets that a moment after it is made."""
        stamp = _written(self._directory)
        if stamp != self._stamp:
            try:
                directories = sorted((path for path in self._directory.iterdir() if "." not in path.name), reverse=True)
            except OSError:
                return []
            asked = [path for path in directories if (path / requests.FILE_NAME).exists()]
            fresh = any(time.time_ns() - _written(path) < _YOUNG for path in set(directories).difference(asked))
            self._stamp = 0 if fresh else stamp
            self._found = [Job(path) for path in asked]
        return self._found

    def _follow(self) -> bool:
        """Whether there is more to read of the watched job."""
        with self._lock:
            tail, watched = self._tail, self._watched
        if tail is None:
            return False
        directory = self._directory / watched
        sizes = tuple(_size(path) for name in (JOURNAL, TRACE) for _, path in files_of(directory, name))
        grown, self._sizes = sizes != self._sizes, sizes
        piece = tail.piece(_READ_AT_ONCE)
        if not piece and not grown:
            return False
        entries = list(_of_models(piece))
        with self._lock:
            if watched != self._watched:
                return True
            self._update.entries += entries
            self._update.grown |= grown
        self._tell()
        return bool(piece)

    def _tell(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told and not self._stopped:
            self._changed()


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _of_models(piece: bytes) -> Iterator[Entry]:
    """The entries among these lines that are no log records. Counting is ten times quicker than looking closely."""
    if piece.count(_LOG) == piece.count(b"\n"):
        return
    for match in _OTHER.finditer(piece):
        if entry := parse(match[0]):
            yield entry


def _alive(job: Job) -> bool:
    try:
        return job.alive
    except OSError:
        return False


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
        parts=tuple(map(_part, state.parts)),
        started=state.started,
        ended=state.ended,
        loglevel=state.loglevel,
        sentence=next((part.sentence for part in state.parts if part.sentence), ""),
        leftovers=leftovers,
        server=state.server,
    )


def _part(part: PartState) -> PartRow:
    disks = part.disks.values()
    read, to_read = sum(disk.read for disk in disks), sum(disk.to_read for disk in disks)
    vm = part.vm or part.subject.removeprefix("name:")
    return PartRow(part.subject, vm, part.state, part.stage, read, to_read, part.moref, part.vcenter)

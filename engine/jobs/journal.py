"""The journal of a job: every event, one line of JSON each, appended by the worker and by nobody else.

`journal.NNNN.jsonl` holds what a job must never lose (stages, disks, results, log records of LOGLEVEL 0-3);
`trace.NNNN.jsonl` beside it the records of LOGLEVEL 4-6, which come to gigabytes an hour: only its newest files are
kept. Both share one dense numbering (`seq`, from 1), so that a reader can put them together again. A line is the
event's JSON with `seq` and the job's `part` in front. A last line without its line end is a torn write: no line.
"""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engine.events import (
    DiskProgress,
    Event,
    JobEnded,
    LogRecord,
    PlanMade,
    Result,
    StageEnded,
    StageStarted,
    encode,
)
from engine.loglevel import LogLevel

JOURNAL, TRACE = "journal", "trace"
_BATCH_SECONDS = 0.008
_ROTATE_AT = 64 << 20
_TRACE_FILES = 4
_MOST_PENDING = 100_000
"""Events in memory. More only wait when the disk is slow; when it refuses, the least important are dropped."""
_STATE_CHANGES = (StageStarted, StageEnded, PlanMade, Result, JobEnded)


def files_of(directory: Path, name: str) -> list[tuple[int, Path]]:
    """(number, path) of the journal's or the trace's files, oldest first."""
    found = [(path.name.split(".")[1], path) for path in directory.glob(f"{name}.*.jsonl")]
    return sorted((int(number), path) for number, path in found if number.isdigit())


def is_trace(event: Event) -> bool:
    return isinstance(event, LogRecord) and event.level > LogLevel.STAGE


class Writer:
    """Takes events from any thread; a thread of its own writes them in batches of some milliseconds.

    A full or failing disk never stops the job: what cannot be written waits, then the trace and the progress are
    dropped, and the journal says how many once it can be written again.
    """

    def __init__(self, directory: Path, *, rotate_at: int = _ROTATE_AT, trace_files: int = _TRACE_FILES) -> None:
        self._journal = _Files(directory, JOURNAL, rotate_at)
        self._trace = _Files(directory, TRACE, rotate_at, keep=trace_files)
        self._pending: list[tuple[int, int, Event]] = []
        self._seq = self._dropped = 0
        self._refused = self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def seq(self) -> int:
        """Number of the newest event taken."""
        return self._seq

    def append(self, event: Event, part: int = 0) -> None:
        """Returns at once, unless the disk is so far behind that memory would fill."""
        with self._changed:
            while len(self._pending) >= _MOST_PENDING and not self._refused and not self._closing:
                self._changed.wait()
            if len(self._pending) >= _MOST_PENDING and (is_trace(event) or isinstance(event, DiskProgress)):
                self._dropped += 1
                return
            self._take(event, part)

    def close(self) -> None:
        """Writes what is pending, if the disk takes it, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._journal.close()
        self._trace.close()

    def _take(self, event: Event, part: int) -> None:
        self._seq += 1
        self._pending.append((self._seq, part, event))
        if len(self._pending) == 1:
            self._changed.notify_all()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._changed:
                while not self._pending and not self._closing:
                    self._changed.wait()
            if not self._closing:
                pause.wait(_BATCH_SECONDS)  # more will come: one write for all of them
            with self._changed:
                batch: list[tuple[int, int, Event]] = []
                if not self._refused:  # else what was refused goes first, and no more is turned into bytes
                    batch, self._pending = self._pending, []
                self._changed.notify_all()
            written = self._write(batch)
            with self._changed:
                self._refused = not written
                if written:
                    self._tell_losses()
                if self._closing and (not self._pending or not written):
                    return
            if not written:
                pause.wait(0.5)

    def _tell_losses(self) -> None:
        lost, self._dropped, self._trace.lost = self._dropped + self._trace.lost, 0, 0
        if lost:
            text = f"The disk did not take the job's log: {lost} records of it are lost."
            self._take(LogRecord(at=time.time(), level=int(LogLevel.WARNING), text=text), 0)

    def _write(self, batch: Sequence[tuple[int, int, Event]]) -> bool:
        """The journal before the trace; False when lines wait in one of them for the disk to take more."""
        journal, trace, sync = [], [], False
        for seq, part, event in batch:
            line = b'{"seq":%d,"part":%d,%b\n' % (seq, part, encode(event)[1:])
            (trace if is_trace(event) else journal).append(line)
            sync = sync or isinstance(event, _STATE_CHANGES)
        written = self._journal.write(b"".join(journal), sync=sync)
        return self._trace.write(b"".join(trace), sync=False) and written


class _Files:
    """Numbered files, appended to; a new one begins when the newest is full. `keep` is how many stay, 0 is all."""

    def __init__(self, directory: Path, name: str, rotate_at: int, keep: int = 0) -> None:
        self._directory, self._name, self._rotate_at, self._keep = directory, name, rotate_at, keep
        self._number = max((number for number, _ in files_of(directory, name)), default=0)
        self._fd, self._size, self._waiting = -1, 0, b""
        self.lost = 0

    def write(self, data: bytes, *, sync: bool) -> bool:
        """One write, with what waited before it. What the disk does not take waits for the next call, so that no line
        is torn by a full disk; the trace gives it up instead of filling memory."""
        self._waiting += data
        if not self._waiting:
            return True
        try:
            if self._fd < 0 or self._size >= self._rotate_at:
                self._next()
            while self._waiting:
                count = os.write(self._fd, self._waiting)
                self._size += count
                self._waiting = self._waiting[count:]
            if sync:
                os.fsync(self._fd)
        except OSError:
            if self._keep:
                self.lost += self._waiting.count(b"\n")
                self._waiting = b"\n"  # ends the line that may be torn
            return False
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next(self) -> None:
        path = self._directory / f"{self._name}.{self._number + 1:04d}.jsonl"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.close()
        self._fd, self._size, self._number = fd, 0, self._number + 1
        _sync_directory(self._directory)
        if self._keep:
            for _, old in files_of(self._directory, self._name)[: -self._keep]:
                old.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

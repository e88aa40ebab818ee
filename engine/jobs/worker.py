"""The process that runs one job: `python -m engine.jobs.worker DIRECTORY --lock FD [--password FD]`.

It has its own session and no terminal: whoever started it may log out, hang up or be killed. What it says goes into the
journal; what it is told comes over the control socket; SIGTERM is a clean cancel. It is alive as long as the flock
that it inherited is held: the kernel releases it, whatever happens.
"""

import argparse
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.errors import VcbError
from engine.events import Event, JobEnded, LogRecord, Result, ResultState
from engine.flow import ledger
from engine.jobs.acts import ACTS, Part
from engine.jobs.control import ControlServer
from engine.jobs.job import ERRORS
from engine.jobs.journal import Writer
from engine.jobs.plain_settings import with_password
from engine.jobs.request import Request, read_request
from engine.jobs.state import JobState, StateFile, worst
from engine.loglevel import LogLevel
from engine.process_identity import ProcessIdentity
from engine.process_privacy import keep_memory_private
from engine.reporter import Reporter, Volume
from engine.secret import redact
from engine.state_directory import StateDirectory, too_open


class Worker:
    """Runs the parts of one request, in order or several at once, with journal, state and control socket around it."""

    def __init__(self, directory: Path, request: Request) -> None:
        self._request = request
        self._cancel = CancelToken()
        self._volume = Volume(request.settings.LOGLEVEL)
        self._journal = Writer(directory)
        self._state = StateFile(directory, JobState.of(request))
        self._state.note(state="running", pid=os.getpid())
        self._control = ControlServer(
            directory, {"ping": lambda asked: self._facts(), "cancel": self._on_cancel, "loglevel": self._on_loglevel}
        )

    def run(self) -> ResultState:
        """Until every part has ended, or has not begun before a cancel. Raises nothing."""
        self._look_around(StateDirectory.default())
        numbers = range(1, len(self._request.subjects) + 1)
        with ThreadPoolExecutor(self._request.parallel, thread_name_prefix="part") as pool:
            list(pool.map(self._part, numbers))
        results = self._state.results
        state = worst(results) if results or not self._cancel.cancelled else ResultState.CANCELLED
        self._take(JobEnded(at=time.time(), state=state.value), 0)
        self._journal.close()
        self._state.close()
        self._control.close()
        return state

    def _look_around(self, state: StateDirectory) -> None:
        """What every start tells: what dead jobs left, and what of ours others may look into."""
        for sentence in ledger.left_behind(state.jobs):
            self._note(sentence, LogLevel.WARNING)
        for path, mode in too_open(state.root, deep=False):
            self._note(f"{path} has mode {mode:04o}: it should be its owner's alone (chmod go= it).", LogLevel.WARNING)

    def cancel(self, why: str) -> None:
        """Every part undoes what it did, and none begins any more. Safe twice, and from any thread."""
        if not self._cancel.cancelled:
            self._note(f"Cancelled by {why}: undoing what was done.")
            self._state.note(state="cancelling")
            self._cancel.cancel()

    def _part(self, number: int) -> None:
        if self._cancel.cancelled or ResultState.CANCELLED in self._state.results:
            return
        report = Reporter(lambda event: self._take(event, number), self._volume)
        try:
            self._act(number, report)
        except VcbError as error:
            _conclude(report, error.sentence, error)
        except BaseException as defect:
            text = redact("".join(traceback.format_exception(defect)))
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - worker.err
            sentence = f"A defect of vcb ended the job: {type(defect).__name__}. The traceback is in {ERRORS}."
            _conclude(report, sentence, VcbError(sentence))

    def _act(self, number: int, report: Reporter) -> None:
        ACTS[self._request.act](Part(self._request, number, report, self._cancel))

    def _take(self, event: Event, part: int) -> None:
        self._journal.append(event, part)
        if not isinstance(event, LogRecord):
            self._state.follow(event, part, self._journal.seq)

    def _note(self, text: str, level: LogLevel = LogLevel.STAGE) -> None:
        self._take(LogRecord(at=time.time(), level=int(level), text=text), 0)

    def _facts(self) -> dict[str, Any]:
        state = "cancelling" if self._cancel.cancelled else "running"
        return {"job": self._request.job, "state": state, "loglevel": self._volume.level, "pid": os.getpid()}

    def _on_cancel(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.cancel("the operator")
        return self._facts()

    def _on_loglevel(self, asked: dict[str, Any]) -> dict[str, Any]:
        level = asked.get("level")
        if not isinstance(level, int) or level not in list(LogLevel):
            raise ValueError("level must be a whole number from 0 to 6")
        self._volume.level = level
        self._state.note(loglevel=level)
        self._note(f"LOGLEVEL is {level} from here on.")
        return self._facts()


def _conclude(report: Reporter, sentence: str, error: VcbError) -> None:
    """The last event of a part whose flow did not write one."""
    failed = ResultState.FAILURE.value
    summary = {"state": failed, "sentence": sentence, "error": error.to_json(), "transport": "", "disks_skipped": []}
    report.error(error, LogLevel.FATAL)
    report.emit(Result(state=failed, sentence=sentence, summary=summary))


def main(arguments: Sequence[str] | None = None) -> int:
    """The process around the worker; its exit code is the result's."""
    parser = argparse.ArgumentParser(prog="engine.jobs.worker")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--lock", type=int, required=True)
    parser.add_argument("--password", type=int)
    given = parser.parse_args(arguments)
    _leave_the_starter(given.directory, given.lock)
    request = read_request(given.directory)
    request = replace(request, settings=with_password(request.settings, given.password))
    return _until_ended(Worker(given.directory, request))


def _leave_the_starter(directory: Path, lock: int) -> None:
    """Nothing of the starter's stays: no hang-up, no working directory, no descriptor passed on, no memory shown."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    os.chdir("/")
    os.set_inheritable(lock, False)
    keep_memory_private()
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(ProcessIdentity.mine()).encode(), 0)


def _until_ended(worker: Worker) -> int:
    """The main thread only waits: for the end, or for SIGTERM, whose handler meets no lock this way."""
    happenings: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    ended: list[ResultState] = []

    def run() -> None:
        try:
            ended.append(worker.run())
        finally:
            happenings.put(None)

    signal.signal(signal.SIGTERM, lambda number, frame: happenings.put(number))
    threading.Thread(target=run, name="job").start()
    while happenings.get() is not None:
        worker.cancel("SIGTERM")
    return ended[0].exit_code if ended else 1


if __name__ == "__main__":
    sys.exit(main())

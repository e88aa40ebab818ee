"""A job that runs in its worker, on the screen: what it said from its beginning, and what it says now."""

import queue
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec

from engine.cancel import CancelToken
from engine.errors import Cancelled, VcbError
from engine.events import JobEnded, Result
from engine.jobs.job import Job
from engine.jobs.supervisor import follow
from engine.jobs.tail import Entry
from tui.cli import render
from tui.cli.interrupt import Interrupts, noted_signals
from tui.cli.progress import JobView, view
from tui.cli.screen import Screen

HANGUP = 129
"""As a shell tells a process that SIGHUP ended."""

_LEVEL_EVERY = 0.5
_PATIENCE = "Still undoing what was done. Ctrl-C again within two seconds leaves it to go on without this terminal."


class Left(Exception):
    """The watcher leaves a job that goes on; `exit_code` is the command's."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


class Watcher:
    """Shows the entries of one job, all parts of it, and gathers the summaries of those that ended."""

    def __init__(self, screen: Screen, job: Job, shown: JobView, vm: str = "") -> None:
        self._screen, self._job, self._shown = screen, job, shown
        self._labels = dict(enumerate((subject.removeprefix("name:") for subject in job.request.subjects), 1))
        self._several = job.request.parallel > 1
        self._wanted = _parts_of(job, vm) if vm else set(self._labels) | {0}
        self._vm = vm
        self._summaries: dict[int, dict[str, Any]] = {}
        self.ended = False

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """The JSON forms of the outcomes, in the order of the request."""
        return [self._summaries[part] for part in sorted(self._summaries)]

    def wants(self, entry: Entry) -> bool:
        """Whether an entry is of the VM that was asked for; every one must come by here, or by `take`."""
        self.ended = self.ended or isinstance(entry.event, JobEnded)
        if self._vm and entry.event.vm == self._vm:
            self._wanted.add(entry.part)
        return entry.part in self._wanted

    def take(self, entry: Entry) -> None:
        event = entry.event
        if not self.wants(entry):
            return
        if self._several and entry.part:
            event = msgspec.structs.replace(event, vm=self._labels[entry.part])
        self._shown(event)
        if isinstance(event, Result):
            self._summaries[entry.part] = event.summary
            self._screen.line()
            self._screen.show(render.summary(event.summary, self._screen.width))


def watch(screen: Screen, job: Job, *, ctrl_c_cancels: bool) -> list[dict[str, Any]]:
    """Shows a job from its beginning until it has ended; returns the summaries of its parts.

    Ctrl-C and SIGTERM cancel it, or only end the watching; a lost terminal (SIGHUP) always only does that. Raises Left
    when the watching ended first, Cancelled when no part had begun, VcbError when the worker is dead.
    """
    happenings: queue.SimpleQueue[int] = queue.SimpleQueue()
    shown = view(screen, job.state.loglevel, several=job.request.parallel > 1)
    watcher = Watcher(screen, job, shown)
    arrived = _cancelling(job, shown) if ctrl_c_cancels else _leaving
    level_at = time.monotonic()
    with noted_signals(happenings.put), shown:
        for entries in follow(job):
            for entry in entries:
                watcher.take(entry)
            while not happenings.empty():
                arrived(happenings.get())
            if time.monotonic() - level_at > _LEVEL_EVERY:
                shown.level, level_at = job.state.loglevel, time.monotonic()
    if not watcher.ended:
        raise dead(job)
    if not watcher.summaries:
        raise Cancelled
    return watcher.summaries


def dead(job: Job) -> VcbError:
    """A worker that ended without a word, as an error that says what it may have left."""
    left = "; ".join(str(entry) for entry in job.leftovers)
    words = job.last_words
    return VcbError(
        f"The worker of job {job.id} died without ending the job.",
        fault=words,
        hint=f"Its ledger leaves open: {left}." if left else "Its ledger says that nothing is left behind.",
    )


def _cancelling(job: Job, shown: JobView) -> Callable[[int], None]:
    token = CancelToken()

    def leave() -> None:
        raise Left(Cancelled.exit_code)

    last_word = f"The job goes on undoing without this terminal. To see it: vcb attach {job.id}"
    interrupts = Interrupts(token, shown.say, leave, patience=_PATIENCE, last_word=last_word)

    def arrived(number: int) -> None:
        if number == signal.SIGHUP:
            raise Left(HANGUP)
        first = not token.cancelled
        interrupts.arrived(number)
        if first:
            _cancel(job, shown)

    return arrived


def _cancel(job: Job, shown: JobView) -> None:
    """A job that ended in this very moment can't be reached any more, and need not be."""
    try:
        job.cancel()
    except VcbError as error:
        if job.alive:
            shown.say(error.sentence)


def _leaving(number: int) -> None:
    raise Left(HANGUP if number == signal.SIGHUP else 0)


def _parts_of(job: Job, vm: str) -> set[int]:
    parts = enumerate(job.state.parts, 1)
    return {number for number, part in parts if vm in (part.vm, part.subject, part.subject.partition(":")[2])}

"""A worker that dies at any moment: a fork of a process that has imported everything, so that its whole life is job."""

import fcntl
import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.jobs import worker
from engine.jobs.job import LOCK
from engine.jobs.request import Act, Request
from engine.state_directory import StateDirectory, new_job_id
from engine.transport.san import source as san

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [__name__, "engine.flow.job", "engine.flow.source_exporter", "engine.flow.lease_exporter"]
)


@dataclass(frozen=True)
class Moment:
    """Before the worker's `number`-th call of a function, or right `after` it. `name` is the function's in `module`, or
    with a dot that of a module that `module` alone then sees changed."""

    what: str
    module: str
    name: str
    after: bool = False
    number: int = 1


def start_worker(settings, spec: str = "name:web01", moment: Moment | None = None) -> BaseProcess:
    """The same worker as the supervisor's, without the second that Python and pyVmomi take to start."""
    state = StateDirectory.default()
    request = Request(new_job_id(), Act.BACKUP, (spec,), settings)
    directory = state.job(request.job)
    directory.mkdir(mode=0o700, parents=True)
    request.save(directory)
    process = _FORKS.Process(target=_work, args=(directory, state.root, moment))
    process.start()
    return process


def seconds_of_a_backup(settings) -> float:
    """How long an uninterrupted one takes, which must succeed."""
    began = time.monotonic()
    process = start_worker(settings)
    process.join(60)
    assert process.exitcode == 0
    return time.monotonic() - began


def kill_after(settings, seconds: float) -> bool:
    """Starts a backup and ends it with SIGKILL; False when it had ended before."""
    process = start_worker(settings)
    process.join(seconds)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def killed_at(settings, moment: Moment) -> None:
    """A backup that gets so far, and no further."""
    process = start_worker(settings, moment=moment)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, moment


def _work(directory: Path, state: Path, moment: Moment | None) -> None:
    os.environ["VCB_STATE_DIR"] = str(state)
    san.SETTLE = 0.0  # the lab's metadata is there at once
    if moment is not None:
        _die_at(moment)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    raise SystemExit(worker.main([str(directory), "--lock", str(lock)]))


def _die_at(moment: Moment) -> None:
    owner: Any = importlib.import_module(moment.module)
    name = moment.name
    if "." in name:
        inner, _, name = name.partition(".")
        changed = SimpleNamespace(**vars(getattr(owner, inner)))
        setattr(owner, inner, changed)
        owner = changed
    real: Callable[..., Any] = getattr(owner, name)
    calls: list[None] = []

    def call(*args: Any, **values: Any) -> Any:
        calls.append(None)
        last = len(calls) == moment.number
        if not last or moment.after:
            result = real(*args, **values)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)

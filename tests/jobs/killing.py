"""A worker that dies at any moment: a fork of a process that has imported everything, so that its whole life is job."""

import fcntl
import multiprocessing
import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from engine.jobs import worker
from engine.jobs.job import LOCK
from engine.jobs.request import Act, Request
from engine.state_directory import StateDirectory, new_job_id

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [__name__, "engine.flow.job", "engine.flow.source_exporter", "engine.flow.lease_exporter"]
)


def start_worker(settings, spec: str = "name:web01") -> BaseProcess:
    """The same worker as the supervisor's, without the second that Python and pyVmomi take to start."""
    state = StateDirectory.default()
    request = Request(new_job_id(), Act.BACKUP, (spec,), settings)
    directory = state.job(request.job)
    directory.mkdir(mode=0o700, parents=True)
    request.save(directory)
    process = _FORKS.Process(target=_work, args=(directory, state.root))
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


def _work(directory: Path, state: Path) -> None:
    os.environ["VCB_STATE_DIR"] = str(state)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    raise SystemExit(worker.main([str(directory), "--lock", str(lock)]))

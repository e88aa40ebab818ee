"""A worker of its own to which something happens: a signal, a limit, a jump of the clock; at a stage, or at a call."""

import fcntl
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.errors import Cancelled, VcbError
from engine.events import Event, Result, ResultState, StageStarted
from engine.jobs import worker
from engine.jobs.job import ERRORS, LOCK, Job
from engine.jobs.request import Act, Request
from engine.state_directory import StateDirectory, new_job_id
from engine.system_errors import NO_THREAD
from tests.faults.os_seam import Seam
from tests.faults.scene import SHORT_TIMEOUT, VM_NAME, Scene

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [__name__, "engine.flow.job", "engine.flow.source_exporter", "engine.flow.lease_exporter"]
)
_LONGEST = 60.0


@dataclass
class Ended:
    """As an Outcome, of a worker that told how it ended."""

    state: ResultState
    sentence: str
    error: VcbError | None
    point: Path | None
    exceptions: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def run(scene: Scene, happening: Mapping[str, Any], *, vm: str = VM_NAME, **values: Any) -> Ended | None:
    """None when the worker was killed. Problems of the process itself go to the scene."""
    state = StateDirectory.default()
    settings = scene.proxy.settings(**{**scene.mode, "HTTP_TIMEOUT": 5, "LOGLEVEL": 3, **values})
    request = Request(new_job_id(), Act.BACKUP, (f"name:{vm}",), settings)
    directory = state.job(request.job)
    directory.mkdir(mode=0o700, parents=True)
    request.save(directory)
    process = _FORKS.Process(target=_work, args=(directory, dict(happening), scene.root, state.root))
    process.start()
    if happening["kind"] == "signal" and happening["signal"] == signal.SIGSTOP:
        _continue(process.pid or 0)
    process.join(_LONGEST)
    if process.is_alive():
        scene.problems.append(f"the worker did not end within {_LONGEST:.0f} s")
        process.kill()
        process.join()
    return _ended(scene, Job(directory), process.exitcode or 0)


def _continue(pid: int) -> None:
    """SIGCONT once it has stopped; a worker that ended before has not."""
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in "TZX":
            break
        time.sleep(0.01)
    time.sleep(SHORT_TIMEOUT)  # long enough that keep-alives and time limits notice
    os.kill(pid, signal.SIGCONT)


def _ended(scene: Scene, job: Job, code: int) -> Ended | None:
    if job.last_words:
        scene.problems.append(f"{ERRORS}: {job.last_words}")
    results = [entry.event for entry in job.reader().drain() if isinstance(entry.event, Result)]
    scene.proxy.events += [entry.event for entry in job.reader().drain()]
    if not results:
        if code != -signal.SIGKILL:
            scene.problems.append(f"the worker ended with {code}, and no result in its journal")
        return None
    summary = results[-1].summary
    told = summary.get("error")
    error = VcbError(told["sentence"], fault=told["fault"], hint=told["hint"]) if told else None
    if told and told["code"] == Cancelled.code:
        error = Cancelled(told["sentence"])
    point = Path(summary["point"]) if summary.get("point") else None
    return Ended(
        ResultState(results[-1].state), results[-1].sentence, error, point,
        summary.get("exceptions", []), summary.get("leftovers", []),
    )  # fmt: skip


def _work(directory: Path, happening: dict[str, Any], root: Path, state: Path) -> None:
    os.environ["VCB_STATE_DIR"] = str(state)
    errors = os.open(directory / ERRORS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.dup2(errors, 2)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if "call" in happening:
        _at_call(happening, {"root": root, "state": state})
    else:
        _at_stage(happening)
    code = worker.main([str(directory), "--lock", str(lock)])
    os._exit(code)  # as the end of a process, whatever threads the fork server has


def _at_stage(happening: dict[str, Any]) -> None:
    waiting = [happening]
    take = worker.Worker._take

    def taking(self: worker.Worker, event: Event, part: int) -> None:
        take(self, event, part)
        if isinstance(event, StageStarted) and event.stage == happening["stage"] and waiting:
            _happen(waiting.pop())

    worker.Worker._take = taking  # type: ignore[method-assign]


def _at_call(happening: dict[str, Any], watched: dict[str, Path]) -> None:
    def called(where: str, name: str, number: int, target: Any) -> None:
        if [where, name, number] == list(happening["call"]):
            _happen(happening)

    Seam(watched, called).__enter__()


def _happen(happening: dict[str, Any]) -> None:
    match happening["kind"]:
        case "signal":
            os.kill(os.getpid(), happening["signal"])
        case "descriptors":
            used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1 + happening["spare"], hard))
        case "processes":
            _no_threads(happening["spare"])
        case "file size":
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (happening["most"], hard))
        case "clock":
            _shift_clock(happening["seconds"])


def _no_threads(spare: int) -> None:
    left = [None] * spare
    start = threading.Thread.start

    def starting(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError(NO_THREAD)
        left.pop()
        start(thread)

    threading.Thread.start = starting  # type: ignore[method-assign]


def _shift_clock(seconds: float) -> None:
    """The wall clock of the engine jumps; the monotonic one never does."""
    real = time.time
    time.time = lambda: real() + seconds

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if (
            name.startswith(("engine.flow.", "engine.state_directory"))
            and getattr(module, "datetime", None) is datetime
        ):
            module.datetime = Shifted  # type: ignore[attr-defined]

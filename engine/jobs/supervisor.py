"""Jobs from outside: start one in a worker, list them, find one, follow it, clear old ones away.

Nothing here talks to vSphere or imports pyVmomi; whoever watches jobs starts in an instant.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import engine
from engine.config.options import Settings
from engine.config.secrets import child_environment
from engine.errors import ConfigError, VcbError
from engine.events import ResultState
from engine.jobs import request as requests
from engine.jobs.job import ERRORS, LOCK, Condition, Job
from engine.jobs.orders import Order
from engine.jobs.plain_settings import password_pipe
from engine.jobs.request import Act, Request
from engine.jobs.tail import Entry
from engine.secret import Secret
from engine.state_directory import StateDirectory, new_job_id, private_directory

_KEPT_JOBS = 200
_KEPT_DAYS = 90


def start(
    act: Act,
    subjects: Sequence[str],
    settings: Settings,
    *,
    adopt: str | None = None,
    parallel: int = 1,
    names: Sequence[str] = (),
    resumes: Sequence[str] = (),
    order: Order | None = None,
) -> Job:
    """Starts a worker and returns at once. A PASSWORD in the settings (from the configuration, or typed) goes over a
    pipe; without one the worker looks where the settings say. Raises VcbError when no process can be started."""
    state = StateDirectory.default()
    prune(state.jobs)
    at_once = max(1, min(parallel, len(subjects)))
    request = Request(new_job_id(), act, tuple(subjects), settings, adopt, at_once, tuple(names), tuple(resumes), order)
    directory = state.job(request.job).absolute()
    private_directory(state.jobs)
    directory.mkdir(mode=0o700)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the worker inherits it: the job is alive from here on, without a gap
        request.save(directory)
        _spawn(directory, lock, settings.PASSWORD)
    finally:
        os.close(lock)
    return Job(directory)


def resume(dead: Job, settings: Settings) -> Job:
    """Starts a job that goes on where a dead backup stopped: with its VMs that had not ended. One of which nothing is
    left that can be gone on with is backed up anew. Raises ConfigError when the job is no dead backup."""
    asked = dead.request
    if dead.condition is not Condition.DEAD or asked.act is not Act.BACKUP:
        raise ConfigError(
            f"job {dead.id} is {'no backup' if asked.act is not Act.BACKUP else dead.condition.value}: only a backup "
            "whose worker died is resumed",
            hint="vcb jobs lists the dead ones.",
        )
    open_parts = [
        (number, subject)
        for number, (subject, part) in enumerate(zip(asked.subjects, dead.state.parts, strict=True), 1)
        if part.state not in set(ResultState)
    ]
    left = dead.resumable
    resumes = [part if (part := asked.part_id(number)) in left else "" for number, _ in open_parts]
    names = [asked.names[number - 1] for number, _ in open_parts] if asked.names else ()
    subjects = [subject for _, subject in open_parts]
    return start(
        Act.BACKUP, subjects, settings, adopt=asked.adopt, parallel=asked.parallel, names=names, resumes=resumes
    )


def _spawn(directory: Path, lock: int, password: Secret | None) -> None:
    command = [sys.executable, "-m", "engine.jobs.worker", str(directory), "--lock", str(lock)]
    try:
        with (
            password_pipe(password) as passed,
            os.fdopen(os.open(directory / ERRORS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as errors,
        ):
            worker = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, *passed.words],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd=Path(engine.__file__).parents[1],
                env={**child_environment(), "VCB_STATE_DIR": str(directory.parents[1])},
                start_new_session=True,
                pass_fds=[lock, *passed.descriptors],
            )
        threading.Thread(target=worker.wait, name="reaper", daemon=True).start()  # a long-lived starter keeps no zombie
    except OSError as error:
        raise VcbError(f"No worker can be started: {error.strerror or error}") from error


def jobs() -> list[Job]:
    """All jobs of this proxy that a worker ran or runs, newest first."""
    directory = StateDirectory.default().jobs
    return [Job(path.parent) for path in sorted(directory.glob(f"*/{requests.FILE_NAME}"), reverse=True)]


def find(text: str | None) -> Job:
    """The job with this id, or with an id that begins or ends with it; the newest without any. Raises ConfigError."""
    known = jobs()
    if not known:
        raise ConfigError("there are no jobs yet", hint="vcb backup starts one.")
    if text is None:
        return known[0]
    exact = [job for job in known if job.id == text]
    matching = exact or [job for job in known if text and (job.id.startswith(text) or job.id.endswith(text))]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ConfigError(f"{text} may be any of {len(matching)} jobs: {', '.join(job.id for job in matching[:5])}")
    raise ConfigError(f"there is no job {text}", hint="vcb jobs --all lists them.")


def follow(job: Job, *, trace: bool = True, pause: float = 0.05) -> Iterator[list[Entry]]:
    """Batches of the job's entries from its first on, until it has ended or died; an empty batch when nothing came
    within `pause` seconds."""
    reader = job.reader(trace=trace)
    while True:
        alive = job.alive  # before reading: what is there after the death is everything
        entries = reader.read()
        if not entries and not alive:
            yield list(reader.drain())
            return
        yield entries
        if not entries:
            time.sleep(pause)


def prune(directory: Path, *, keep: int = _KEPT_JOBS, days: float = _KEPT_DAYS) -> list[str]:
    """Removes what jobs wrote that are neither among the newest `keep` nor younger than `days`; returns their ids. A
    job that runs, or whose ledger leaves something open, is never forgotten."""
    oldest = time.time() - days * 86400
    removed = []
    for path in sorted(directory.glob("*/"), reverse=True)[keep:]:
        job = Job(path)
        if path.name.partition(".")[0] != path.name or path.stat().st_mtime > oldest:
            continue
        if job.alive or not _accounted_for(job):
            continue
        for part in job.parts():
            shutil.rmtree(part, ignore_errors=True)
        removed.append(job.id)
    return removed


def _accounted_for(job: Job) -> bool:
    """A ledger that can't be read may hold anything."""
    try:
        return not job.leftovers
    except (OSError, ValueError, KeyError):
        return False

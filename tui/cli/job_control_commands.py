"""vcb jobs, log, attach, cancel and loglevel: what runs in workers, and what ran."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.text import Text

from engine.errors import ConfigError
from engine.events import LogRecord
from engine.jobs import supervisor
from engine.jobs.job import Condition, Job
from engine.jobs.state import JobState
from engine.jobs.tail import Entry
from tui.cli import render
from tui.cli.flags import JsonFlag
from tui.cli.interrupt import noted_signals
from tui.cli.job_commands import OneJob, shown
from tui.cli.progress import PlainView
from tui.cli.screen import Screen
from tui.cli.watching import Watcher, dead
from tui.figures import duration, size

_RECENT = 20
_STYLES = {"running": "cyan", "cancelling": "magenta", "dead": "bold red", **render.STATE_STYLES}

Level = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=6))]
NewestJob = Annotated[
    str | None, Parameter(name="JOB", help="A job's id, or how it begins or ends. Without it, the newest job.")
]


def jobs(
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=(), show_default=False)] = False,
    json: JsonFlag = False,
) -> int:
    """List the jobs that run and the latest that ended, newest first.

    A job whose worker died is told as dead, with what its ledger leaves open.

    Parameters
    ----------
    all_
        Every job that is remembered.
    """
    screen = Screen(as_json=json)
    known = supervisor.jobs()
    listed = []
    for job in known if all_ else known[:_RECENT]:
        try:
            listed.append(_row(job))
        except ConfigError as error:  # one damaged file hides no other job
            screen.error(error.sentence)
    if not listed:
        screen.line("No jobs yet.")
    for row in listed:
        screen.show(_lines(row))
    if not all_ and len(known) > _RECENT:
        screen.line(f"{len(known) - _RECENT} older ones: vcb jobs --all", "dim")
    screen.result({"jobs": listed})
    return 0


def log(
    job: NewestJob = None,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=(), show_default=False)] = False,
    level: Level = 6,
    vm: str = "",
    json: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
) -> int:
    """Show the log of a job, running or past.

    Parameters
    ----------
    follow
        Go on until the job ends. Ctrl-C ends only the following.
    level
        Show records up to this LOGLEVEL. What the job does not record can't be shown: vcb loglevel raises that.
    vm
        Only this VM of the job.
    json
        The journal's own lines: one JSON object for each event, with its number `seq` and the `part` of the job.
    """
    found, screen = supervisor.find(job), Screen(as_json=json)
    watcher = Watcher(screen, found, PlainView(screen, level), vm)
    signals: list[int] = []
    with noted_signals(signals.append):
        for entry in _followed(found) if follow else found.reader().drain():
            if signals:
                return 0
            if entry is None:
                continue
            if not json:
                watcher.take(entry)
            elif watcher.wants(entry) and _level(entry) <= level and not screen.machine_line(entry.line.decode()):
                return 0
    if not watcher.ended and not found.alive:
        error = dead(found)
        screen.error(error.sentence, fault=error.fault, hint=error.hint)
    return 0


def attach(job: NewestJob = None, /, *, json: JsonFlag = False) -> int:
    """Show a job as vcb backup does: from its beginning, and then live. Ctrl-C leaves it running.

    The exit code and the JSON are those of the job.
    """
    found = supervisor.find(job)
    screen = Screen(as_json=json)
    if found.alive:
        screen.line(f"Job {found.id}. Ctrl-C leaves it running; vcb cancel {found.id} stops it.", "dim")
    return shown(screen, found, ctrl_c_cancels=False)


def cancel(job: OneJob, /, *, json: JsonFlag = False) -> int:
    """Cancel a running job: it undoes what it did, and ends."""
    found, screen = _running(job), Screen(as_json=json)
    found.cancel()
    screen.line(f"Job {found.id} undoes what it did. To see it: vcb attach {found.id}")
    screen.result({"job": found.id, "state": "cancelling"})
    return 0


def loglevel(job: OneJob, level: Level, /, *, json: JsonFlag = False) -> int:
    """Change what a running job records, from now on: LOGLEVEL 0 to 6."""
    found, screen = _running(job), Screen(as_json=json)
    found.set_loglevel(level)
    screen.line(f"Job {found.id} records LOGLEVEL {level} from here on.")
    screen.result({"job": found.id, "loglevel": level})
    return 0


def _running(text: str) -> Job:
    job = supervisor.find(text)
    if not job.alive:
        raise ConfigError(f"job {job.id} does not run any more: {_state_word(job, job.state)}")
    return job


def _followed(job: Job) -> Iterator[Entry | None]:
    """None when there is nothing new, so that a signal is seen."""
    for entries in supervisor.follow(job):
        yield from entries or (None,)


def _level(entry: Entry) -> int:
    return entry.event.level if isinstance(entry.event, LogRecord) else 0


def _state_word(job: Job, state: JobState) -> str:
    condition = job.condition
    return state.state if condition is not Condition.DEAD else condition.value


def _row(job: Job) -> dict[str, Any]:
    state = job.state
    parts = [_part(part) for part in state.parts]
    shape = {
        "job": job.id,
        "act": state.act,
        "state": _state_word(job, state),
        "created": job.request.created.isoformat(),
        "started": state.started,
        "ended": state.ended or None,
        "pid": state.pid if job.alive else None,
        "loglevel": state.loglevel,
        "parts": parts,
        "leftovers": [],
        "directory": str(job.directory),
    }
    if shape["state"] == "dead":
        shape["leftovers"] = [str(entry) for entry in job.leftovers]
    return shape


def _part(part: Any) -> dict[str, Any]:
    disks = part.disks.values()
    return {
        "subject": part.subject,
        "vm": part.vm,
        "job": part.job,
        "state": part.state,
        "stage": part.stage,
        "sentence": part.sentence,
        "point": part.point or None,
        "bytes_read": sum(disk.read for disk in disks),
        "bytes_to_read": sum(disk.to_read for disk in disks),
    }


def _lines(row: dict[str, Any]) -> Iterator[Text]:
    began = datetime.fromtimestamp(row["started"]) if row["started"] else datetime.fromisoformat(row["created"])
    took = f", {duration(row['ended'] - row['started'])}" if row["ended"] else ""
    yield Text.assemble(
        (row["job"], "bold"),
        f"  {row['act']:<8}",
        (f"{row['state']}", _STYLES.get(row["state"], "")),
        (f"  {began:%Y-%m-%d %H:%M:%S}{took}", "dim"),
    )
    for part in row["parts"]:
        yield Text(render.clean(f"    {part['vm'] or part['subject']}  {_doing(part)}".rstrip()))
    for left in row["leftovers"]:
        yield Text(render.clean(f"    may be left behind: {left}"), "bold red")


def _doing(part: dict[str, Any]) -> str:
    if part["state"] != "running":
        return f"{part['state']}  {part['sentence']}"
    read = f", {size(part['bytes_read'])}" if part["bytes_read"] else ""
    return (part["stage"] or "running") + read + (f" of {size(part['bytes_to_read'])}" if part["bytes_to_read"] else "")

"""vcb plan, backup, mount and unmount: the engine's flow, shown and counted.

What changes something runs in a worker, and this process only watches it: pyVmomi is not imported here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import VcbError
from engine.events import ResultState
from engine.jobs import supervisor
from engine.jobs.request import Act
from engine.jobs.state import worst
from engine.reporter import Reporter, Volume
from tui.cli import render
from tui.cli.flags import Common, JsonFlag, settings_from, with_password, with_typed_password
from tui.cli.interrupt import run_cancellable
from tui.cli.progress import view
from tui.cli.screen import Screen
from tui.cli.watching import Left, watch

Spec = Annotated[
    str,
    Parameter(
        name="SPEC",
        required=True,
        help="A VM: name:web01, ipaddr:10.0.0.7 (or a DNS name), uuid:..., moref:vm-21. A bare word goes by "
        "VM_LOOKUP_METHOD.",
    ),
]
Adopt = Annotated[
    str | None,
    Parameter(
        help="Moref of a backup snapshot that this proxy cannot prove to be its own: with this word it may be used and "
        "removed as if it were.",
    ),
]
OneJob = Annotated[
    str, Parameter(name="JOB", required=True, help="A job's id, or how it begins or ends: vcb jobs lists them.")
]
_SUMS = ("bytes_provisioned", "bytes_allocated", "bytes_read", "bytes_stored")

Detach = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Only start the job, tell its id, and come back.")
]
Job = Callable[[Reporter, CancelToken], Any]


def plan(*specs: Spec, json: JsonFlag = False, common: Common = None) -> int:
    """Show what a backup would do, disk by disk, without doing it."""
    screen = Screen(as_json=json)
    settings = with_password(settings_from(common))
    from engine.flow import job  # noqa: PLC0415 - pyVmomi takes half a second

    plans = []
    for spec in specs:
        made = watched(screen, settings, lambda report, cancel, spec=spec: job.plan(spec, settings, report, cancel))
        plans.append(made)
        screen.show(render.plan(made.to_json(), screen.width))
        screen.line()
    screen.result({"plans": [made.to_json() for made in plans]})
    return next((made.obstacle.exit_code for made in plans if made.obstacle), 0)


def backup(
    *specs: Spec,
    adopt: Adopt = None,
    parallel: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))] = 1,
    detach: Detach = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Back up VMs: snapshot, export, verify, restore point, snapshot removed.

    The work is done by a process of its own, so that a lost terminal or SSH session doesn't end it: vcb attach shows it
    again. Ctrl-C cancels it cleanly.

    Exit code: 0 success, 3 completed with exceptions (a disk was skipped), 1 failure, 2 wrong settings, 130 cancelled.

    Parameters
    ----------
    parallel
        How many of the VMs at once.
    """
    settings = with_typed_password(settings_from(common))
    job = supervisor.start(Act.BACKUP, specs, settings, adopt=adopt, parallel=parallel)
    return _detached(Screen(as_json=json), job) if detach else _attached(Screen(as_json=json), job)


def resume(job: OneJob, /, *, detach: Detach = False, json: JsonFlag = False, common: Common = None) -> int:
    """Go on where a backup stopped whose worker died: on its snapshot, without reading again what it had read.

    Works as long as the dead job's snapshot and its files are there; what vcb reconcile has cleared away is backed up
    anew. VMs that the job had ended with are not touched. The settings are those of today.
    """
    settings = with_typed_password(settings_from(common))
    started = supervisor.resume(supervisor.find(job), settings)
    return _detached(Screen(as_json=json), started) if detach else _attached(Screen(as_json=json), started)


def mount(spec: Spec, /, *, adopt: Adopt = None, json: JsonFlag = False, common: Common = None) -> int:
    """Export a VM and leave the mount point and its snapshot, for another backup software's pre script."""
    settings = with_typed_password(settings_from(common))
    return _attached(Screen(as_json=json), supervisor.start(Act.MOUNT, [spec], settings, adopt=adopt))


def unmount(directory: Path, /, *, json: JsonFlag = False, common: Common = None) -> int:
    """Remove a mount point that vcb mount made, and its snapshot as SNAPSHOT_POLICY says."""
    settings = with_typed_password(settings_from(common))
    bare = directory.parent == Path()  # the engine takes a bare name in BACKUPROOT
    subject = str(directory if bare else directory.absolute())
    return _attached(Screen(as_json=json), supervisor.start(Act.UNMOUNT, [subject], settings))


def _detached(screen: Screen, job: supervisor.Job) -> int:
    screen.line(f"Job {job.id} runs on its own. To see it: vcb attach {job.id}")
    screen.result({"job": job.id, "directory": str(job.directory)})
    return 0


def _attached(screen: Screen, job: supervisor.Job) -> int:
    screen.line(f"Job {job.id}; it outlives this terminal, and vcb attach shows it again.", "dim")
    return shown(screen, job, ctrl_c_cancels=True)


def shown(screen: Screen, job: supervisor.Job, *, ctrl_c_cancels: bool) -> int:
    """Watches a job to its end: events, summaries, the machine's line, the exit code of the worst result. One that ends
    before the job does (see `watch`) says nothing to the machine: there is no result."""
    try:
        total = combined(watch(screen, job, ctrl_c_cancels=ctrl_c_cancels))
    except Left as left:
        return left.exit_code
    screen.result(total)
    return int(total["exit_code"])


def run_jobs(
    screen: Screen,
    settings: Settings,
    jobs: Sequence[Job],
    afterwards: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None,
) -> int:
    """Runs the jobs one after the other until one is cancelled; shows each one's summary, then the machine's line,
    which also carries what `afterwards` makes of the outcomes' JSON forms. The exit code is the worst one's."""
    outcomes = []
    for work in jobs:
        outcome = watched(screen, settings, work)
        outcomes.append(outcome.to_json())
        screen.line()
        screen.show(render.summary(outcomes[-1], screen.width))
        if outcome.state is ResultState.CANCELLED:
            break
    total = combined(outcomes) | (afterwards(outcomes) if afterwards else {})
    screen.result(total)
    return int(total["exit_code"])


def watched(screen: Screen, settings: Settings, work: Job) -> Any:
    """Runs one job with its events on the screen and Ctrl-C as a clean cancel."""
    with view(screen, settings.LOGLEVEL) as seen:
        report = Reporter(seen, Volume(settings.LOGLEVEL))
        return run_cancellable(lambda cancel: work(report, cancel), seen.say)


def combined(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The machine's view of one or several outcomes (their JSON forms, kept under `vms`)."""
    states = [ResultState(outcome["state"]) for outcome in outcomes]
    result = worst(states)
    errors = [outcome["error"] for outcome in outcomes if outcome.get("error")]
    code = (
        2 if result is ResultState.FAILURE and errors and errors[0]["code"] in ("config", "spec") else result.exit_code
    )
    return {
        "result": result.value,
        "exit_code": code,
        "sentence": " ".join(outcome["sentence"] for outcome in outcomes),
        "transport": ", ".join(dict.fromkeys(outcome["transport"] for outcome in outcomes if outcome.get("transport"))),
        "points": [outcome["point"] for outcome in outcomes if outcome.get("point")],
        **{name: sum(outcome.get(name, 0) for outcome in outcomes) for name in _SUMS},
        "disks_skipped": [
            {"vm": outcome.get("vm", ""), **skipped}
            for outcome in outcomes
            for skipped in outcome.get("disks_skipped", ())
        ],
        "error": errors[0] if errors else None,
        "vms": list(outcomes),
    }


def failed(error: VcbError) -> dict[str, Any]:
    """The machine's line for a command that ended before any job did."""
    state = ResultState.CANCELLED if error.exit_code == ResultState.CANCELLED.exit_code else ResultState.FAILURE
    empty: dict[str, Any] = {**dict.fromkeys(_SUMS, 0), "transport": "", "points": [], "disks_skipped": [], "vms": []}
    return {
        "result": state.value,
        "exit_code": error.exit_code,
        "sentence": error.sentence,
        "error": error.to_json(),
        **empty,
    }

"""The engine's front door: plan, backup, mount and unmount, each one call that connects, works and answers."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.config.rules import require_runnable
from engine.config.secrets import find_password
from engine.errors import ConfigError, VcbError
from engine.events import Result
from engine.flow.backup import VmBackup
from engine.flow.job_context import JobContext
from engine.flow.ledger import Ledger
from engine.flow.outcome import Outcome
from engine.flow.plan import Plan
from engine.flow.survey import look_up, make_plan
from engine.flow.unmount import unmount_directory
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.state_directory import StateDirectory, new_job_id
from engine.system_errors import from_system
from engine.vsphere.approvals import Approvals
from engine.vsphere.session import Session, connect
from engine.vsphere.trust import Trust

Prompt = Callable[[], str]


def plan(spec: str, settings: Settings, report: Reporter, cancel: CancelToken, *, prompt: Prompt | None = None) -> Plan:
    """What a backup would do, without doing it. Raises VcbError when the VM can't be found or read; what would stop
    the run itself is the plan's `obstacle`."""
    with _job(settings, report, cancel, prompt, adopt=None, job_id="plan") as job:
        return make_plan(job, look_up(job, spec))


def plan_in(session: Session, spec: str, settings: Settings, report: Reporter, cancel: CancelToken) -> Plan:
    """As `plan`, in a session that is there already and stays open. Raises ConfigError when the settings lead to
    another server."""
    if (session.host, session.port) != (settings.HOST, settings.PORT):
        raise ConfigError(
            f"the settings lead to {settings.HOST}:{settings.PORT}, this session to {session.host}:{session.port}"
        )
    state = StateDirectory.default()
    job = JobContext("plan", settings, session, report, cancel, state, Ledger(state.job("plan")))
    return make_plan(job, look_up(job, spec))


def backup(
    spec: str,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    adopt: str | None = None,
    prompt: Prompt | None = None,
    job_id: str | None = None,
    resume: str = "",
) -> Outcome:
    """Snapshot, export, verify, restore point, and everything removed that must not stay. Never raises VcbError.

    `job_id` names the ledger's directory; without it a new one is made up. `resume` is the id of a dead job's part for
    this VM: its snapshot is read on, and what it had read already is not read again."""
    return _run("backup", spec, settings, report, cancel, adopt=adopt, prompt=prompt, job_id=job_id, resume=resume)


def mount(
    spec: str,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    adopt: str | None = None,
    prompt: Prompt | None = None,
    job_id: str | None = None,
) -> Outcome:
    """As `backup`, but mount point and snapshot stay until `unmount`. Never raises VcbError."""
    return _run("mount", spec, settings, report, cancel, adopt=adopt, prompt=prompt, job_id=job_id)


def unmount(
    directory: Path,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
    job_id: str | None = None,
) -> Outcome:
    """Removes a mount point of ours, and its snapshot as the policy it was mounted with says. Never raises VcbError."""
    outcome = Outcome(job_id or new_job_id(), "unmount")
    with _concluded(outcome, report), _job(settings, report, cancel, prompt, adopt=None, job_id=outcome.job) as job:
        unmount_directory(job, directory, outcome)
    return outcome


def _run(
    act: str,
    spec: str,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    adopt: str | None,
    prompt: Prompt | None,
    job_id: str | None,
    resume: str = "",
) -> Outcome:
    outcome = Outcome(job_id or new_job_id(), act)
    with _concluded(outcome, report), _job(settings, report, cancel, prompt, adopt=adopt, job_id=outcome.job) as job:
        VmBackup(job, outcome, resume=resume).run(spec)
    return outcome


@contextmanager
def _concluded(outcome: Outcome, report: Reporter) -> Iterator[None]:
    """Whatever happened before or around the run ends in the outcome, and the outcome in the last event."""
    try:
        yield
    except VcbError as error:
        outcome.error = outcome.error or error
    except Exception as error:
        outcome.error = outcome.error or from_system(error)
        if from_system(error) is None:
            raise
    if outcome.error is not None:
        report.error(outcome.error, LogLevel.FATAL)
    report.emit(Result(state=outcome.state.value, sentence=outcome.sentence, summary=outcome.to_json()))


@contextmanager
def _job(
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    prompt: Prompt | None,
    *,
    adopt: str | None,
    job_id: str,
) -> Iterator[JobContext]:
    state = StateDirectory.default()
    # The session ends whatever becomes of the ledger: one that stays logged in counts against vCenter's limit.
    with open_session(settings, report, prompt) as session, closing(Ledger(state.job(job_id))) as ledger:
        session.start_keepalive()
        yield JobContext(
            id=job_id,
            settings=settings,
            session=session,
            report=report,
            cancel=cancel,
            state=state,
            ledger=ledger,
            adopted=frozenset([adopt] if adopt else []),
        )


def open_session(settings: Settings, report: Reporter, prompt: Prompt | None) -> Session:
    """A logged-in session as the settings say. Raises ConfigError (also for what the rules forbid), TrustError,
    ConnectError, LoginError."""
    require_runnable(settings)
    found = find_password(settings, prompt)
    report.step(f"Logging in to {settings.HOST} as {settings.USERNAME}; the password comes from: {found.origin}")
    return connect(
        settings.HOST,
        settings.PORT,
        settings.USERNAME,
        found.secret,
        Trust.from_settings(settings.CA_FILE, settings.THUMBPRINT or None, Approvals(StateDirectory.default()).pins()),
        report,
        timeout=settings.HTTP_TIMEOUT,
    )

"""vcb doctor: everything a backup will need, looked at before it is needed. A list of checks; each tells what it finds,
and one that fails stops no other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.config.probes import probe
from engine.config.rules import check_rules
from engine.errors import Cancelled, VcbError
from engine.flow.job import Prompt, open_session
from engine.flow.job_context import JobContext
from engine.flow.ledger import Ledger
from engine.flow.mode_checks import hindrance
from engine.flow.reconcile.leftover import Verdict
from engine.flow.reconcile.reconcile import reconciling
from engine.flow.speed import Speed, as_it_is, with_snapshot
from engine.reporter import Reporter
from engine.state_directory import StateDirectory, new_job_id, too_open
from engine.transport.modes import MODES
from engine.vsphere.approvals import Approvals, show
from engine.vsphere.inventory import VirtualMachine, read_vm
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session
from engine.vsphere.trust import address

_SOON = timedelta(days=30)


class Health(StrEnum):
    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at: `about` is the check, a VM or a datastore."""

    health: Health
    about: str
    text: str
    hint: str = ""
    speed: Speed | None = None

    def to_json(self) -> dict[str, Any]:
        shape = {"health": self.health.value, "about": self.about, "text": self.text, "hint": self.hint}
        return {**shape, "speed": self.speed.to_json()} if self.speed else shape


class Measuring(StrEnum):
    """Whether the transport modes are measured too, and what may be done for it."""

    NO = "no"
    AS_IT_IS = "as it is"
    WITH_SNAPSHOT = "with a snapshot"


@dataclass(slots=True)
class Patient:
    """What the checks look at. `session` is there once the login check has succeeded."""

    settings: Settings
    state: StateDirectory
    report: Reporter
    cancel: CancelToken
    prompt: Prompt | None
    specs: tuple[str, ...] = ()
    measuring: Measuring = Measuring.NO
    session: Session | None = None
    machines: list[VirtualMachine] = field(default_factory=list)
    hindrances: dict[str, dict[str, str]] = field(default_factory=dict)
    """By moref and mode, "" where nothing speaks against it."""


def _configuration(patient: Patient) -> Iterator[Diagnosis]:
    found = [*check_rules(patient.settings), *probe(patient.settings)]
    for finding in found:
        yield Diagnosis(Health(finding.severity), "configuration", finding.text, finding.fix)
    if not found:
        yield Diagnosis(
            Health.OK, "configuration", f"BACKUPROOT {patient.settings.BACKUPROOT} and all options are fine"
        )


def _state(patient: Patient) -> Iterator[Diagnosis]:
    open_paths = too_open(patient.state.root)
    for path, mode in open_paths:
        text = f"{path} has mode {mode:04o}: others may look into what jobs keep, or change it"
        yield Diagnosis(Health.ERROR, "state directory", text, f"chmod go= {path}")
    if not open_paths:
        yield Diagnosis(Health.OK, "state directory", f"{patient.state.root} is its owner's alone")


def _trust(patient: Patient) -> Iterator[Diagnosis]:
    settings = patient.settings
    shown = show(settings.HOST, settings.PORT)
    approved = Approvals(patient.state).pins().get(address(settings.HOST, settings.PORT))
    way = "THUMBPRINT" if settings.THUMBPRINT else "an approval" if approved else "CA_FILE" if settings.CA_FILE else ""
    if not way:
        text = f"nothing approves the certificate of {shown.where}; its SHA-256 is {shown.sha256}"
        yield Diagnosis(Health.ERROR, "trust", text, f"vcb trust approve {shown.where}, or set CA_FILE.")
        return
    left = shown.not_after - datetime.now(UTC)
    text = f"the certificate of {shown.where} is judged by {way}; it ends on {shown.not_after:%Y-%m-%d}"
    yield Diagnosis(Health.OK if left > _SOON else Health.WARNING, "trust", text)


def _login(patient: Patient) -> Iterator[Diagnosis]:
    session = patient.session = open_session(patient.settings, patient.report, patient.prompt)
    about = session.about
    yield Diagnosis(Health.OK, "login", f"{patient.settings.USERNAME} at {about.fullName}")
    for spec in patient.specs:
        moref = resolve(session, parse_spec(spec, patient.settings.VM_LOOKUP_METHOD))
        patient.machines.append(read_vm(session, moref))


def _modes(patient: Patient) -> Iterator[Diagnosis]:
    """For each VM, which modes would work, and why others would not."""
    if patient.session is None:
        return
    for vm in patient.machines:
        for mode in MODES.values():
            reason = hindrance(patient.session, patient.settings, patient.state, vm, mode.name)
            reason = reason or _lacking(patient.session, vm, [mode.name])
            patient.hindrances.setdefault(vm.moref, {})[mode.name] = reason
            chosen = mode.name == patient.settings.TRANSPORT_MODE
            bad = Health.ERROR if chosen else Health.NOTE
            word = " (TRANSPORT_MODE)" if chosen else ""
            text = f"{mode.name}{word}: {reason or f'nothing speaks against it; needs {mode.needs}'}"
            yield Diagnosis(bad if reason else Health.OK, vm.name, text)


def _speeds(patient: Patient) -> Iterator[Diagnosis]:
    """What each mode reads a second of each VM, where that was asked for."""
    session = patient.session
    if session is None or patient.measuring is Measuring.NO:
        return
    if not patient.specs:
        yield Diagnosis(Health.NOTE, "speed", "nothing was measured: no VM is named", "vcb doctor --measure name:web01")
    for vm in patient.machines:
        job_id = new_job_id()
        ledger = Ledger(patient.state.job(job_id))
        job = JobContext(job_id, patient.settings, session, patient.report, patient.cancel, patient.state, ledger)
        way = with_snapshot if patient.measuring is Measuring.WITH_SNAPSHOT else as_it_is
        try:
            for speed in way(job, vm, patient.hindrances[vm.moref]):
                health = Health.ERROR if speed.failed else Health.OK if speed.sample else Health.NOTE
                yield Diagnosis(health, vm.name, str(speed), speed.hint, speed)
        except Cancelled:
            raise
        except VcbError as error:
            yield Diagnosis(Health.ERROR, vm.name, f"not measured: {error}", error.hint)
        finally:
            ledger.close()


def _privileges(patient: Patient) -> Iterator[Diagnosis]:
    if patient.session is None:
        return
    for vm in patient.machines:
        for step in ("snapshot", "configuration files", "ovf descriptor"):
            if lacking := _lacking(patient.session, vm, [step]):
                health = Health.ERROR if step == "snapshot" else Health.WARNING
                yield Diagnosis(health, vm.name, f"{step}: {lacking}", "vcb doctor --role prints the whole role.")


def _lacking(session: Session, vm: VirtualMachine, steps: list[str]) -> str:
    ref = Ref("VirtualMachine", vm.moref)
    datastores = get_one(session, ref, ["datastore"]).get("datastore", ())
    lacking = missing(session, wanted(steps, {"vm": [ref], "datastore": datastores}))
    return ", ".join(f"the user lacks {privilege} on {entity}" for entity, privilege in lacking)


def _tracking(patient: Patient) -> Iterator[Diagnosis]:
    for vm in patient.machines:
        if vm.cbt:
            yield Diagnosis(Health.OK, vm.name, "changed block tracking is on")
        elif not vm.cbt_supported:
            yield Diagnosis(Health.NOTE, vm.name, f"no changed block tracking with {vm.hardware_version}")
        else:
            stopped = f", which its {len(vm.snapshots)} snapshots forbid now" if vm.snapshots else ""
            text = f"changed block tracking is off, so every backup is a full; CHANGE_TRACKING=enable{stopped}"
            yield Diagnosis(Health.NOTE, vm.name, text)
        for disk in vm.disks:
            if disk.skip:
                yield Diagnosis(Health.WARNING, vm.name, f"{disk.name} would be skipped: {disk.skip.text}")
        if vm.consolidation_needed:
            yield Diagnosis(Health.WARNING, vm.name, "its disks need consolidation", "vcb reconcile")


def _leftovers(patient: Patient) -> Iterator[Diagnosis]:
    with reconciling(patient.settings, patient.report, patient.cancel, prompt=patient.prompt) as work:
        found = work.look()
    ours = [each for each in found.shown if each.verdict is Verdict.OURS]
    for each in ours:
        yield Diagnosis(Health.WARNING, "leftovers", f"{each.text}: {each.why}", "vcb reconcile")
    for sentence in found.unchecked:
        yield Diagnosis(Health.WARNING, "leftovers", sentence)
    if not ours and not found.unchecked:
        yield Diagnosis(Health.OK, "leftovers", "nothing is left by dead jobs")


CHECKS: tuple[tuple[str, Callable[[Patient], Iterator[Diagnosis]]], ...] = (
    ("configuration", _configuration),
    ("state directory", _state),
    ("trust", _trust),
    ("login", _login),
    ("privileges", _privileges),
    ("transport modes", _modes),
    ("speed", _speeds),
    ("change tracking", _tracking),
    ("leftovers", _leftovers),
)
"""In the order in which they build on each other."""


def examine(
    settings: Settings,
    specs: tuple[str, ...],
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
    measuring: Measuring = Measuring.NO,
) -> Iterator[Diagnosis]:
    """All findings of all checks, as they come. Raises Cancelled between two checks, and from within a measurement."""
    patient = Patient(settings, StateDirectory.default(), report, cancel, prompt, specs, measuring)
    try:
        for name, check in CHECKS:
            cancel.check()
            try:
                yield from check(patient)
            except Cancelled:
                raise
            except VcbError as error:
                yield Diagnosis(Health.ERROR, name, str(error), error.hint)
    finally:
        if patient.session is not None:
            patient.session.close()

"""CHANGE_TRACKING enable: switched on before the run's own snapshot, whose stun makes it effective."""

from engine.errors import Cancelled, PolicyError, VcbError
from engine.flow.job_context import JobContext
from engine.flow.outcome import Outcome
from engine.flow.policies import SnapshotDecision
from engine.vsphere import change_tracking, snapshots
from engine.vsphere.inventory import VirtualMachine


def wanted(setting: str, vm: VirtualMachine) -> bool:
    """Whether the operator asked for a tracking that this VM does not have yet."""
    return setting == "enable" and not vm.cbt


def obstacle(vm: VirtualMachine, decision: SnapshotDecision | None, lacking: tuple[tuple[str, str], ...]) -> str:
    """Why it can't be switched on in this run; "" when it can. `lacking` are privileges it needs."""
    if not vm.cbt_supported:
        return f"it can't: its hardware ({vm.hardware_version}) is too old"
    if lacking:
        return "the user lacks " + ", ".join(f"{privilege} on {entity}" for entity, privilege in lacking)
    if decision is None or not decision.create:
        return "this run makes no snapshot of its own"
    removed = {snapshot.moref for snapshot in decision.remove_first}
    if staying := [snapshot.name for snapshot in vm.snapshots if snapshot.moref not in removed]:
        return f"it has snapshots ({', '.join(staying)})"
    return ""


def enable(job: JobContext, vm: VirtualMachine, outcome: Outcome) -> None:
    """Right before the snapshot. A failure costs the next run its incremental, not this one its point."""
    try:
        if snapshots.read(job.session, vm.moref):
            raise PolicyError("The VM got a snapshot meanwhile.")
        change_tracking.enable(job.session, vm.moref, job.report, job.cancel, subject=vm.name)
    except Cancelled:
        raise
    except VcbError as error:
        job.report.error(error)
        outcome.exceptions.append(f"Changed block tracking could not be switched on: {error.sentence}")
        return
    job.report.step(f"Changed block tracking of {vm.name} is switched on; it counts from this run's snapshot on.")

"""A snapshot that is gone from the tree may still sit on the datastore: vSphere then says `consolidationNeeded`."""

from engine.cancel import CancelToken
from engine.errors import VcbError
from engine.flow.job_context import JobContext
from engine.flow.outcome import Outcome
from engine.flow.retry import with_retries
from engine.reporter import Reporter
from engine.vsphere.snapshots import consolidate, consolidation_needed


def settle_consolidation(
    job: JobContext, moref: str, name: str, outcome: Outcome, report: Reporter, *, before: bool
) -> None:
    """Consolidates when our own removal left deltas behind; a VM that needed it `before` is told, not touched."""
    if not consolidation_needed(job.session, moref):
        report.step("No disk needs consolidation.")
        return
    if before:
        outcome.exceptions.append(f"Disks of {name} needed consolidation before this run, and still do.")
        return
    report.warning("The snapshot is removed, but its disks need consolidation; consolidating.")
    try:
        with_retries(
            lambda: consolidate(job.session, moref, report),
            doing=f"Consolidating {name}",
            retries=job.settings.MAX_RETRIES,
            backoff=job.settings.BACKOFF_TIME,
            report=report,
            cancel=CancelToken(),
        )
    except VcbError as error:
        report.error(error)
    if consolidation_needed(job.session, moref):
        outcome.exceptions.append(f"Disks of {name} still need consolidation: use Snapshots > Consolidate in vCenter.")

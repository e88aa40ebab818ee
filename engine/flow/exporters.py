"""Which exporter carries a run: TRANSPORT_MODE, and only where the operator configured it, a fallback."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from engine.errors import ConnectError, TransportError
from engine.events import Fallback
from engine.flow.encrypted_unsuitable import refuse
from engine.flow.hotadd_sources import HotaddSources
from engine.flow.incremental import DiskMethod
from engine.flow.job_context import JobContext
from engine.flow.lease_exporter import LeaseExporter
from engine.flow.nfc_sources import NfcSources
from engine.flow.outcome import DiskOutcome
from engine.flow.plan import Plan
from engine.flow.retry import with_retries
from engine.flow.san_sources import SanSources
from engine.flow.source_exporter import SourceExporter, Sources
from engine.reporter import Reporter
from engine.vsphere.disks import Disk
from engine.vsphere.snapshots import Snapshot, frozen_disks


class Exporter(Protocol):
    """Opened for all disks of a run, or not at all. The rest of the flow knows no transport."""

    transport: str
    """The mode that really carries the bytes."""
    frozen: dict[int, Disk]
    """The disks as the snapshot froze them, by deviceKey."""

    def export(self, key: int, method: DiskMethod, directory: Path, report: Reporter) -> DiskOutcome:
        """Writes the disk with this deviceKey, whole or as a child of its last point, and the list of its grains'
        hashes. An incremental whose audit fails becomes a full."""
        ...

    def finish(self) -> None:
        """All disks are written: gives back what the transport holds."""
        ...

    def abort(self) -> None:
        """The run failed: the same, and the other side is told so."""
        ...


Opener = Callable[[JobContext, Plan, Snapshot, dict[int, Disk], Reporter], Exporter]


def _from(make: Callable[[JobContext, Plan], Sources]) -> Opener:
    return lambda job, plan, _snapshot, frozen, report: SourceExporter(job, plan, make(job, plan), frozen, report)


def _hotadd(job: JobContext, plan: Plan, snapshot: Snapshot, frozen: dict[int, Disk], report: Reporter) -> Exporter:
    return SourceExporter(job, plan, HotaddSources(job, plan, snapshot), frozen, report)


_OPENERS: Mapping[str, Opener] = {
    "san": _from(lambda job, plan: SanSources(job, plan.vm)),
    "nbd": _from(lambda job, plan: NfcSources(job, plan.vm.moref, "nbd")),
    "nbdssl": _from(lambda job, plan: NfcSources(job, plan.vm.moref, "nbdssl")),
    "hotadd": _hotadd,
    "https": LeaseExporter,
}


def open_exporter(job: JobContext, plan: Plan, snapshot: Snapshot, report: Reporter) -> Exporter:
    """Opens every disk of the plan in TRANSPORT_MODE. Only when TRANSPORT_FALLBACK names other modes are those tried,
    in their order, each use shown; the first that opens all disks carries them all."""
    frozen = {disk.key: disk for disk in frozen_disks(job.session, snapshot.moref)}
    missing = [planned.disk.name for planned in plan.exported if planned.disk.key not in frozen]
    if missing:
        raise TransportError(f"Snapshot {snapshot.moref} does not hold {', '.join(missing)}.")
    modes = [plan.transport, *(mode for mode in job.settings.TRANSPORT_FALLBACK if mode != plan.transport)]
    for position, mode in enumerate(modes[:-1], start=1):
        try:
            return _open(mode, job, plan, snapshot, frozen, report)
        except (TransportError, ConnectError) as error:  # ConnectError: port 902 is closed, 443 may be open
            report.emit(Fallback(asked=mode, used=modes[position], reason=str(error)))
            report.warning(f"{mode} can't carry the disks: {error.sentence} Trying {modes[position]}.")
    return _open(modes[-1], job, plan, snapshot, frozen, report)


def _open(  # noqa: PLR0917
    mode: str, job: JobContext, plan: Plan, snapshot: Snapshot, frozen: dict[int, Disk], report: Reporter
) -> Exporter:
    refuse(plan.vm, mode)
    opener = _OPENERS[mode]
    return with_retries(
        lambda: opener(job, plan, snapshot, frozen, report),
        doing=f"Opening the disks over {mode}",
        retries=job.settings.MAX_RETRIES,
        backoff=job.settings.BACKOFF_TIME,
        report=report,
        cancel=job.cancel,
    )

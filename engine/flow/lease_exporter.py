"""https: each frozen disk once, as the streamOptimized stream of an export lease on port 443."""

from pathlib import Path

from engine.errors import TransportError, VcbError, VerifyError
from engine.flow.disk_progress import conclude, watch
from engine.flow.grain_list import grain_list
from engine.flow.incremental import DiskMethod
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind
from engine.flow.outcome import DiskOutcome
from engine.flow.plan import Plan
from engine.flow.unanswered import look_for, silent, unanswered
from engine.image.direct_output import keep_free
from engine.image.stream_spool import take_in
from engine.points.naming import disk_file
from engine.reporter import Reporter
from engine.transport.https import LeaseStream
from engine.vsphere import tasks
from engine.vsphere.disks import Disk
from engine.vsphere.lease import DeviceUrl, ExportLease, ManifestEntry
from engine.vsphere.properties import Ref
from engine.vsphere.snapshots import Snapshot


class LeaseExporter:
    """Holds the lease from open to finish: meanwhile vCenter refuses to power on, move or destroy the VM, so every way
    out of a run ends it. A lease whose stream broke is given up; the next disk, or the next attempt, gets a new one."""

    transport = "https"

    def __init__(
        self, job: JobContext, plan: Plan, snapshot: Snapshot, frozen: dict[int, Disk], report: Reporter
    ) -> None:
        self._job, self._plan, self._snapshot, self.frozen = job, plan, snapshot, frozen
        self._entry = 0
        self._task: Ref | None = None
        self._lease: ExportLease | None = self._start(report)

    def export(self, key: int, method: DiskMethod, directory: Path, report: Reporter) -> DiskOutcome:
        lease, device, stream = self._stream(key, report)
        disk, expected = self.frozen[key], self.frozen[key].allocated or 0
        passed_on = watch(disk, self.transport, expected, report)
        try:
            with grain_list(directory, disk) as grains, stream:
                image = take_in(
                    stream,
                    directory / disk_file(disk.name),
                    format=self._plan.export_format,
                    cancel=self._job.cancel,
                    progress=passed_on,
                    to_read=expected,
                    reserve=keep_free(directory, self._plan.space.keep_free),
                    hashes=grains.add,
                )
                grains.settle(complete=image.hashed)
            _compare(disk, device, stream, lease.manifest(), report)
        except BaseException:
            self.abort()
            raise
        return conclude(disk, self.transport, image, method, grains.entry, report)

    def stream(self, key: int, report: Reporter) -> LeaseStream:
        """The disk with this deviceKey, to be read in any way but as an export."""
        return self._stream(key, report)[2]

    def finish(self) -> None:
        if self._lease is None:
            return
        try:
            self._lease.complete()
        except BaseException:
            self.abort()
            raise
        self._lease = None
        self._job.ledger.undone(self._entry)

    def abort(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if not lease.abort() and self._task is not None:
            # Its session has ended, and it with that, but not at once: until then the snapshot can't be removed.
            try:
                tasks.cancel_export(self._job.session, self._plan.vm.moref, self._task, self._job.report)
            except VcbError as error:
                self._job.report.error(error)
        self._job.ledger.undone(self._entry)

    def _stream(self, key: int, report: Reporter) -> tuple[ExportLease, DeviceUrl, LeaseStream]:
        lease = self._lease = self._lease or self._start(report)
        device = next(device for device in lease.devices if device.device_key == key)
        stream = LeaseStream(
            device,
            session=self._job.session,
            lease=lease,
            report=report,
            cancel=self._job.cancel,
            timeout=self._job.settings.HTTP_TIMEOUT,
        )
        return lease, device, stream

    def _start(self, report: Reporter) -> ExportLease:
        job, vm = self._job, self._plan.vm
        before = set(tasks.recent(job.session, vm.moref))
        self._entry = job.ledger.intent(Kind.LEASE, vm=vm.moref, snapshot=self._snapshot.moref)
        try:
            lease = ExportLease.start(job.session, self._snapshot.moref, report, cancel=job.cancel, subject=vm.name)
        except BaseException as error:
            if unanswered(error):
                self._end_unknown(before, error, report)
            else:
                job.ledger.undone(self._entry)  # `start` has aborted a lease that did not get ready
            raise
        # Another session can't reach the lease itself, but it can cancel the lease's task.
        made = [task for task in tasks.exports(job.session, vm.moref) if task not in before]
        self._task = made[0] if len(made) == 1 else None
        job.ledger.done(self._entry, timeout=lease.timeout, **({"task": self._task.moid} if self._task else {}))
        offered = {device.device_key for device in lease.devices}
        missing = [planned.disk.name for planned in self._plan.exported if planned.disk.key not in offered]
        if missing:
            lease.abort()
            job.ledger.undone(self._entry)
            raise TransportError(f"The export lease of {vm.name} does not offer {', '.join(missing)}.")
        return lease

    def _end_unknown(self, before: set[Ref], failure: BaseException, report: Reporter) -> None:
        """The answer that would have named the lease was lost: while it lives, its snapshot can't be removed. What can
        be reached is the task of an export that was not there before; the ledger keeps what can't be told apart."""
        job, vm = self._job, self._plan.vm

        def made() -> list[Ref] | None:
            return [task for task in tasks.exports(job.session, vm.moref) if task not in before] or None

        try:
            found = look_for(made, failure, job.settings.HTTP_TIMEOUT) or []
            if len(found) > 1:
                return
            for task in found:
                tasks.cancel_export(job.session, vm.moref, task, report)
        except VcbError as error:
            report.error(error)
            return
        if found or not silent(failure):
            job.ledger.undone(self._entry)


def _compare(
    disk: Disk, device: DeviceUrl, stream: LeaseStream, manifest: tuple[ManifestEntry, ...], report: Reporter
) -> None:
    """The server's account of what it sent against what arrived; servers that keep none are told so in the log."""
    entry = next((entry for entry in manifest if entry.key == device.key), None)
    if entry is None:
        report.step(f"{disk.name}: the server keeps no manifest; its {stream.received:,} bytes are hashed by us alone.")
        return
    ours = stream.digests.of(entry.checksum_type)
    if entry.size != stream.received or (ours is not None and entry.checksum != ours):
        raise VerifyError(
            f"{disk.name}: the server sent {entry.size:,} bytes ({entry.checksum_type} {entry.checksum[:16]}...), "
            f"but {stream.received:,} arrived ({(ours or 'not compared')[:16]}...).",
            hint="Run the backup again; if it happens again, suspect the network between proxy and host.",
        )
    report.step(f"{disk.name}: {stream.received:,} bytes, {entry.checksum_type} as the server's manifest says.")

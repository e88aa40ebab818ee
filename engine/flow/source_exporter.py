"""san, nbd, nbdssl and hotadd: each frozen disk as a source that the image pipeline reads where there is data."""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from engine.errors import TransportError
from engine.extents import DiskSource, Extent, aligned, difference, intersection, total
from engine.flow.allocated_source import AllocatedOnly
from engine.flow.cbt_audit import RESET_HINT, Audit, audit, lie
from engine.flow.disk_progress import conclude, watch
from engine.flow.grain_list import grain_list
from engine.flow.incremental import DiskMethod, require_allowed, tracking_of
from engine.flow.job_context import JobContext
from engine.flow.outcome import DiskOutcome
from engine.flow.plan import Plan
from engine.image.direct_output import keep_free
from engine.image.pipeline import export
from engine.image.sparse_header import GRAIN
from engine.loglevel import LogLevel
from engine.points.grain_hashes import ChainHashes
from engine.points.naming import disk_file
from engine.reporter import Reporter
from engine.vsphere.disks import Disk


class Sources(Protocol):
    """Where one transport's disks come from."""

    transport: str
    """san, nbd, nbdssl or hotadd."""

    def probe(self, disk: Disk, report: Reporter) -> DiskSource:
        """The disk, opened with as little as proves that it can be read, and read rightly. Raises TransportError and
        what the transport raises."""
        ...

    def open(self, disk: Disk, report: Reporter) -> DiskSource:
        """The disk, for all of its bytes."""
        ...

    def check_read(self, disk: Disk, source: DiskSource, report: Reporter) -> None:
        """All was read: TransportError when it may not be what the disk held."""
        ...

    def close(self) -> None:
        """Gives back what is held for all disks. Safe twice."""
        ...


class SourceExporter:
    """Each disk is opened once to prove that it can be, and for its map; then again for its export: what a transport
    holds open (a host's connections) must not wait idle for the disks before."""

    def __init__(
        self, job: JobContext, plan: Plan, sources: Sources, frozen: dict[int, Disk], report: Reporter
    ) -> None:
        self.transport = sources.transport
        self._sources = sources
        self._job, self._plan, self.frozen = job, plan, frozen
        self._maps: dict[int, Sequence[Extent]] = {}
        try:
            for planned in plan.exported:
                disk = frozen[planned.disk.key]
                self._maps[disk.key] = self._map(disk, report.bind(disk=disk.name))
        except BaseException:
            sources.close()
            raise

    def export(self, key: int, method: DiskMethod, directory: Path, report: Reporter) -> DiskOutcome:
        disk = self.frozen[key]
        source = self._sources.open(disk, report)
        try:
            audited, alarm = 0, ""
            if method.links:
                found = self._audit(source, disk, method, report)
                audited = found.read
                if found.differing:
                    alarm = lie(disk.name, found, method.parent_point)
                    report.warning(alarm, hint=RESET_HINT)
                    method = DiskMethod(alarm, distrusted=tracking_of(disk.change_id))
                    require_allowed(self._job.settings, disk.name, method)
            done = self._export(source, disk, method, directory, report)
            self._sources.check_read(disk, source, report)
        finally:
            source.close()
        return replace(done, read=done.read + audited, audited=audited, alarm=alarm)

    def _export(
        self, source: DiskSource, disk: Disk, method: DiskMethod, directory: Path, report: Reporter
    ) -> DiskOutcome:
        settings = self._job.settings
        allocated = aligned(self._maps[disk.key], GRAIN, disk.capacity)
        wanted = aligned(method.changed, GRAIN, disk.capacity) if method.links else allocated
        taken_over = self._job.resumed
        resumed = taken_over.source(source, disk) if taken_over else None
        carried = AllocatedOnly(resumed or source, allocated)
        passed_on = watch(disk, self.transport, total(intersection(wanted, allocated)), report)
        with closing(resumed) if resumed else nullcontext(), grain_list(directory, disk) as grains:
            image = export(
                carried,
                wanted,
                directory / disk_file(disk.name),
                format="compact" if method.links else self._plan.export_format,
                threads=settings.COMPRESSION_THREADS,
                cancel=self._job.cancel,
                progress=lambda state: passed_on(replace(state, read=state.read - carried.unread)),
                reserve=keep_free(directory, self._plan.space.keep_free),
                parent=method.parent,
                hashes=grains.add,
            )
            grains.settle(complete=image.hashed)
        reused = resumed.reused if resumed else 0
        if resumed and taken_over:
            report.log(LogLevel.STAGE, f"{reused:,} bytes are those that job {taken_over.job} had read.")
        delivered = replace(image, read=image.read - carried.unread - reused)
        return conclude(disk, self.transport, delivered, method, grains.entry, report)

    def _audit(self, source: DiskSource, disk: Disk, method: DiskMethod, report: Reporter) -> Audit:
        """A sample of the allocated grains that CBT calls unchanged, against the lists of the chain."""
        settings = self._job.settings
        allocated = aligned(self._maps[disk.key], GRAIN, disk.capacity)
        unchanged = difference(allocated, aligned(method.changed, GRAIN, disk.capacity))
        known = ChainHashes.open([link.grains for link in method.links], disk.capacity)
        try:
            found = audit(
                source,
                unchanged,
                known,
                share=settings.CBT_AUDIT,
                limit=settings.CBT_AUDIT_LIMIT,
                cancel=self._job.cancel,
            )
        finally:
            known.close()
        report.step(
            f"{disk.name}: {found.read:,} of {total(unchanged):,} bytes that CBT calls unchanged are read and compared "
            f"with {method.parent_point}: {len(found.differing)} differences."
        )
        return found

    def finish(self) -> None:
        self._sources.close()

    def abort(self) -> None:
        self._sources.close()

    def _map(self, disk: Disk, report: Reporter) -> Sequence[Extent]:
        source = self._sources.probe(disk, report)
        try:
            if source.capacity != disk.capacity:
                raise TransportError(
                    f"{disk.file} has {source.capacity:,} bytes over {self.transport}; vCenter says {disk.capacity:,}.",
                    hint="Was the disk resized meanwhile? Run the backup again.",
                )
            extents = source.allocated()
        finally:
            source.close()
        report.api(f"{disk.file}: {total(extents):,} of {disk.capacity:,} bytes allocated, {len(extents)} extents")
        return extents

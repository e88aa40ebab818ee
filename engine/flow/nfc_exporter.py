"""nbd and nbdssl: each frozen disk as a source that the image pipeline reads where there is data."""

from collections.abc import Sequence
from pathlib import Path

from engine.errors import TransportError
from engine.extents import DiskSource, Extent, total
from engine.flow.disk_progress import conclude, watch
from engine.flow.job_context import JobContext
from engine.flow.outcome import DiskOutcome
from engine.flow.plan import Plan
from engine.image.direct_output import keep_free
from engine.image.pipeline import export
from engine.points.naming import disk_file
from engine.reporter import Reporter
from engine.transport.nfc.source import Patience, open_nfc
from engine.vsphere.disks import Disk
from engine.vsphere.tickets import read_ticket


class NfcExporter:
    """Each disk is opened once to prove that it can be, and for its map; then again for its export: connections are
    scarce on the host and must not wait idle for the disks before them."""

    def __init__(self, job: JobContext, plan: Plan, transport: str, frozen: dict[int, Disk], report: Reporter) -> None:
        self.transport = transport
        self._job, self._plan, self._frozen = job, plan, frozen
        self._maps: dict[int, Sequence[Extent]] = {}
        for planned in plan.exported:
            disk = frozen[planned.disk.key]
            self._maps[disk.key] = self._map(disk, report.bind(disk=disk.name))

    def export(self, key: int, directory: Path, report: Reporter) -> DiskOutcome:
        disk, extents, settings = self._frozen[key], self._maps[key], self._job.settings
        source = self._open(disk, report, settings.NFC_CONNECTIONS)
        try:
            image = export(
                source,
                extents,
                directory / disk_file(disk.name),
                format=self._plan.export_format,
                threads=settings.COMPRESSION_THREADS,
                cancel=self._job.cancel,
                progress=watch(disk, self.transport, total(extents), report),
                reserve=keep_free(directory, self._plan.space.keep_free),
            )
        finally:
            source.close()
        return conclude(disk, self.transport, image, report)

    def finish(self) -> None:
        """Nothing is held between disks."""

    def abort(self) -> None:
        """Nothing is held between disks."""

    def _map(self, disk: Disk, report: Reporter) -> Sequence[Extent]:
        source = self._open(disk, report, connections=1)
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

    def _open(self, disk: Disk, report: Reporter, connections: int) -> DiskSource:
        settings, job = self._job.settings, self._job
        return open_nfc(
            lambda: read_ticket(job.session, self._plan.vm.moref),
            disk.file,
            encrypted=self.transport == "nbdssl",
            connections=connections,
            buffer=settings.NFC_BUFFER,
            requests=settings.NFC_REQUESTS,
            report=report,
            cancel=job.cancel,
            patience=Patience(timeout=settings.HTTP_TIMEOUT),
        )

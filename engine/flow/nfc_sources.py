"""nbd and nbdssl: disks that the ESXi host sends."""

from engine.extents import DiskSource
from engine.flow.job_context import JobContext
from engine.reporter import Reporter
from engine.transport.nfc.source import Patience, open_nfc
from engine.vsphere.disks import Disk
from engine.vsphere.tickets import read_ticket


class NfcSources:
    """Of one VM. Nothing is held between disks."""

    def __init__(self, job: JobContext, vm_moref: str, transport: str) -> None:
        self.transport = transport
        self._job, self._vm = job, vm_moref

    def probe(self, disk: Disk, report: Reporter) -> DiskSource:
        return self._open(disk, report, connections=1)

    def open(self, disk: Disk, report: Reporter) -> DiskSource:
        return self._open(disk, report, self._job.settings.NFC_CONNECTIONS)

    def check_read(self, disk: Disk, source: DiskSource, report: Reporter) -> None:
        """The host reads for us: nothing to doubt."""

    def close(self) -> None:
        """Nothing is held."""

    def _open(self, disk: Disk, report: Reporter, connections: int) -> DiskSource:
        settings, job = self._job.settings, self._job
        return open_nfc(
            lambda: read_ticket(job.session, self._vm),
            disk.file,
            encrypted=self.transport == "nbdssl",
            connections=connections,
            buffer=settings.NFC_BUFFER,
            requests=settings.NFC_REQUESTS,
            report=report,
            cancel=job.cancel,
            patience=Patience(timeout=settings.HTTP_TIMEOUT),
        )

"""hotadd: frozen disks attached to the VM that we run in (facts/storage.md 2)."""

from collections.abc import Sequence

from engine.errors import Cancelled, ConnectError, TransportError, VcbError
from engine.extents import DiskSource, Extent, total
from engine.flow import attachments
from engine.flow.attachments import Attached
from engine.flow.hotadd_unsuitable import check
from engine.flow.job_context import JobContext
from engine.flow.nfc_sources import NfcSources
from engine.flow.plan import Plan
from engine.reporter import Reporter
from engine.transport.block_device import BlockDevice
from engine.transport.holes import data_in_holes
from engine.transport.hotadd.guest_disk import await_device, devices_of, open_checked
from engine.transport.hotadd.source import SAMPLES, HotaddSource
from engine.vsphere.disks import Disk
from engine.vsphere.hotadd import JournalEntry, read_proxy
from engine.vsphere.snapshots import Snapshot


class HotaddSources:
    """Of one VM. Each disk is attached when it is probed, and stays until `close`."""

    transport = "hotadd"

    def __init__(self, job: JobContext, plan: Plan, snapshot: Snapshot) -> None:
        self._job, self._vm, self._snapshot = job, plan.vm, snapshot
        self._attached: dict[str, Attached] = {}
        self._maps: dict[str, Sequence[Extent]] = {}
        self._host = NfcSources(job, plan.vm.moref, "nbdssl")
        self._unreachable: VcbError | None = None
        attachments.sweep(job)
        self._proxy = attachments.own_vm(job.session, job.settings)
        proxy = read_proxy(job.session, self._proxy)
        check(job.session, proxy, plan.vm, [planned.disk for planned in plan.exported])

    def probe(self, disk: Disk, report: Reporter) -> DiskSource:
        """Attached, found by its name, measured; with the host's map of what is in use, if a sample of the rest is
        zeros. The map is asked for first, while nobody else has the file open."""
        areas = self._map(disk, report)
        source = HotaddSource(self._open(disk, self._attach(disk), report), areas)
        try:
            at = data_in_holes(source, areas, samples=SAMPLES)
        except BaseException:
            source.close()
            raise
        if at is not None:
            report.warning(f"{disk.name} is read whole: it has data at byte {at:,}, which its host calls free.")
            source.read_whole()
        self._maps[disk.file] = source.allocated()
        return source

    def open(self, disk: Disk, report: Reporter) -> DiskSource:
        return HotaddSource(self._open(disk, self._attached[disk.file], report), self._maps[disk.file])

    def check_read(self, disk: Disk, source: DiskSource, report: Reporter) -> None:
        """The file is held by the proxy: nothing moves it away under us."""

    def close(self) -> None:
        """All that was attached goes; raises VcbError for the first that stays, when all had their turn."""
        problem: VcbError | None = None
        for file, done in list(self._attached.items()):
            try:
                attachments.detach(self._job, self._proxy, done)
            except VcbError as error:
                problem = problem or error
            else:
                del self._attached[file]
                self._job.report.step(f"{file} is detached from the proxy.")
        if problem is not None:
            raise problem

    def _attach(self, disk: Disk) -> Attached:
        job = self._job
        if there := devices_of(disk.uuid, job.settings.HOTADD_DEVICES):
            raise TransportError(
                f"This machine has a device with the uuid of {disk.file} already, before it is attached: "
                f"{', '.join(sorted(map(str, there)))}.",
                hint="Is it a disk of the proxy's own, a copy of which this is? Use nbdssl for this VM.",
            )
        entry = JournalEntry(disk.file, self._vm.moref, self._snapshot.moref, job.id, job.state.proxy_id)
        done = self._attached[disk.file] = attachments.attach(job, self._proxy, entry, disk.capacity)
        if done.uuid != disk.uuid:
            raise TransportError(f"{disk.file} has the uuid {done.uuid} on the proxy, and {disk.uuid} in its snapshot.")
        return done

    def _open(self, disk: Disk, done: Attached, report: Reporter) -> BlockDevice:
        path = await_device(done.uuid, self._job.settings.HOTADD_DEVICES, self._job.cancel)
        device = open_checked(path, disk.capacity)
        cached = "" if device.direct else ", through the page cache: its file system knows no O_DIRECT"
        report.step(f"{disk.file} is {path}, known by its uuid {done.uuid}{cached}.")
        return device

    def _map(self, disk: Disk, report: Reporter) -> Sequence[Extent]:
        """What the host calls allocated, over NFC; else the whole disk, and a warning says why. Not change tracking's
        list: it knows nothing of what was written before it was on (facts/vsphere-backup.md 3.5)."""
        try:
            if self._unreachable is not None:
                raise self._unreachable
            witness = self._host.probe(disk, report)
            try:
                if witness.capacity != disk.capacity:
                    raise TransportError(f"The host calls it {witness.capacity:,} bytes, vCenter {disk.capacity:,}.")
                areas = witness.allocated()
            finally:
                witness.close()
        except Cancelled:
            raise
        except VcbError as error:
            if isinstance(error, ConnectError):
                self._unreachable = error  # one wait for it is enough
            report.warning(
                f"{disk.name} is read whole: its host does not tell over NFC (port 902) what is in use. "
                f"{error.sentence}",
                fault=error.fault,
                hint=error.hint,
            )
            return [Extent(0, disk.capacity)]
        report.step(f"{disk.name}: its host calls {total(areas):,} of {disk.capacity:,} bytes allocated.")
        return areas

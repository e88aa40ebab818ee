"""hotadd: frozen disks attached to the VM that we run in (facts/storage.md 2)."""

from collections.abc import Sequence

from engine.errors import Cancelled, TransportError, VcbError
from engine.extents import DiskSource, Extent, difference, total
from engine.flow import attachments
from engine.flow.attachments import Attached
from engine.flow.hotadd_unsuitable import check
from engine.flow.job_context import JobContext
from engine.flow.plan import Plan
from engine.reporter import Reporter
from engine.transport.block_device import BlockDevice
from engine.transport.hotadd.guest_disk import await_device, devices_of, open_checked
from engine.transport.hotadd.source import HotaddSource, first_data
from engine.vsphere.changed_areas import ALLOCATED, changed_areas
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
        attachments.sweep(job)
        self._proxy = attachments.own_vm(job.session, job.settings)
        proxy = read_proxy(job.session, self._proxy)
        check(job.session, proxy, plan.vm, [planned.disk for planned in plan.exported])

    def probe(self, disk: Disk, report: Reporter) -> DiskSource:
        """Attached, found by its name, measured; with a map of what is in use where one can be had."""
        device = self._open(disk, self._attach(disk), report)
        try:
            self._maps[disk.file] = self._map(disk, device, report)
        except BaseException:
            device.close()
            raise
        return HotaddSource(device, self._maps[disk.file])

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

    def _map(self, disk: Disk, device: BlockDevice, report: Reporter) -> Sequence[Extent]:
        """What change tracking calls allocated, if a sample of the rest is zeros; else the whole disk."""
        whole = [Extent(0, disk.capacity)]
        if not disk.change_id:
            report.step(f"{disk.name} is read whole: without changed block tracking nothing tells what is in use.")
            return whole
        try:
            areas = changed_areas(
                self._job.session, self._vm.moref, self._snapshot.moref, disk.key, disk.capacity, ALLOCATED
            )
        except Cancelled:
            raise
        except VcbError as error:
            report.step(f"{disk.name} is read whole: vCenter does not tell what is in use. {error}")
            return whole
        at = first_data(device, difference(whole, areas), self._job.cancel)
        if at is not None:
            report.warning(f"{disk.name} is read whole: it has data at byte {at:,}, which change tracking calls free.")
            return whole
        report.step(f"{disk.name}: change tracking calls {total(areas):,} of {disk.capacity:,} bytes allocated.")
        return areas

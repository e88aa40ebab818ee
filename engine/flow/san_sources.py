"""san: disks read from the LUNs or an NFS mount, and the doubts that go with it (facts/storage.md 1.6)."""

from collections.abc import Sequence

from engine.errors import TransportError
from engine.extents import DiskSource
from engine.flow.job_context import JobContext
from engine.flow.nfc_sources import NfcSources
from engine.flow.san_trust import SanTrusts
from engine.flow.san_unsuitable import export_of, is_nfs, refuse
from engine.reporter import Reporter
from engine.transport.block_device import BlockDevice
from engine.transport.san.comparison import EACH_RUN, FIRST_USE, first_difference
from engine.transport.san.lun_lookup import DatastoreLuns, LunExtent, open_devices, read_volume
from engine.transport.san.nfs_mount import NfsSource, look_up
from engine.transport.san.source import SanSource
from engine.vsphere.datastores import Datastore, datastores_of
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine


class SanSources:
    """Of one VM. The devices of each datastore are opened once, for all disks."""

    transport = "san"

    def __init__(self, job: JobContext, vm: VirtualMachine) -> None:
        self._job, self._vm = job, vm
        self._datastores = datastores_of(job.session, vm.moref)
        self._devices: dict[str, tuple[BlockDevice, ...]] = {}
        self._mounted: list[NfsSource] = []
        self._probed: dict[str, SanSource | NfsSource] = {}
        self._trusts = SanTrusts(job.state)
        self._witnesses = NfcSources(job, vm.moref, "nbdssl")

    def probe(self, disk: Disk, report: Reporter) -> DiskSource:
        """Compared with what the host sends of the same disk: much on a datastore's first use, a sample later."""
        datastore = self._suitable(disk)
        source = self._source(disk, datastore, report)
        self._compare(disk, datastore, source, report)
        self._probed[disk.file] = source
        return source

    def glance(self, disk: Disk, report: Reporter) -> DiskSource:
        """The disk as it lies there now, frozen or not, compared with nothing: to be measured, not to be kept."""
        return self._source(disk, self._suitable(disk), report, frozen=False)

    def open(self, disk: Disk, report: Reporter) -> DiskSource:
        """What was probed, if it still lies there."""
        source = self._probed[disk.file]
        source.check_map("before it was read")
        return source

    def check_read(self, disk: Disk, source: DiskSource, report: Reporter) -> None:
        assert isinstance(source, SanSource | NfsSource)
        source.check_map()
        report.step(f"{disk.file} still lies where it lay on its datastore.")

    def close(self) -> None:
        for devices in self._devices.values():
            for device in devices:
                device.close()
        for source in self._mounted:
            source.release()
        self._devices, self._mounted, self._probed = {}, [], {}

    def _suitable(self, disk: Disk) -> Datastore:
        """TransportError with the reason why the disk can't be read from its datastore, and what would."""
        datastore = self._datastores.get(disk.datastore)
        refuse(self._vm, disk, datastore)
        assert datastore is not None
        trust = self._trusts.of(datastore.uuid, datastore.name)
        if trust.mismatch:
            raise TransportError(
                f"san is disabled for {datastore.name}, which told other bytes than the host. {trust.mismatch}",
                hint=f"When the cause is found: vcb san --trust '{datastore.name}'. Until then use nbdssl.",
            )
        return datastore

    def _source(
        self, disk: Disk, datastore: Datastore, report: Reporter, *, frozen: bool = True
    ) -> SanSource | NfsSource:
        if is_nfs(datastore):
            return self._from_mount(disk, datastore, report)
        luns = DatastoreLuns(datastore.name, datastore.uuid, tuple(LunExtent(*extent) for extent in datastore.extents))
        devices = self._opened(luns, report)
        pause = self._job.cancel.wait
        source = SanSource(disk.file, devices, lambda: read_volume(luns, devices), frozen=frozen, pause=pause)
        report.api(f"{disk.file}: {len(source.map.extents)} extents on {', '.join(str(d.path) for d in devices)}")
        return source

    def _from_mount(self, disk: Disk, datastore: Datastore, report: Reporter) -> NfsSource:
        mount, why = look_up(export_of(datastore))
        if mount is None:
            raise TransportError(f"{disk.file} can't be read over san: {why}.", hint="Use nbdssl for this VM.")
        source = NfsSource(disk.file, mount)
        self._mounted.append(source)
        cached = "" if source.direct else ", through the page cache: its file system knows no O_DIRECT"
        report.step(f"{disk.file}: san (NFS mount {mount.point}){cached}.")
        return source

    def _opened(self, luns: DatastoreLuns, report: Reporter) -> Sequence[BlockDevice]:
        devices = self._devices.get(luns.uuid)
        if devices is None:
            devices = self._devices[luns.uuid] = open_devices(luns, self._job.settings.SAN_DEVICES)
            for extent, device in zip(luns.extents, devices, strict=True):
                cached = "" if device.direct else ", through the page cache: its file system knows no O_DIRECT"
                report.step(f"{luns.name}: LUN {extent.name} is {device.path}{cached}.")
        return devices

    def _compare(self, disk: Disk, datastore: Datastore, source: SanSource | NfsSource, report: Reporter) -> None:
        trust = self._trusts.of(datastore.uuid, datastore.name)
        witness = self._witnesses.probe(disk, report)
        try:
            blocks = EACH_RUN if trust.verified else FIRST_USE
            at, compared = first_difference(source, witness, blocks, self._job.cancel)
        finally:
            witness.close()
        if at is not None:
            there = "the NFS mount" if is_nfs(datastore) else "the LUN"
            what = f"{disk.file} differs at byte {at:,} between {there} and nbdssl"
            self._trusts.mismatched(trust, what)
            raise TransportError(
                f"{what}: nothing read over san from {datastore.name} can be believed, so san is disabled for it.",
                hint=f"Report this datastore's kind and version. Use nbdssl; vcb san --trust '{datastore.name}' allows "
                "san again.",
            )
        self._trusts.verified(trust)
        use = "in this run" if trust.verified else "on this datastore's first use"
        report.step(f"{disk.file}: {compared:,} bytes compared with nbdssl {use}: all equal.")

"""Whether a disk is read whole or only where it changed since its last restore point, and why: one row a reason.

Any doubt makes a full of that disk alone. The plan decides by what is known before the snapshot; `settle` decides
again with the disk as the snapshot froze it, and asks vCenter for the changed areas.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.options import Settings
from engine.errors import Cancelled, ImageError, PolicyError, VcbError
from engine.extents import Extent, total
from engine.flow.job_context import JobContext
from engine.image.chain import descriptor_of, open_disk
from engine.image.descriptor import Parent
from engine.points import restored
from engine.points.point_chain import PointDisk, chain_of, check_files, newest_of
from engine.reporter import Reporter
from engine.vsphere.changed_areas import changed_areas
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine
from engine.vsphere.snapshots import Snapshot

FULL, INCREMENTAL = "full", "incremental"


@dataclass(frozen=True, slots=True)
class DiskMethod:
    """How one disk is read. `links` is the chain that an incremental goes on, its parent first; `changed` the areas
    (bytes) that vCenter calls changed, known after the snapshot; `distrusted` the tracking that was caught lying."""

    reason: str
    links: tuple[PointDisk, ...] = ()
    changed: tuple[Extent, ...] = field(default=(), repr=False)
    distrusted: str = ""

    @property
    def kind(self) -> str:
        return INCREMENTAL if self.links else FULL

    @property
    def parent_point(self) -> str:
        """Name of the parent's point; "" for a full."""
        return self.links[0].name if self.links else ""

    @property
    def chain(self) -> int:
        """One more than the parent's, whose count may be larger than its chain is after merges."""
        return self.links[0].disk.chain + 1 if self.links else 1

    @property
    def parent(self) -> Parent | None:
        """What the image's descriptor says of its parent."""
        if not self.links:
            return None
        above = self.links[0]
        return Parent(above.disk.cid, f"../{above.name}/{above.disk.files[0]}")


def tracking_of(change_id: str | None) -> str:
    """The part of a changeId that names the tracking: it is new after a reset, and then no older id counts."""
    return (change_id or "").partition("/")[0]


@dataclass(frozen=True, slots=True)
class Methods:
    """Decides for the disks of one VM, whose restore points lie in `home`."""

    job: JobContext
    vm: VirtualMachine
    home: Path

    def plan(self, disk: Disk, *, mounted: bool) -> DiskMethod:
        """Before the snapshot. `mounted`: the run ends as a mount point, which other tools read: whole disks."""
        try:
            newest = newest_of(self.home, disk.key)
        except ImageError as error:
            return DiskMethod(f"The points before can't be read: {error.sentence}")
        distrusted = _distrusted(disk, newest) if newest else ""
        if why := _asked_for(self.job.settings, self.vm, mounted=mounted):
            return DiskMethod(why, distrusted=distrusted)
        if newest is None:
            return DiskMethod("It is the first restore point of this disk.")
        try:
            links = self._chain(disk, newest)
        except ImageError as doubt:
            return DiskMethod(doubt.sentence, distrusted=distrusted)
        return DiskMethod(f"What changed since {newest.name}.", links)

    def settle(
        self, planned: DiskMethod, frozen: Disk, snapshot: Snapshot, transport: str, report: Reporter
    ) -> DiskMethod:
        """With the disk as the snapshot froze it. Raises PolicyError when BACKUP_TYPE forbids the full it needs."""
        if planned.links:
            method = self._settled(planned, frozen, snapshot, transport)
        elif planned.distrusted and tracking_of(frozen.change_id) != planned.distrusted:
            method = DiskMethod(planned.reason)  # the tracking was reset meanwhile: it starts with a clean record
        else:
            method = planned
        if planned.links and not method.links:
            report.warning(f"{frozen.name} needs a full: {method.reason}")
        require_allowed(self.job.settings, frozen.name, method)
        report.step(f"{frozen.name}: {method.kind}. {method.reason}")
        return method

    def _chain(self, disk: Disk, newest: PointDisk) -> tuple[PointDisk, ...]:
        """The chain that an incremental of `disk` goes on. Raises ImageError with the reason why there is none."""
        if doubt := next(self._doubts(disk, newest), ""):
            raise ImageError(doubt)
        try:
            links = chain_of(newest)
            _prove_chain(links)
        except ImageError as error:
            raise ImageError(f"{newest.name} can't be built on: {error.sentence}") from error
        every = self.job.settings.FULL_EVERY
        if every and len(links) >= every:
            raise ImageError(f"Its chain has {len(links)} points, and FULL_EVERY is {every}.")
        return links

    def _settled(self, planned: DiskMethod, frozen: Disk, snapshot: Snapshot, transport: str) -> DiskMethod:
        above = planned.links[0]
        if transport == "https":
            return DiskMethod("https carries whole disks.")
        if snapshot.created < above.manifest.snapshot.created:
            return DiskMethod(f"The snapshot is older than the one of {above.name}.")
        if not frozen.change_id:
            return DiskMethod("The snapshot has no changeId for it.")
        if doubt := next(self._doubts(frozen, above), ""):
            return DiskMethod(doubt, distrusted=_distrusted(frozen, above))
        try:
            areas = changed_areas(
                self.job.session, self.vm.moref, snapshot.moref, frozen.key, frozen.capacity, above.disk.change_id
            )
        except Cancelled:
            raise
        except VcbError as error:
            return DiskMethod(f"vCenter does not tell what changed since {above.name}: {error}")
        return DiskMethod(
            f"{total(areas):,} bytes in {len(areas)} areas changed since {above.name}.", planned.links, tuple(areas)
        )

    def _doubts(self, disk: Disk, above: PointDisk) -> Iterator[str]:
        """Each reason not to trust that `disk` is the one in `above`, tracked without a gap since."""
        told, known = above.manifest, above.disk
        if told.vcenter.instance_uuid != self.job.session.instance_uuid:
            yield f"{above.name} was made from another vCenter."
        if told.vm.instance_uuid != self.vm.instance_uuid:
            yield f"{above.name} was made from another VM: instance uuid {told.vm.instance_uuid}."
        if known.backing_uuid != disk.uuid:
            yield f"It is another disk: uuid {disk.uuid or 'none'}, in {above.name} {known.backing_uuid or 'none'}."
        if known.capacity != disk.capacity:
            yield f"Its capacity changed from {known.capacity:,} to {disk.capacity:,} bytes."
        if _place(known.file) != _place(disk.file):
            yield f"It moved from {_place(known.file)} to {_place(disk.file)}."
        if doubt := _overwritten(self.home, above):
            yield doubt
        if not known.change_id:
            yield f"{above.name} has no changeId to ask changes since."
        if known.distrusted and known.distrusted == tracking_of(disk.change_id or known.change_id):
            yield "Its change tracking was caught lying and is not trusted until it is reset."
        if disk.change_id and tracking_of(disk.change_id) != tracking_of(known.change_id):
            yield f"Its change tracking was reset since {above.name}."


def require_allowed(settings: Settings, disk: str, method: DiskMethod) -> None:
    """Raises PolicyError when BACKUP_TYPE is incremental and this disk needs a full."""
    if settings.BACKUP_TYPE == INCREMENTAL and method.kind == FULL:
        raise PolicyError(
            f"BACKUP_TYPE is incremental, but {disk} needs a full: {method.reason}",
            hint="Set BACKUP_TYPE to auto: it makes a full of this disk alone.",
        )


def _asked_for(settings: Settings, vm: VirtualMachine, *, mounted: bool) -> str:
    """Why no incremental is thought of, whatever the points say; "" when one may be."""
    reasons = (
        (settings.BACKUP_TYPE == FULL, "BACKUP_TYPE is full."),
        (mounted, "A mount point always holds whole disks."),
        (settings.TRANSPORT_MODE == "https", "https carries whole disks."),
        (settings.CHANGE_TRACKING == "off", "CHANGE_TRACKING is off."),
        (not vm.cbt and settings.CHANGE_TRACKING == "enable", "Its change tracking begins with this point, if at all."),
        (not vm.cbt, "The VM has no changed block tracking (CHANGE_TRACKING enable switches it on)."),
    )
    return next((why for holds, why in reasons if holds), "")


def _distrusted(disk: Disk, above: PointDisk) -> str:
    """The tracking that stays distrusted: as long as the disk still has it."""
    known = above.disk.distrusted
    return known if known and tracking_of(disk.change_id or above.disk.change_id) == known else ""


def _overwritten(home: Path, above: PointDisk) -> str:
    """Whether the disk was restored in place after its last point was made; "" when it was not."""
    try:
        at = restored.since(home, above.disk.key)
    except ImageError as error:
        return error.sentence
    if at is None or at <= above.manifest.snapshot.created:
        return ""
    return f"It was restored in place after {above.name} was made ({at:%Y-%m-%d %H:%M} UTC)."


def _place(file: str) -> str:
    """`[store1] web01/web01-000001.vmdk` -> `[store1] web01`: snapshots change the file's name, not its place."""
    return file.rpartition("/")[0] or file.partition("]")[0] + "]"


def _prove_chain(links: tuple[PointDisk, ...]) -> None:
    """The chain's files are there, and its images still fit together. Raises ImageError."""
    check_files(links)
    for link in links:
        if (cid := descriptor_of(link.image).cid) != link.disk.cid:
            raise ImageError(f"{link.image} is not what its manifest tells: its CID is {cid}, not {link.disk.cid}.")
    disk = open_disk(links[0].image)
    try:
        if disk.links != tuple(link.data for link in links):
            raise ImageError(f"{links[0].image} names other parents than the manifests do.")
        if disk.capacity != links[0].disk.capacity:
            raise ImageError(f"{links[0].image} holds {disk.capacity:,} bytes, not {links[0].disk.capacity:,}.")
    finally:
        disk.close()

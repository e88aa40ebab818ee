"""What a restore into vSphere would make, decided and shown before anything is touched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from engine.errors import ConfigError, ImageError, PolicyError, PrivilegeError, TargetFull
from engine.extents import total
from engine.flow.point_files import NVRAM, OVF, VMX
from engine.flow.restore_job import RestoreJob
from engine.points.manifest import DiskEntry
from engine.points.naming import whole_file
from engine.points.restore_files import Point, require_disks
from engine.points.vmx import mac_addresses
from engine.vsphere.import_spec import networks_of
from engine.vsphere.placement import Origin, Placement, Wish, place
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.session import Session

LONGEST_NAME = 80
"""Characters that vSphere takes as the name of a VM."""


@dataclass(frozen=True)
class VmWish:
    """What the operator asked for. `keep_identity`: the MAC addresses and the UUIDs of the VM that was backed up."""

    name: str = ""
    placement: Wish = field(default_factory=Wish)
    keep_identity: bool = False
    connect: bool = False
    power_on: bool = False


@dataclass(frozen=True)
class VmPlan:
    """`sizes` are the bytes of data of each disk, in the order of `disks`."""

    name: str
    wish: VmWish
    placement: Placement
    disks: tuple[DiskEntry, ...]
    sizes: tuple[int, ...]
    descriptor: str
    macs: tuple[str, ...]
    nvram: bool
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        at = self.placement
        return {
            "name": self.name,
            "folder": at.folder.path,
            "pool": at.pool.path,
            "host": at.host.path if at.host else "",
            "datastore": at.datastore.path,
            "free": at.free,
            "networks": {name: place.path for name, place in at.networks.items()},
            "disks": [
                {"name": disk.name, "label": disk.label, "capacity": disk.capacity, "to_read": size}
                for disk, size in zip(self.disks, self.sizes, strict=True)
            ],
            "identity": "kept" if self.wish.keep_identity else "new",
            "adapters": "connected" if self.wish.connect else "disconnected",
            "power": "on" if self.wish.power_on else "off",
            "missing": list(self.missing),
        }


def make_plan(job: RestoreJob, session: Session, wish: VmWish) -> VmPlan:
    """Reads the point and the inventory. Raises what stops the restore: `ConfigError` with the choices, `PolicyError`
    for a name that is taken, `PrivilegeError`, `TargetFull`, `ImageError`."""
    point = job.point
    require_disks(point)
    descriptor = _text(point, OVF)
    if not descriptor:
        raise ImageError(
            "The point has no OVF descriptor, from which the VM would be made.",
            hint="Restore its disks with --to, and attach them to a VM of your own.",
        )
    name = _name(wish.name, point)
    origin = _origin(point, session)
    placement = place(session, wish.placement, origin, networks_of(descriptor))
    _refuse_existing(session, placement, name)
    _check_privileges(session, placement)
    disks = tuple(point.manifest.disk)
    sizes = tuple(_data(job, disk) for disk in disks)
    if placement.free is not None and placement.free < sum(sizes):
        raise TargetFull(
            f"{placement.datastore.path} has {placement.free:,} bytes free; the disks hold {sum(sizes):,}.",
            hint="Choose another datastore with --datastore.",
        )
    return VmPlan(
        name=name,
        wish=wish,
        placement=placement,
        disks=disks,
        sizes=sizes,
        descriptor=descriptor,
        macs=mac_addresses(_text(point, VMX)) if wish.keep_identity else (),
        nvram=(point.directory / NVRAM).is_file(),
        missing=tuple(f"{s.name} ({s.label}) is not in the point: {s.reason}" for s in point.manifest.skipped),
    )


def _text(point: Point, name: str) -> str:
    """A text file of the point; "" when the backup could not save it."""
    if not any(entry.name == name for entry in point.manifest.file):
        return ""
    try:
        return (point.directory / name).read_text("utf-8", errors="surrogateescape")
    except OSError as error:
        raise ImageError(f"{name} of the point can't be read: {error.strerror}.", fault=type(error).__name__) from None


def _name(asked: str, point: Point) -> str:
    """A new name that tells what it is; the VM's own is cut where the whole would be too long for vSphere."""
    suffix = f"-restored-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    name = asked or point.manifest.vm.name[: LONGEST_NAME - len(suffix)] + suffix
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"The name {name} has {len(name)} characters; vSphere takes {LONGEST_NAME}.")
    return name


def _origin(point: Point, session: Session) -> Origin:
    """Morefs and paths mean something only in the vCenter that gave them."""
    vm, store = point.manifest.vm, point.manifest.disk[0].datastore
    if point.manifest.vcenter.instance_uuid != session.instance_uuid:
        return Origin(datastore=store)
    return Origin(vm.moref, vm.path, store)


def _refuse_existing(session: Session, placement: Placement, name: str) -> None:
    index, folder = session.content.searchIndex, session.managed(placement.folder.ref)
    escaped = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    found = session.read(lambda: index.FindChild(folder, escaped), doing="looking for the name", subject=name)
    if found is not None:
        what = "a VM" if isinstance(found, vim.VirtualMachine) else "something else"
        raise PolicyError(
            f"{placement.folder.path} already holds {what} named {name}; nothing is overwritten.",
            hint="Choose another name with --name, or leave it out.",
        )


def _check_privileges(session: Session, at: Placement) -> None:
    entities = {
        "pool": [at.pool.ref],
        "folder": [at.folder.ref],
        "datastore": [at.datastore.ref],
        "network": [network.ref for network in at.networks.values()],
    }
    lacking = tuple(missing(session, wanted(["import"], entities)))
    if lacking:
        named = ", ".join(f"{privilege} on {entity}" for entity, privilege in lacking)
        raise PrivilegeError(
            f"The user lacks privileges for a restore: {named}.",
            missing=lacking,
            hint="Add them to the user's role in vCenter, or restore as another user.",
        )


def _data(job: RestoreJob, disk: DiskEntry) -> int:
    image = job.open_disk(disk)
    try:
        return total(image.allocated())
    finally:
        image.close()


def items_of(plan: VmPlan, paths: Sequence[str]) -> dict[str, DiskEntry]:
    """By the file name that the descriptor has for it, the disk whose image it is. The descriptor of an incremental
    names the file that a foreign tool would make of the chain; that is the disk all the same."""
    return {path: disk for path in paths for disk in plan.disks if path in (*disk.files, whole_file(disk.name))}

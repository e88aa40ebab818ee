"""Which bytes of a disk changed since a changeId, with proof that the answer covers the whole disk.

QueryChangedDiskAreas is paged (about 2,000 areas a call); one call alone loses changes in silence
(facts/vsphere-backup.md 3.5). Every rule of the paging contract is checked, and any doubt is an error: the caller
then reads that disk in full.
"""

from typing import Any

from engine.errors import VsphereError
from engine.extents import Extent, merged, total
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session


def changed_areas(  # noqa: PLR0917 - one disk of one snapshot of one VM, in that order
    session: Session, vm_moref: str, snapshot_moref: str, disk_key: int, capacity: int, change_id: str
) -> list[Extent]:
    """Areas (bytes; ascending, disjoint) that differ between `change_id` and the snapshot.

    `capacity` and `disk_key` are the snapshot's (see `snapshots.frozen_disks`). Raises `VsphereError` with fault
    FileFault when the changeId is void or CBT was reset, and CoverageGap when the answer cannot be trusted.
    """
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    snapshot = session.managed(Ref("VirtualMachineSnapshot", snapshot_moref))
    areas: list[Extent] = []
    position = 0
    while position < capacity:  # asking at the very end is an InvalidArgument
        page = session.read(
            lambda position=position: vm.QueryChangedDiskAreas(snapshot, disk_key, position, change_id),
            doing=f"reading the changed areas of disk {disk_key}",
            subject=vm_moref,
        )
        areas += _checked(page, position, capacity, disk_key)
        position += page.length
    result = merged(areas)
    session.report.api(
        f"{vm_moref}: disk {disk_key}: {len(result)} changed areas since {change_id}, "
        f"{total(result)} of {capacity} bytes"
    )
    return result


def _checked(page: Any, position: int, capacity: int, disk_key: int) -> list[Extent]:
    """The areas of one page, which must begin where we asked, go forward, and stay inside itself and the disk."""
    end = position + page.length
    areas = [Extent(area.start, area.length) for area in page.changedArea or () if area.length]
    if page.startOffset != position:
        raise _gap(disk_key, f"asked for byte {position}, it answers from byte {page.startOffset}")
    if page.length <= 0 or end > capacity:
        raise _gap(disk_key, f"from byte {position} on it covers {page.length} bytes of a disk of {capacity}")
    for area in areas:
        if area.length < 0 or area.start < position or area.end > end:
            raise _gap(disk_key, f"the area {area.start}+{area.length} lies outside its page {position}-{end}")
    return areas


def _gap(disk_key: int, why: str) -> VsphereError:
    return VsphereError(
        f"The server's list of changed areas of disk {disk_key} is not reliable: {why}.",
        fault="CoverageGap",
        hint="This disk must be read in full.",
    )

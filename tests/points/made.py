"""Restore points made by hand: real images with real hashes under a manifest, alone or as a chain."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.extents import DiskSource, merged
from engine.image.descriptor import Parent
from engine.image.pipeline import ImageFormat
from engine.points import manifest as manifests
from engine.points.grain_hashes import GrainHashWriter
from engine.points.manifest import DiskEntry, FileEntry, Manifest, SnapshotEntry, VcenterEntry, VmEntry
from engine.points.naming import POINTS, point_name, vm_directory
from tests.image.disks import KIB, MIB, MemoryDisk, export_all, random_disk

START = datetime(2021, 10, 20, 2, 0, tzinfo=UTC)
CAPACITY = 40 * MIB + 512
VMX = b'displayName = "web01"\n'


def manifest(moref: str = "vm-1", *, name: str = "web01", at: datetime = START, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "job": "20261120T015900Z-aaaaaa", "proxy": "p1", "created": at, "transport": "nbdssl",
        "vcenter": VcenterEntry(instance_uuid="vc-1", host="vc", version="8.0.3"),
        "vm": VmEntry(
            moref=moref, name=name, path=f"/DC/vm/{name}", uuid="421a", instance_uuid="501a", hardware_version="vmx-19",
            guest_os="debian12_64Guest",
        ),
        "snapshot": SnapshotEntry(
            moref="snapshot-1", name="_VCB-BACKUP_", created=at, policy="automatic", quiesced=True, quiesce_asked="auto"
        ),
    }  # fmt: skip
    return Manifest(**fields | changes)


def home(root: Path, moref: str = "vm-1", name: str = "web01") -> Path:
    return root / POINTS / vm_directory(name, moref)


def small_point(root: Path, day: int, moref: str = "vm-1", *, parent: Path | None = None, name: str = "web01") -> Path:
    """A point that only its manifest makes one: a .vmx, and a disk of no bytes in a file of a few. Quick to make."""
    at = START + timedelta(days=day)
    directory = home(root, moref, name) / point_name(at)
    directory.mkdir(parents=True)
    (directory / "vm.vmx").write_bytes(VMX)
    (directory / "scsi0-0.vmdk").write_bytes(b"image")
    disk = _disk(["scsi0-0.vmdk"], cid=f"{day:08x}", parent=parent)
    manifest(
        moref, name=name, at=at, disk=[disk], file=[_file(directory / "scsi0-0.vmdk"), _file(directory / "vm.vmx")]
    ).write(directory)
    return directory


def point(
    root: Path,
    day: int,
    *,
    parent: Path | None = None,
    kind: ImageFormat = "compact",
    source: DiskSource | None = None,
) -> Path:
    """A point of one disk with content, as the flow makes it; with a `parent`, its child. `source` is what is read."""
    at = START + timedelta(days=day)
    directory = home(root) / point_name(at)
    directory.mkdir(parents=True)
    if source is None and parent is not None:
        source = MemoryDisk(
            CAPACITY, [(MIB, b"new" * 30_000), (7 * MIB, bytes(64 * KIB)), (CAPACITY - 512, b"e" * 512)]
        )
    source = source or random_disk(day + 1, CAPACITY, 25)
    grains = GrainHashWriter(directory / "scsi0-0.grains", source.capacity)
    hint = None
    if parent is not None:
        hint = Parent(manifests.read(parent).disk[0].cid, f"../{parent.name}/scsi0-0.vmdk")
    done = export_all(
        source, directory / "scsi0-0.vmdk", kind, extents=merged(source.allocated()), hashes=grains.add, parent=hint
    )
    files = [FileEntry.of(file) for file in done.files]
    (directory / "vm.vmx").write_bytes(VMX)
    told = {"grains": "scsi0-0.grains", "format": kind, "capacity": source.capacity}
    disk = _disk([file.name for file in files], cid=done.cid, parent=parent, **told)
    listed = [*files, grains.finish(), _file(directory / "vm.vmx")]
    manifest(at=at, disk=[disk], file=listed).write(directory)
    return directory


def wide_point(root: Path, day: int, sources: Sequence[DiskSource], *, parent: Path | None = None) -> Path:
    """A point of as many disks as there are sources (none too), each as `point` makes its one."""
    at = START + timedelta(days=day)
    directory = home(root) / point_name(at)
    directory.mkdir(parents=True)
    (directory / "vm.vmx").write_bytes(VMX)
    before = manifests.read(parent).disk if parent else []
    disks, listed = [], [_file(directory / "vm.vmx")]
    for number, source in enumerate(sources):
        stem = f"scsi{number // 15}-{number % 15}"
        grains = GrainHashWriter(directory / f"{stem}.grains", source.capacity)
        hint = Parent(before[number].cid, f"../{parent.name}/{stem}.vmdk") if parent else None
        done = export_all(
            source,
            directory / f"{stem}.vmdk",
            "compact",
            extents=merged(source.allocated()),
            hashes=grains.add,
            parent=hint,
        )
        listed += [FileEntry.of(file) for file in done.files]
        listed.append(grains.finish())
        fields = {"key": 2000 + number, "name": stem.replace("-", ":"), "label": f"Hard disk {number + 1}"}
        fields |= {"capacity": source.capacity, "grains": f"{stem}.grains"}
        if parent:
            fields |= {"kind": "incremental", "parent": parent.name, "parent_cid": before[number].cid, "chain": 2}
        disks.append(_disk([done.files[0].name], cid=done.cid, parent=None, **fields))
    manifest(at=at, disk=disks, file=listed).write(directory)
    return directory


def names(directories: Sequence[Path]) -> list[str]:
    return [directory.name for directory in directories]


def flip(path: Path, position: int, bit: int = 0) -> None:
    """One bit of the file, as a medium loses it."""
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)


def _disk(files: list[str], *, cid: str, parent: Path | None, **changes: Any) -> DiskEntry:
    fields: dict[str, Any] = {
        "key": 2000, "name": "scsi0:0", "label": "Hard disk 1", "file": "[ds] web01/web01.vmdk", "datastore": "ds",
        "mode": "persistent", "capacity": CAPACITY, "read": 5, "stored": 5, "transport": "nbdssl", "format": "compact",
    }  # fmt: skip
    if parent is not None:
        before = manifests.read(parent).disk[0]
        fields |= {"kind": "incremental", "parent": parent.name, "parent_cid": before.cid, "chain": before.chain + 1}
    return DiskEntry(files=files, cid=cid, **(fields | changes))


def _file(path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())

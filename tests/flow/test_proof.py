"""The proof compares what lies on the medium with what came from the source, grain by grain."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from engine.block_hash import BLOCK
from engine.cancel import CancelToken
from engine.errors import VerifyError
from engine.extents import Extent
from engine.flow.proof import prove
from engine.image.descriptor import Parent
from engine.image.pipeline import ImageFormat
from engine.image.sparse_header import GRAIN
from engine.points.grain_hashes import GrainHashWriter
from engine.points.manifest import FILE_NAME, DiskEntry, FileEntry, Manifest, SnapshotEntry, VcenterEntry, VmEntry
from engine.reporter import silent
from tests.image.disks import MIB, MemoryDisk, export_all, random_disk, sha256_of

CAPACITY = 70 * MIB + 512


def entry(path: Path, blocks: int = 0) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(name=path.name, size=len(data), sha256=sha256_of(data, blocks), blocks=blocks)


def make(
    directory: Path, disk: MemoryDisk, kind: ImageFormat, *, extents=None, parent: Parent | None = None
) -> Manifest:
    """A point's directory as a run leaves it before the proof."""
    directory.mkdir()
    writer = GrainHashWriter(directory / "d.grains", disk.capacity)
    more = {"extents": extents} if extents is not None else {}
    image = export_all(disk, directory / "d.vmdk", kind, hashes=writer.add, parent=parent, **more)
    writer.finish()
    return manifest_of(directory, disk.capacity, kind, image.cid, parent)


def manifest_of(directory: Path, capacity: int, kind: str, cid: str, parent: Parent | None) -> Manifest:
    """Over what lies in the directory now: a medium or a memory that failed before the hashing is in it."""
    images = [name for name in ("d.vmdk", "d-flat.vmdk") if (directory / name).exists()]
    by_blocks = images[-1] if kind != "compact" else ""
    disk = DiskEntry(
        key=2000, name="scsi0:0", label="Hard disk 1", file="[s] v/v.vmdk", datastore="s", mode="persistent",
        capacity=capacity, read=0, stored=0, transport="nbd", format=kind, cid=cid, files=images, grains="d.grains",
        parent="parent" if parent else "",
    )  # fmt: skip
    now = datetime.now(UTC)
    (directory / FILE_NAME).unlink(missing_ok=True)
    manifest = Manifest(
        job="j", proxy="p", created=now, transport="nbd",
        vcenter=VcenterEntry(instance_uuid="u", host="h", version="8"),
        vm=VmEntry(moref="vm-1", name="v", path="/v", uuid="", instance_uuid="", hardware_version="", guest_os=""),
        snapshot=SnapshotEntry(
            moref="s", name="n", created=now, policy="automatic", quiesced=False, quiesce_asked="off"
        ),
        disk=[disk],
        file=[entry(directory / name, BLOCK if name == by_blocks else 0) for name in (*images, "d.grains")],
    )  # fmt: skip
    manifest.write(directory)
    return manifest


def check(directory: Path, manifest: Manifest) -> None:
    prove(directory, manifest, directory.parent, CancelToken(), silent())


@pytest.mark.parametrize("kind", ["compact", "sparse", "flat"])
@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_is_proven(tmp_path: Path, kind: ImageFormat, seed: int) -> None:
    disk = random_disk(seed, CAPACITY, 60)
    check(tmp_path / "p", make(tmp_path / "p", disk, kind))


def test_a_child_is_proven_with_its_parent(tmp_path: Path) -> None:
    disk = random_disk(4, CAPACITY, 60)
    full = make(tmp_path / "parent", disk, "compact")
    parent = Parent(full.disk[0].cid, "../parent/d.vmdk")
    changed = [Extent(0, MIB), Extent(CAPACITY - 512, 512)]
    child = make(tmp_path / "child", disk, "compact", extents=changed, parent=parent)
    check(tmp_path / "child", child)
    (tmp_path / "parent" / "d.vmdk").unlink()
    with pytest.raises(VerifyError, match="missing"):
        check(tmp_path / "child", child)


@pytest.mark.parametrize("kind", ["compact", "sparse", "flat"])
def test_data_that_changed_before_it_was_hashed_for_the_file_is_found(tmp_path: Path, kind: ImageFormat) -> None:
    """The file's SHA-256 agrees with the medium; only the hashes from the source know better."""
    disk = random_disk(2, CAPACITY, 60)
    make(tmp_path / "p", disk, kind)
    offset, data = next(piece for piece in disk.pieces if any(piece[1]))
    flipped = (offset, bytes([data[0] ^ 1]) + data[1:])
    wrong = MemoryDisk(CAPACITY, [flipped, *(piece for piece in disk.pieces if piece[0] != offset)])
    image = export_all(wrong, tmp_path / "p" / "d.vmdk", kind, extents=disk.allocated())
    manifest = manifest_of(tmp_path / "p", CAPACITY, kind, image.cid, None)
    with pytest.raises(VerifyError, match=f"grain at byte {offset // GRAIN * GRAIN:,} of the disk"):
        check(tmp_path / "p", manifest)


@pytest.mark.parametrize("kind", ["compact", "sparse", "flat"])
def test_a_grain_that_was_lost_or_invented_is_found(tmp_path: Path, kind: ImageFormat) -> None:
    for number, pieces in enumerate(([(0, b"a")], [(0, b"a"), (MIB, b"b"), (2 * MIB, b"c")])):
        directory = tmp_path / str(number)
        make(directory, MemoryDisk(4 * MIB, [(0, b"a"), (MIB, b"b")]), kind)
        image = export_all(MemoryDisk(4 * MIB, pieces), directory / "d.vmdk", kind)
        with pytest.raises(VerifyError):
            check(directory, manifest_of(directory, 4 * MIB, kind, image.cid, None))


def test_a_disk_without_a_list_is_proven_by_its_files(tmp_path: Path) -> None:
    disk = random_disk(3, 4 * MIB, 10)
    (tmp_path / "p").mkdir()
    image = export_all(disk, tmp_path / "p" / "d.vmdk", "compact")
    (tmp_path / "p" / "d.grains").touch()
    manifest = manifest_of(tmp_path / "p", 4 * MIB, "compact", image.cid, None)
    manifest.disk[0] = msgspec.structs.replace(manifest.disk[0], grains="")
    check(tmp_path / "p", manifest)

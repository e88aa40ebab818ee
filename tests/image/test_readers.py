"""Reading images: those that qemu-img wrote, ours, and damaged ones."""

import os
import random
import struct
from pathlib import Path

import pytest

from engine.errors import ImageError
from engine.extents import Extent, total
from engine.image.flat import RawDisk
from engine.image.pipeline import ImageFormat
from engine.image.reader import open_image
from engine.image.sparse_header import GRAIN, SECTOR, UNIT
from tests.image.disks import GIB, MIB, MemoryDisk, content, export_all, random_disk, run
from tests.tools import require_tool

FORMATS: tuple[ImageFormat, ...] = ("compact", "sparse", "flat")


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicFlat"])
@pytest.mark.parametrize("seed", range(4))
def test_images_written_by_qemu_img(tmp_path: Path, seed: int, subformat: str) -> None:
    qemu_img = require_tool("qemu-img")
    source = random_disk(seed, random.Random(seed).randrange(1, 200_000) * 512, 30)
    raw = source.save(tmp_path / "truth.raw")
    vmdk = tmp_path / "qemu.vmdk"
    run(qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, vmdk)
    image = open_image(vmdk)
    assert image.transport == "file"
    assert image.capacity >= source.capacity  # qemu-img rounds up to whole grains
    assert content(image)[: source.capacity] == raw.read_bytes()
    image.close()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_what_we_write_reads_back_at_any_offset(tmp_path: Path, seed: int, kind: ImageFormat) -> None:
    rng = random.Random(seed)
    source = random_disk(seed, rng.randrange(1, 200_000) * 512, 30)
    truth = source.save(tmp_path / "truth.raw").read_bytes()
    export_all(source, tmp_path / "disk.vmdk", kind)
    image = open_image(tmp_path / "disk.vmdk")
    assert image.capacity == source.capacity
    assert content(image) == truth
    for _ in range(50):
        start = rng.randrange(source.capacity)
        buffer = bytearray(b"?" * min(rng.choice((1, 511, 4096, GRAIN + 1, 3 * MIB)), source.capacity - start))
        image.read_into(start, memoryview(buffer))
        assert buffer == truth[start : start + len(buffer)]
    image.close()


@pytest.mark.parametrize("kind", FORMATS)
def test_allocated_is_what_was_stored(tmp_path: Path, kind: ImageFormat) -> None:
    pieces = [
        (0, b"a" * GRAIN),
        (3 * GRAIN, b"b" * 2 * GRAIN),
        (UNIT - GRAIN, b"c" * 2 * GRAIN),
        (5 * UNIT, b"d" * 512),
    ]
    export_all(MemoryDisk(5 * UNIT + 512, pieces), tmp_path / "disk.vmdk", kind)
    assert open_image(tmp_path / "disk.vmdk").allocated() == [
        Extent(0, GRAIN),
        Extent(3 * GRAIN, 2 * GRAIN),
        Extent(UNIT - GRAIN, 2 * GRAIN),
        Extent(5 * UNIT, 512),
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_exported_image_exports_again(tmp_path: Path, kind: ImageFormat) -> None:
    source = random_disk(21, 90 * MIB + 512, 30)
    truth = source.save(tmp_path / "truth.raw").read_bytes()
    export_all(source, tmp_path / "one.vmdk", kind)
    image = open_image(tmp_path / "one.vmdk")
    again = export_all(image, tmp_path / "two.vmdk", "compact", threads=3)
    assert content(open_image(tmp_path / "two.vmdk")) == truth
    assert again.read == total(image.allocated())


def test_sparse_disk_of_many_gigabytes(tmp_path: Path) -> None:
    source = MemoryDisk(600 * GIB, [(599 * GIB, b"far" * 1000)])
    export_all(source, tmp_path / "disk.vmdk", "compact")
    image = open_image(tmp_path / "disk.vmdk")
    buffer = bytearray(3000)
    image.read_into(599 * GIB, memoryview(buffer))
    assert bytes(buffer) == b"far" * 1000
    assert image.allocated() == [Extent(599 * GIB, GRAIN)]


@pytest.fixture
def compact(tmp_path: Path) -> Path:
    """Two units; the first grain of the file is at sector 128."""
    pieces = [(0, random.Random(1).randbytes(10 * GRAIN)), (UNIT, b"text " * 20_000)]
    export_all(MemoryDisk(2 * UNIT, pieces), tmp_path / "disk.vmdk", "compact")
    return tmp_path / "disk.vmdk"


def damage(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(data)


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (0, b"XXXX", "does not begin"),
        (4, struct.pack("<I", 9), "version 9"),
        (20, struct.pack("<Q", 77), "grain|8 to 2048|disagree"),
        (12, struct.pack("<Q", 1 << 60), "more than any disk"),
        (12, struct.pack("<Q", UNIT // SECTOR), "disagree"),
        (44, struct.pack("<I", 256), "512 is the format"),
        (73, b"\r\n\r\n", "line ends"),
        (77, struct.pack("<H", 7), "algorithm 7"),
        (28 - 2 * SECTOR, struct.pack("<Q", 1 << 40), "are needed"),
        (SECTOR, b"garbage garbage garbage", "not a VMDK descriptor"),
        (-3 * SECTOR, b"\1" * 16, "no footer"),
        (-SECTOR, b"\1" * 16, "no footer"),
        (128 * SECTOR, struct.pack("<Q", 128), "another grain"),
        (128 * SECTOR + 8, struct.pack("<I", 1 << 30), "not plausible"),
        (128 * SECTOR + 8, struct.pack("<I", 0), "not plausible"),
        (128 * SECTOR + 8, struct.pack("<I", 100), "ends early|damaged|holds"),
        (128 * SECTOR + 5000, b"flipped", "damaged|holds"),
    ],
)
def test_damage_is_told_not_read(compact: Path, at: int, data: bytes, says: str) -> None:
    damage(compact, at, data)
    with pytest.raises(ImageError, match=says):
        content(open_image(compact))


@pytest.mark.parametrize("size", [0, 3, 511, 512, 4096, 65536, 400_000])
def test_a_file_cut_short_is_told(compact: Path, size: int) -> None:
    os.truncate(compact, size)
    with pytest.raises(ImageError):
        open_image(compact)


@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(12, 60))]
)
def test_random_damage_raises_image_errors_only(compact: Path, seed: int) -> None:
    """Metadata and data hit alike; what is read without an error is either right or a grain that became a hole."""
    truth = content(open_image(compact))
    rng = random.Random(seed)
    size = compact.stat().st_size
    for _ in range(3):
        region = rng.choice(((0, 600), (128 * SECTOR, size), (size - 12 * SECTOR, size)))
        damage(compact, rng.randrange(*region), rng.randbytes(rng.choice((1, 4, 16))))
    try:
        image = open_image(compact)
        read = content(image)
    except ImageError:
        return
    for at in range(0, min(len(read), len(truth)), GRAIN):
        assert read[at : at + GRAIN] in (truth[at : at + GRAIN], bytes(GRAIN))


def test_reading_outside_the_disk_is_refused(compact: Path) -> None:
    image = open_image(compact)
    with pytest.raises(ImageError, match="not inside the disk"):
        image.read_into(image.capacity - 10, memoryview(bytearray(11)))


def test_flat_with_the_wrong_size_or_without_data(tmp_path: Path) -> None:
    export_all(MemoryDisk(MIB, [(0, b"x")]), tmp_path / "disk.vmdk", "flat")
    os.truncate(tmp_path / "disk-flat.vmdk", MIB // 2)
    with pytest.raises(ImageError, match="its descriptor says"):
        open_image(tmp_path / "disk.vmdk")
    (tmp_path / "disk-flat.vmdk").unlink()
    with pytest.raises(ImageError, match="No such file"):
        open_image(tmp_path / "disk.vmdk")


def test_flat_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = MemoryDisk(MIB, [(0, b"x" * MIB)]).save(tmp_path / "disk.raw")
    disk = RawDisk(path)
    os.truncate(path, 1000)
    with pytest.raises(ImageError, match="ends at byte 1000"):
        disk.read_into(0, memoryview(bytearray(4096)))


@pytest.mark.parametrize("subformat", ["twoGbMaxExtentSparse"])
def test_other_kinds_are_refused_by_name(tmp_path: Path, subformat: str) -> None:
    qemu_img = require_tool("qemu-img")
    run(qemu_img, "create", "-f", "vmdk", "-o", f"subformat={subformat}", tmp_path / "disk.vmdk", "10M")
    with pytest.raises(ImageError, match="streamOptimized"):
        open_image(tmp_path / "disk.vmdk")


def test_a_child_is_not_read_as_a_whole_disk(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    base, child = tmp_path / "base.vmdk", tmp_path / "child.vmdk"
    export_all(MemoryDisk(MIB, [(0, b"x")]), base, "compact")
    text = base.read_bytes()
    child.write_bytes(text.replace(b"parentCID=ffffffff", b"parentCID=01234567"))
    assert "parent cid: 19088743" in run(qemu_img, "info", child)
    with pytest.raises(ImageError, match="child image"):
        open_image(child)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", ""])
def test_a_descriptor_cannot_point_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "disk.vmdk").write_text(
        f'# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "{name}" 0\n'
    )
    with pytest.raises(ImageError, match="only a file beside it"):
        open_image(tmp_path / "disk.vmdk")

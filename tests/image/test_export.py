"""Exports of every shape of disk, judged by qemu-img and by SHA-256, not by our own readers."""

import random
from pathlib import Path

import pytest

from engine.errors import ImageError
from engine.extents import Extent, aligned, total
from engine.image.pipeline import ImageFormat
from engine.image.reader import open_image
from engine.image.sparse_header import GRAIN, UNIT
from engine.image.units import READ
from engine.image.written import Progress, WrittenImage
from tests.image.disks import GIB, KIB, MIB, TIB, MemoryDisk, export_all, no_thread_left, random_disk, run, sha256_of
from tests.tools import require_tool

FORMATS: tuple[ImageFormat, ...] = ("compact", "sparse", "flat")
_random = random.Random(7)

SHAPES = {
    "empty": MemoryDisk(64 * MIB),
    "one sector": MemoryDisk(512, [(0, b"\1" * 512)]),
    "one byte": MemoryDisk(32 * MIB, [(5 * MIB, b"\0" * 511 + b"x")]),
    "last byte of the disk": MemoryDisk(10 * MIB, [(10 * MIB - 512, b"\0" * 511 + b"x")]),
    "last partial grain": MemoryDisk(UNIT + 37 * 512, [(UNIT + 30 * 512, b"tail" * 896)]),
    "one sector over a unit": MemoryDisk(UNIT + 512, [(UNIT - 512, b"a" * 1024)]),
    "alternating grains": MemoryDisk(48 * MIB, [(at, b"g" * GRAIN) for at in range(0, 48 * MIB, 2 * GRAIN)]),
    "alternating zero grains in one extent": MemoryDisk(8 * MIB, [(0, (bytes(GRAIN) + b"z" * GRAIN) * 64)]),
    "dense and incompressible": MemoryDisk(20 * MIB, [(0, _random.randbytes(20 * MIB))]),
    "several tables": MemoryDisk(200 * MIB, [(at * 33 * MIB, _random.randbytes(MIB)) for at in range(6)]),
    "zeros only": MemoryDisk(40 * MIB, [(0, bytes(40 * MIB))]),
    "far end beyond 4 GiB": MemoryDisk(5 * GIB + 512, [(0, b"first" * 1000), (5 * GIB - 65536, b"last" * 16384)]),
}


def check_digests(directory: Path, image: WrittenImage) -> None:
    for file in image.files:
        if file.size > GIB:  # reading gigabytes of hole proves nothing more
            continue
        content = (directory / file.name).read_bytes()
        assert (len(content), sha256_of(content, file.blocks)) == (file.size, file.sha256)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_qemu_img_finds_the_same_disk(tmp_path: Path, shape: str, kind: ImageFormat) -> None:
    qemu_img = require_tool("qemu-img")
    source = MemoryDisk(SHAPES[shape].capacity, SHAPES[shape].pieces)
    raw = source.save(tmp_path / "truth.raw")
    with no_thread_left():
        image = export_all(source, tmp_path / "disk.vmdk", kind)
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "disk.vmdk")
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "disk.vmdk")
    check_digests(tmp_path, image)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(6))
def test_random_disks(tmp_path: Path, seed: int, kind: ImageFormat) -> None:
    qemu_img = require_tool("qemu-img")
    rng = random.Random(seed)
    source = random_disk(seed, rng.randrange(1, 300_000) * 512, rng.randrange(1, 60))
    raw = source.save(tmp_path / "truth.raw")
    image = export_all(source, tmp_path / "disk.vmdk", kind, threads=rng.randrange(1, 4))
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "disk.vmdk")
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "disk.vmdk")
    check_digests(tmp_path, image)


@pytest.mark.parametrize(
    ("capacity", "kind"),
    [
        (2 * TIB + 512, "compact"),
        (2 * TIB + 512, "sparse"),
        (62 * TIB, "compact"),
        pytest.param(62 * TIB, "sparse", marks=pytest.mark.exhaustive),
    ],
)
def test_huge_thin_disks(tmp_path: Path, capacity: int, kind: ImageFormat) -> None:
    """qemu-io checks the places that matter; a comparison of the whole disk would look at a billion holes."""
    qemu_io = require_tool("qemu-io")
    middle, last = capacity // 2 // GRAIN * GRAIN, capacity - 512
    source = MemoryDisk(capacity, [(0, b"\x11" * 4096), (middle, b"\x22" * MIB), (last, b"\x33" * 512)])
    image = export_all(source, tmp_path / "disk.vmdk", kind)
    places = [(0, 4096, 0x11), (4096, MIB, 0), (middle, MIB, 0x22), (middle + MIB, MIB, 0), (last, 512, 0x33)]
    commands = [part for at, length, value in places for part in ("-c", f"read -P {value} {at} {length}")]
    output = run(qemu_io, "-r", "-f", "vmdk", *commands, tmp_path / "disk.vmdk")
    assert "Pattern verification failed" not in output
    assert image.stored < (10 if kind == "compact" else 20) * MIB  # a grain directory takes 8 MiB, sparse has two
    check_digests(tmp_path, image)
    disk = open_image(tmp_path / "disk.vmdk")
    assert disk.allocated() == aligned(source.allocated(), GRAIN, capacity)
    disk.close()


def test_qemu_img_knows_the_kind_and_the_identity(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    image = export_all(MemoryDisk(MIB), tmp_path / "disk.vmdk", "compact")
    told = run(qemu_img, "info", tmp_path / "disk.vmdk")
    assert "create type: streamOptimized" in told
    assert f"cid: {int(image.cid, 16)}" in told
    assert f"parent cid: {0xFFFFFFFF}" in told


@pytest.mark.parametrize("kind", FORMATS)
def test_only_the_extents_asked_for_are_read(tmp_path: Path, kind: ImageFormat) -> None:
    source = random_disk(3, 300 * MIB, 40)
    asked = [Extent(MIB, 512), Extent(40 * MIB + 512, 9 * MIB), Extent(299 * MIB, MIB)]
    image = export_all(source, tmp_path / "disk.vmdk", kind, extents=asked)
    allowed = [Extent(MIB, GRAIN), Extent(40 * MIB, 9 * MIB + GRAIN), Extent(299 * MIB, MIB)]
    assert all(any(a.start <= r.start and r.end <= a.end for a in allowed) for r in source.reads)
    assert image.read == total(source.reads) == total(allowed)


def test_small_neighbouring_extents_become_big_reads(tmp_path: Path) -> None:
    source = MemoryDisk(64 * MIB, [(0, b"x" * 64 * MIB)])
    fragments = [Extent(at, 64 * KIB) for at in range(0, 64 * MIB, 64 * KIB)]
    export_all(source, tmp_path / "disk.vmdk", "compact", extents=fragments)
    assert {read.length for read in source.reads} == {READ}


def test_thin_stays_thin(tmp_path: Path) -> None:
    source = MemoryDisk(GIB, [(0, b"x" * MIB), (GIB - MIB, b"y" * MIB), (GIB // 2, bytes(16 * MIB))])
    flat = export_all(source, tmp_path / "flat.vmdk", "flat")
    assert (tmp_path / "flat-flat.vmdk").stat().st_blocks * 512 <= 3 * MIB
    assert (flat.read, flat.zero, flat.stored) == (18 * MIB, 16 * MIB, 2 * MIB)
    compact = export_all(source, tmp_path / "compact.vmdk", "compact")
    assert (compact.read, compact.zero) == (18 * MIB, 16 * MIB)
    assert compact.stored == compact.files[0].size < MIB


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    export_all(MemoryDisk(MIB), tmp_path / "disk.vmdk", "flat")
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "disk.vmdk": 0o600,
        "disk-flat.vmdk": 0o600,
    }


def test_the_same_disk_gives_the_same_bytes_but_for_its_identity(tmp_path: Path) -> None:
    source = random_disk(11, 100 * MIB, 30)
    first = export_all(source, tmp_path / "disk.vmdk", "compact", threads=1)
    one = (tmp_path / "disk.vmdk").read_bytes()
    second = export_all(source, tmp_path / "disk.vmdk", "compact", threads=3)
    other = (tmp_path / "disk.vmdk").read_bytes()
    assert first.cid != second.cid
    assert one.replace(first.cid.encode(), second.cid.encode(), 1) == other


def test_progress_grows_and_names_the_bottleneck(tmp_path: Path) -> None:
    told: list[Progress] = []
    source = random_disk(5, 200 * MIB, 50)
    image = export_all(source, tmp_path / "disk.vmdk", "compact", progress=told.append)
    assert [p.read for p in told] == sorted(p.read for p in told)
    assert told[-1].read == told[-1].to_read == image.read
    assert told[-1].stored == image.stored
    assert image.bottleneck in image.busy
    assert set(image.busy) == {"source", "cpu", "target"}
    assert all(0 <= share <= 1 for share in image.busy.values())


def test_a_capacity_that_is_not_whole_sectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="whole sectors"):
        export_all(MemoryDisk(1000), tmp_path / "disk.vmdk", "compact")
    assert not list(tmp_path.iterdir())

"""Chains of child images, judged by qemu-img, which follows parentCID and parentFileNameHint by itself."""

import random
import shutil
from pathlib import Path

import pytest

from engine.errors import ImageError
from engine.extents import Extent, aligned, merged
from engine.image.chain import descriptor_of, open_disk
from engine.image.descriptor import Parent
from engine.image.flat import RawDisk
from engine.image.pipeline import ImageFormat
from engine.image.sparse_header import GRAIN, UNIT
from tests.image.disks import KIB, MIB, MemoryDisk, content, export_all, random_disk, run
from tests.tools import require_tool

NAME = "scsi0-0.vmdk"


class Nights:
    """A disk that changes, and a point of it a night: `root/<night>/scsi0-0.vmdk`, each the child of the one before."""

    def __init__(self, root: Path, capacity: int, kind: ImageFormat = "compact", seed: int = 1) -> None:
        self.root, self.capacity = root, capacity
        self.kind: ImageFormat = kind
        self.random = random.Random(seed)
        self.truth = root / "truth.raw"
        random_disk(seed, capacity, 20).save(self.truth)
        self.cid = ""
        self.night = -1

    def image(self, night: int) -> Path:
        return self.root / f"{night:02}" / NAME

    def next(self, *writes: tuple[int, bytes]) -> Path:
        """Writes the given and some random changes, then makes the night's point of exactly what was written."""
        changed = [self._write(offset, data) for offset, data in writes]
        self.night += 1
        self.image(self.night).parent.mkdir()
        source = RawDisk(self.truth)
        if self.night == 0:
            done = export_all(source, self.image(0), self.kind)
        else:
            changed += [self._write(*self._random_write()) for _ in range(12)]
            parent = Parent(self.cid, f"../{self.night - 1:02}/{NAME}")
            done = export_all(source, self.image(self.night), "compact", extents=merged(changed), parent=parent)
        source.close()
        self.cid = done.cid
        return self.image(self.night)

    def _random_write(self) -> tuple[int, bytes]:
        size = min(self.random.choice((512, 4096, 64 * KIB, 70_144, MIB)), self.capacity)
        offset = self.random.randrange(0, self.capacity - size + 512, 512)
        return offset, self.random.choice((self.random.randbytes(size), bytes(size)))

    def _write(self, offset: int, data: bytes) -> Extent:
        with self.truth.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        return Extent(offset, len(data))


@pytest.mark.parametrize("kind", ["compact", pytest.param("sparse", marks=pytest.mark.exhaustive), "flat"])
@pytest.mark.parametrize(
    "capacity", [40 * MIB, UNIT + 37 * 512, pytest.param(2 * UNIT + 512, marks=pytest.mark.exhaustive), GRAIN, 512]
)
def test_every_point_of_a_chain_is_that_nights_disk_for_qemu_img(
    tmp_path: Path, capacity: int, kind: ImageFormat
) -> None:
    qemu_img = require_tool("qemu-img")
    nights = Nights(tmp_path, capacity, kind)
    for night in range(11):
        whole_grains = min(3 * GRAIN, capacity)
        image = nights.next((0, bytes(whole_grains)), (capacity - 512, nights.random.randbytes(512)))
        shutil.copy(nights.truth, tmp_path / f"{night}.raw")
        if night in (0, 1, 2, 10):
            if night or kind != "flat":
                run(qemu_img, "check", "-f", "vmdk", image)
            run(qemu_img, "compare", "-f", "vmdk", "-F", "raw", image, nights.truth)
    for night in (0, 1, 2, 10):
        disk = open_disk(nights.image(night))
        assert len(disk.links) == night + 1
        assert content(disk) == (tmp_path / f"{night}.raw").read_bytes()
        disk.close()
    chain = run(qemu_img, "info", "--backing-chain", nights.image(10))
    assert chain.count("image: ") == 11 if kind != "flat" else chain.count("image: ") >= 11


@pytest.mark.parametrize("kind", ["sparse", pytest.param("compact", marks=pytest.mark.exhaustive)])
def test_thirty_nights(tmp_path: Path, kind: ImageFormat) -> None:
    qemu_img = require_tool("qemu-img")
    nights = Nights(tmp_path, UNIT + 37 * 512, kind)
    for _ in range(30):
        image = nights.next()
    run(qemu_img, "compare", "-f", "vmdk", "-F", "raw", image, nights.truth)
    assert run(qemu_img, "info", "--backing-chain", image).count("image: ") == 30
    disk = open_disk(image)
    assert content(disk) == nights.truth.read_bytes()
    disk.close()


def test_a_grain_that_became_zeros_hides_the_parents(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    full = export_all(MemoryDisk(4 * MIB, [(0, b"old" * 100_000)]), tmp_path / "full.vmdk", "compact")
    empty = MemoryDisk(4 * MIB)
    child = export_all(
        empty, tmp_path / "child.vmdk", "compact", extents=[Extent(0, MIB)], parent=Parent(full.cid, "full.vmdk")
    )
    raw = empty.save(tmp_path / "truth.raw")
    run(qemu_img, "compare", "-f", "vmdk", "-F", "raw", tmp_path / "child.vmdk", raw)
    assert child.zero == MIB
    assert child.stored < 100 * KIB, "a grain of zeros takes one sector"


def test_a_child_reads_and_stores_no_more_than_what_changed(tmp_path: Path) -> None:
    source = random_disk(2, 200 * MIB, 60)
    changed = [Extent(512, 512), Extent(40 * MIB + 512, MIB), Extent(200 * MIB - 512, 512)]
    child = export_all(source, tmp_path / "c.vmdk", "compact", extents=changed, parent=Parent("12345678", "p.vmdk"))
    assert child.read == sum(extent.length for extent in aligned(changed, GRAIN, source.capacity))


def test_a_chain_reads_at_any_offset(tmp_path: Path) -> None:
    nights = Nights(tmp_path, 3 * UNIT + 512)
    for _ in range(4):
        image = nights.next()
    truth = nights.truth.read_bytes()
    disk = open_disk(image)
    for _ in range(200):
        size = nights.random.choice((1, 512, GRAIN, 3 * MIB))
        offset = nights.random.randrange(0, disk.capacity - size + 1)
        buffer = bytearray(size)
        disk.read_into(offset, memoryview(buffer))
        assert buffer == truth[offset : offset + size]
    held = bytearray(disk.capacity)
    for extent in disk.allocated():
        disk.read_into(extent.start, memoryview(held)[extent.start : extent.end])
    assert held == truth, "what is not allocated reads as zeros"
    with pytest.raises(ImageError, match="not inside the disk"):
        disk.read_into(disk.capacity - 512, memoryview(bytearray(1024)))
    disk.close()


def test_a_point_that_is_still_elsewhere_finds_its_parent(tmp_path: Path) -> None:
    nights = Nights(tmp_path, MIB)
    nights.next()
    child = nights.next()
    elsewhere = tmp_path / "far" / "away.partial"
    elsewhere.parent.mkdir()
    child.parent.rename(elsewhere)
    with pytest.raises(ImageError, match="missing"):
        open_disk(elsewhere / NAME)
    disk = open_disk(elsewhere / NAME, home=tmp_path / "01")
    assert content(disk) == nights.truth.read_bytes()
    disk.close()


def test_a_parent_that_is_missing_replaced_or_of_another_size_is_told(tmp_path: Path) -> None:
    nights = Nights(tmp_path, MIB)
    parent, child = nights.next(), nights.next()
    cid = descriptor_of(parent).cid
    kept = parent.read_bytes()
    export_all(MemoryDisk(MIB), parent, "compact")
    with pytest.raises(ImageError, match=f"its CID is .*, not {cid}"):
        open_disk(child)
    parent.write_bytes(kept)
    other = export_all(MemoryDisk(2 * MIB), parent, "compact")
    parent.write_bytes(parent.read_bytes().replace(f"CID={other.cid}".encode(), f"CID={cid}".encode(), 1))
    with pytest.raises(ImageError, match="2,097,152 bytes"):
        open_disk(child)
    parent.unlink()
    with pytest.raises(ImageError, match="is missing"):
        open_disk(child)


def test_a_circle_is_told(tmp_path: Path) -> None:
    image = tmp_path / NAME
    done = export_all(MemoryDisk(MIB), image, "compact", parent=Parent("12345678", NAME))
    image.write_bytes(image.read_bytes().replace(b"parentCID=12345678", f"parentCID={done.cid}".encode(), 1))
    with pytest.raises(ImageError, match="more than"):
        open_disk(image)


@pytest.mark.parametrize("hint", ["/etc/passwd", "../../x/y.vmdk", "a/b.vmdk", "../..", "..", "../../y.vmdk", ""])
def test_a_hint_cannot_lead_elsewhere(tmp_path: Path, hint: str) -> None:
    export_all(MemoryDisk(MIB), tmp_path / NAME, "compact", parent=Parent("12345678", hint))
    with pytest.raises(ImageError, match="only a file beside it"):
        open_disk(tmp_path / NAME)


def test_a_flat_image_is_never_a_child(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="only a compact one"):
        export_all(MemoryDisk(MIB), tmp_path / NAME, "flat", parent=Parent("12345678", "p.vmdk"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ImageError, match="cannot be written"):
        export_all(MemoryDisk(MIB), tmp_path / NAME, "compact", parent=Parent("12345678", 'a".vmdk'))

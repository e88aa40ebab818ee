"""monolithicSparse images: what other programs read and write, what our reader makes of theirs, the format's limits."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ImageError
from engine.extents import Extent
from engine.image.cut_off import open_cut_off
from engine.image.descriptor import Parent
from engine.image.reader import open_image
from engine.image.sparse_header import GRAIN, SECTOR, TABLE_BYTES, UNIT, SparseHeader
from engine.image.units import units_of
from tests.image.disks import GIB, MIB, TIB, MemoryDisk, content, export_all, random_disk, run
from tests.tools import require_tool

CAPACITY = 5 * UNIT + 37 * SECTOR


def test_qemu_img_knows_the_kind(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    image = export_all(MemoryDisk(MIB), tmp_path / "disk.vmdk", "sparse")
    told = run(qemu_img, "info", tmp_path / "disk.vmdk")
    assert "create type: monolithicSparse" in told
    assert f"cid: {int(image.cid, 16)}" in told


def test_the_redundant_tables_say_the_same(tmp_path: Path) -> None:
    """Each directory has tables of its own; their entries are equal, and every table is there."""
    export_all(random_disk(5, CAPACITY, 40), tmp_path / "disk.vmdk", "sparse")
    data = (tmp_path / "disk.vmdk").read_bytes()
    header = SparseHeader.unpack(data)
    copies = []
    for place in (header.redundant_offset, header.directory_offset):
        directory = memoryview(data)[place * SECTOR :][: 4 * header.tables].cast("I")
        assert all(directory)
        copies.append([data[at * SECTOR : at * SECTOR + TABLE_BYTES] for at in directory])
    assert copies[0] == copies[1]
    assert any(any(table) for table in copies[0])


def test_other_programs_may_write_to_it(tmp_path: Path) -> None:
    """Where grains lie and where none did, past the first table and at the odd end."""
    qemu_img, qemu_io = require_tool("qemu-img"), require_tool("qemu-io")
    source = random_disk(6, CAPACITY, 30)
    raw = source.save(tmp_path / "truth.raw")
    export_all(source, tmp_path / "disk.vmdk", "sparse")
    places = [(0, 4096), (UNIT - 512, 1024), (3 * UNIT + 5 * GRAIN, 3 * GRAIN), (CAPACITY - 512, 512)]
    writes = [part for at, size in places for part in ("-c", f"write -P 0x5a {at} {size}")]
    run(qemu_io, "-f", "vmdk", *writes, tmp_path / "disk.vmdk")
    run(qemu_io, "-f", "raw", *writes, raw)
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "disk.vmdk")
    run(qemu_img, "compare", "-f", "vmdk", "-F", "raw", tmp_path / "disk.vmdk", raw)
    disk = open_image(tmp_path / "disk.vmdk")
    assert content(disk) == raw.read_bytes()
    disk.close()


@pytest.mark.parametrize("capacity", [CAPACITY // GRAIN * GRAIN, 7 * SECTOR])
def test_images_of_qemu_img_are_read(tmp_path: Path, capacity: int) -> None:
    qemu_img = require_tool("qemu-img")
    source = random_disk(8, capacity, 40)
    raw = source.save(tmp_path / "truth.raw")
    run(qemu_img, "convert", "-O", "vmdk", "-o", "subformat=monolithicSparse", "-f", "raw", raw, tmp_path / "disk.vmdk")
    disk = open_image(tmp_path / "disk.vmdk")
    assert content(disk, 3 * MIB + 512)[:capacity] == raw.read_bytes()
    held = bytearray(capacity)
    for extent in disk.allocated():
        part = memoryview(held)[extent.start : extent.end]
        disk.read_into(extent.start, part)
    assert held == raw.read_bytes(), "what is not allocated reads as zeros"
    disk.close()


def test_zeros_that_were_read_take_no_room(tmp_path: Path) -> None:
    source = MemoryDisk(GIB, [(0, b"x" * MIB), (GIB // 2, bytes(64 * MIB)), (GIB - MIB, b"y" * MIB)])
    image = export_all(source, tmp_path / "disk.vmdk", "sparse")
    assert (image.read, image.zero) == (66 * MIB, 64 * MIB)
    assert (tmp_path / "disk.vmdk").stat().st_blocks * 512 <= image.stored <= 3 * MIB


def test_more_data_than_the_format_holds_is_told_before_any_is_read(tmp_path: Path) -> None:
    source = MemoryDisk(3 * TIB)
    with pytest.raises(ImageError, match="more than a sparse image can hold") as caught:
        export_all(source, tmp_path / "disk.vmdk", "sparse", extents=[Extent(0, 2 * TIB)])
    assert "flat" in caught.value.hint
    assert source.reads == []
    assert list(tmp_path.iterdir()) == []


def test_it_is_nobodys_child(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="sparse image holds a whole disk"):
        export_all(MemoryDisk(MIB), tmp_path / "disk.vmdk", "sparse", parent=Parent("12345678", "p.vmdk"))


def test_a_cancel_while_empty_tables_are_hashed_ends_it(tmp_path: Path) -> None:
    cancel = CancelToken()

    def reserve(size: int) -> None:
        cancel.cancel()

    with pytest.raises(Cancelled):
        export_all(MemoryDisk(2 * TIB), tmp_path / "disk.vmdk", "sparse", cancel=cancel, reserve=reserve)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [100, 20 * 1024, 300 * 1024, 3 * MIB, 11 * MIB])
def test_what_is_there_of_one_that_was_cut_off_is_found(tmp_path: Path, end: int) -> None:
    source = MemoryDisk(CAPACITY, [(0, b"a" * 10 * MIB), (4 * UNIT, b"b" * (UNIT + 37 * SECTOR))])
    path = tmp_path / "disk.vmdk"
    export_all(source, path, "sparse")
    with path.open("r+b") as file:
        begin = SparseHeader.unpack(file.read(SECTOR)).overhead * SECTOR
        file.truncate(end)
    kept = open_cut_off(path)
    if kept is None:
        assert end < begin
        return
    whole = max(0, (end - begin) // GRAIN)
    grains = [grain for unit in units_of(source.allocated()) for grain in _grains(unit.extents)]
    found = [grain for grain in grains if (kept.grain(grain) or b"").strip(b"\0")]
    assert found == grains[:whole]
    kept.close()


def _grains(extents: tuple[Extent, ...]) -> list[int]:
    return [grain for start, length in extents for grain in range(start // GRAIN, -(-(start + length) // GRAIN))]


@pytest.mark.parametrize("place", [0, 512, 4096 * 3, 4096 * 4])
def test_damage_is_told_and_nothing_else_happens(tmp_path: Path, place: int) -> None:
    path = tmp_path / "disk.vmdk"
    export_all(random_disk(9, CAPACITY, 40), path, "sparse")
    data = bytearray(path.read_bytes())
    header = SparseHeader.unpack(bytes(data[:SECTOR]))
    for at in (place, header.directory_offset * SECTOR, header.directory_offset * SECTOR + 4096):
        data[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(ImageError), ExitStack() as opened:
        content(opened.enter_context(closing(open_image(path))))

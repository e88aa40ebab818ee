"""What the reader finds, and what it refuses: partition tables, extents that lack, addresses of uncertain meaning."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import VmfsError
from engine.lab.vmfs.files import RAW_DEVICE_MAP, REGULAR
from engine.lab.vmfs.form import BLOCK, Version
from engine.lab.vmfs.volume import Volume
from engine.transport.vmfs.volume import open_volume
from tests.tools import require_tool
from tests.vmfs.volumes import CASES, FLAT, ImageDevice, contents, make

THICK = CASES[0]


def written(paths: list[Path], version: Version, fill: Callable[[Volume], Any], size: int = 256 << 20) -> None:
    volume = Volume.create(paths, version=version, size=size, label="ds1", seed=1)
    fill(volume)
    volume.flush()
    volume.close()


@pytest.mark.parametrize("version", [3, 5, 6])
def test_a_partition_is_found_in_a_gpt_that_sfdisk_accepts(tmp_path: Path, version: Version) -> None:
    paths, data = make(tmp_path, THICK, version, 1)
    dump = subprocess.run([require_tool("sfdisk"), "--dump", str(paths[0])], capture_output=True, text=True, check=True)
    assert "label: gpt" in dump.stdout
    assert "type=AA31E02A-400F-11DB-9590-000C2911D1B8" in dump.stdout
    assert not dump.stderr
    device = ImageDevice(paths[0])
    volume = open_volume([device], [1])
    assert contents([device], volume.extent_map(FLAT)) == data
    assert volume.version == version
    with pytest.raises(VmfsError, match="no VMFS partition 2"):
        open_volume([device], [2])


def test_a_partition_is_found_in_an_mbr_that_sfdisk_made(tmp_path: Path) -> None:
    paths, data = make(tmp_path, THICK, 5, 1, partitioned=False)
    disk = tmp_path / "disk"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate((1 << 20) + paths[0].stat().st_size)
        file.seek(1 << 20)
        file.write(paths[0].read_bytes())
    table = "label: dos\nstart=2048, type=fb\n"
    subprocess.run([require_tool("sfdisk"), "-q", str(disk)], input=table, text=True, check=True)
    device = ImageDevice(disk)
    assert contents([device], open_volume([device]).extent_map(FLAT)) == data


def test_the_uuid_is_the_one_that_blkid_reads(tmp_path: Path) -> None:
    paths, _ = make(tmp_path, THICK, 6, 1, partitioned=False)
    command = [require_tool("blkid"), "-p", "-s", "UUID", "-s", "TYPE", "-o", "value", str(paths[0])]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    assert open_volume([ImageDevice(paths[0])]).uuid in told or "VMFS_volume_member" in told


def test_extents_that_lack_come_twice_or_are_foreign_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths, _ = make(tmp_path, THICK, 6, 2)
    others, _ = make(tmp_path / "other", CASES[1], 6, 2)
    first, second, foreign = (ImageDevice(path) for path in (*paths, others[1]))
    with pytest.raises(VmfsError, match="has 2 extents; 1 were given"):
        open_volume([first])
    with pytest.raises(VmfsError, match="two paths of one LUN"):
        open_volume([first, first])
    with pytest.raises(VmfsError, match="different datastores"):
        open_volume([first, foreign])
    assert open_volume([second, first]).extent_map(FLAT)


@pytest.mark.parametrize("version", [3, 5, 6])
def test_pointer_blocks_of_two_levels(tmp_path: Path, version: Version) -> None:
    """A thin file past the reach of one level. No version needs three: two go beyond its largest file."""
    length = 3 << 40 if version == 6 else 300 << 30
    paths = [tmp_path / "lun"]

    def fill(volume: Volume) -> None:
        file = volume.add_thin(FLAT, length)
        for offset in (5 * BLOCK + 777, 270 << 30, length - 4096):
            volume.write(file, offset, b"here" * 1024)

    written(paths, version, fill)
    device = ImageDevice(paths[0])
    found = open_volume([device]).extent_map(FLAT)
    data = [extent for extent in found.extents if extent.kind == "data"]
    assert [extent.start for extent in data] == [5 * BLOCK, 270 << 30, length - BLOCK]
    assert device.read(data[0].offset + 777, 4096) == b"here" * 1024
    assert device.read(data[2].offset + BLOCK - 4096, 4096) == b"here" * 1024
    assert sum(extent.length for extent in found.extents) == length
    assert device.bytes < 8 << 20  # no more is read than the way to the file


def test_holes_and_blocks_to_be_zeroed_are_told_apart(tmp_path: Path) -> None:
    data = b"\1" * BLOCK + bytes(BLOCK) + b"\2" * 2 * BLOCK
    for version in (5, 6):
        paths = [tmp_path / f"lun{version}"]
        written(paths, version, lambda volume: volume.add_file(FLAT, data, thin=True, zeroed={3: 255}))
        found = open_volume([ImageDevice(paths[0])]).extent_map(FLAT)
        assert [extent.kind for extent in found.extents] == ["data", "hole", "data", "zero"]


@pytest.mark.parametrize("bits", [0x01, 0x80, 0x7F])
def test_a_block_that_is_to_be_zeroed_in_part_is_refused(tmp_path: Path, bits: int) -> None:
    """Of VMFS-6: dissect.vmfs and VMkatz take the whole block for zeros, vmfs6-tools reads its data."""
    paths = [tmp_path / "lun"]
    written(paths, 6, lambda volume: volume.add_file(FLAT, b"\1" * 8 * BLOCK, zeroed={5: bits}))
    with pytest.raises(VmfsError, match="readers of the format disagree") as caught:
        open_volume([ImageDevice(paths[0])]).extent_map(FLAT)
    assert "nbdssl" in caught.value.hint


@pytest.mark.parametrize(("version", "bit"), [(3, 4), (5, 4), (5, 3), (6, 5), (6, 3), (6, 47)])
def test_addresses_with_bits_of_no_certain_meaning_are_refused(tmp_path: Path, version: Version, bit: int) -> None:
    """Copy on write (bit 4; in VMFS-6 bit 5), which one reader takes for `to be zeroed`, and bits nobody knows."""
    paths = [tmp_path / "lun"]

    def fill(volume: Volume) -> None:
        file = volume.add_file(FLAT, b"\1" * 8 * BLOCK)
        volume.luns.write(*_pointer(volume, file.number, 2, file.addresses[2] | 1 << bit))

    written(paths, version, fill)
    with pytest.raises(VmfsError, match="not certain"):
        open_volume([ImageDevice(paths[0])]).extent_map(FLAT)


def _pointer(volume: Volume, number: int, slot: int, address: int) -> tuple[int, bytes]:
    size = volume.form.pointer_size
    start = volume.space.pointers_of(number)
    return start + slot * size, address.to_bytes(size, "little")


def test_a_file_with_a_block_twice_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "lun"]

    def fill(volume: Volume) -> None:
        file = volume.add_file(FLAT, b"\1" * 8 * BLOCK)
        volume.luns.write(*_pointer(volume, file.number, 6, file.addresses[2]))

    written(paths, 6, fill)
    with pytest.raises(VmfsError, match="has a block twice"):
        open_volume([ImageDevice(paths[0])]).extent_map(FLAT)


def test_only_plain_files_have_a_map(tmp_path: Path) -> None:
    paths = [tmp_path / "lun"]

    def fill(volume: Volume) -> None:
        volume.add_file("vm/raw-rdmp.vmdk", b"\1" * 2 * BLOCK).type = RAW_DEVICE_MAP
        volume.add_file(FLAT, b"\1" * 2 * BLOCK).type = REGULAR
        volume.rewrite("vm/raw-rdmp.vmdk")

    written(paths, 6, fill)
    volume = open_volume([ImageDevice(paths[0])])
    with pytest.raises(VmfsError, match="raw device mapping"):
        volume.extent_map("vm/raw-rdmp.vmdk")
    with pytest.raises(VmfsError, match="directory"):
        volume.extent_map("vm")
    with pytest.raises(VmfsError, match=r"has no vm/other\.vmdk"):
        volume.extent_map("vm/other.vmdk")
    with pytest.raises(VmfsError, match="would lie in a file"):
        volume.extent_map(f"{FLAT}/x")


def test_a_hundred_files_in_a_directory(tmp_path: Path) -> None:
    for version in (5, 6):
        paths = [tmp_path / f"lun{version}"]
        written(
            paths, version,
            lambda volume: [volume.add_file(f"vm/file{number:03d}", b"%d" % number * 50) for number in range(100)],
        )  # fmt: skip
        volume = open_volume([ImageDevice(paths[0])])
        assert [volume.read_small(f"vm/file{n:03d}") for n in (0, 13, 14, 99)] == [
            b"%d" % n * 50 for n in (0, 13, 14, 99)
        ]


def test_files_come_and_go(tmp_path: Path) -> None:
    """Blocks of a removed file are given to the next, and hold nothing of the old one."""
    paths = [tmp_path / "lun"]

    def fill(volume: Volume) -> None:
        volume.add_file("vm/old-flat.vmdk", b"\xee" * 9 * BLOCK)
        volume.remove("vm/old-flat.vmdk")
        file = volume.add_thin(FLAT, 9 * BLOCK)
        for slot in range(9):
            volume.write(file, slot * BLOCK + 5, b"new")

    written(paths, 5, fill)
    device = ImageDevice(paths[0])
    volume = open_volume([device])
    assert contents([device], volume.extent_map(FLAT)) == (bytes(5) + b"new").ljust(BLOCK, b"\0") * 9
    with pytest.raises(VmfsError, match="has no vm/old"):
        volume.extent_map("vm/old-flat.vmdk")

"""Partition tables as sfdisk writes them, and each way in which they can be damaged."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.extents import Extent
from engine.image.flat import RawDisk
from engine.image.partition_table import PartitionTable, read_partition_table
from tests.image.disks import MIB, MemoryDisk
from tests.tools import require_tool

SIZE = 32 * MIB
GPT = "label: gpt\nstart=2048, size=4096\nstart=8192, size=8192, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n"
MBR = """label: dos
start=2048, size=2048, type=7
start=6144, size=40960, type=5
start=8192, size=2048, type=83
start=12288, size=2048, type=c
"""


def partitioned(path: Path, script: str) -> Path:
    with path.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run([require_tool("sfdisk"), "-q", path], input=script.encode(), check=True, capture_output=True)
    return path


def table_of(path: Path) -> PartitionTable:
    disk = RawDisk(path)
    try:
        return read_partition_table(disk)
    finally:
        disk.close()


def as_sfdisk_tells(path: Path) -> list[Extent]:
    told = subprocess.run([require_tool("sfdisk"), "--json", path], check=True, capture_output=True).stdout
    rows = json.loads(told)["partitiontable"]["partitions"]
    return [Extent(row["start"] * 512, row["size"] * 512) for row in rows if row["type"] != "5"]


@pytest.mark.parametrize(("script", "scheme"), [(GPT, "gpt"), (MBR, "mbr")])
def test_a_sound_table_is_read_as_sfdisk_reads_it(tmp_path: Path, script: str, scheme: str) -> None:
    disk = partitioned(tmp_path / "disk", script)
    table = table_of(disk)
    assert (table.scheme, table.findings, table.notes) == (scheme, [], [])
    assert [each.place for each in table.partitions] == as_sfdisk_tells(disk)


def test_what_a_partition_is_for(tmp_path: Path) -> None:
    gpt, mbr = (table_of(partitioned(tmp_path / "disk", script)).partitions for script in (GPT, MBR))
    assert [each.without_file_system for each in gpt] == ["", "Microsoft reserved"]
    assert [(each.number, each.type) for each in mbr] == [(1, "0x07"), (5, "0x83"), (6, "0x0c")]


def at(offset: int) -> Callable[[bytearray], None]:
    """A flipped bit."""

    def damage(data: bytearray) -> None:
        data[offset] ^= 1

    return damage


def without(first: int, count: int) -> Callable[[bytearray], None]:
    def damage(data: bytearray) -> None:
        data[first * 512 : (first + count) * 512] = bytes(count * 512)

    return damage


LAST = SIZE // 512 - 1
DAMAGES = {
    "primary header": (at(512 + 40), "GPT: the primary header's checksum is wrong."),
    "primary entries": (at(1024 + 33), "GPT: the primary table of entries has a wrong checksum."),
    "primary gone": (without(1, 1), "GPT: the primary header is missing."),
    "second header": (at(LAST * 512 + 24), "GPT: the second header's checksum is wrong."),
    "second entries": (at((LAST - 32) * 512 + 1), "GPT: the second table of entries has a wrong checksum."),
    "second gone": (without(LAST, 1), "GPT: the second header is missing."),
    "protective MBR": (without(0, 1), "GPT: the protective MBR is missing."),
    "the beginning": (without(0, 34), "GPT: the primary header is missing."),
}


@pytest.mark.parametrize("what", list(DAMAGES))
def test_damage_of_either_gpt_is_named_and_the_other_one_serves(tmp_path: Path, what: str) -> None:
    disk = partitioned(tmp_path / "disk", GPT)
    whole, data = table_of(disk), bytearray(disk.read_bytes())
    damage, told = DAMAGES[what]
    damage(data)
    disk.write_bytes(data)
    table = table_of(disk)
    assert told in table.findings
    assert table.partitions == whole.partitions


def test_both_gpts_damaged(tmp_path: Path) -> None:
    disk = partitioned(tmp_path / "disk", GPT)
    data = bytearray(disk.read_bytes())
    at(512 + 40)(data)
    at(LAST * 512 + 40)(data)
    disk.write_bytes(data)
    table = table_of(disk)
    assert (len(table.findings), table.partitions) == (2, [])


def test_an_enlarged_disk_is_not_damaged(tmp_path: Path) -> None:
    disk = partitioned(tmp_path / "disk", GPT)
    with disk.open("r+b") as file:
        file.truncate(SIZE + MIB)
    table = table_of(disk)
    assert table.findings == []
    assert "enlarged" in table.notes[0]


@pytest.mark.parametrize(
    ("offset", "value", "told"),
    [
        (446 + 12, 0x7FFFFFFF, "MBR: partition 1 ends beyond the disk."),
        (446 + 12, 40960, "MBR: partitions 1 and 5 overlap."),
        (6144 * 512 + 508, 0, "MBR: the record of logical partition 5 is damaged."),
    ],
)
def test_damage_of_an_mbr_is_named(tmp_path: Path, offset: int, value: int, told: str) -> None:
    disk = partitioned(tmp_path / "disk", MBR)
    data = bytearray(disk.read_bytes())
    data[offset : offset + 4] = value.to_bytes(4, "little")
    disk.write_bytes(data)
    assert told in table_of(disk).findings


def test_records_of_logical_partitions_in_a_circle(tmp_path: Path) -> None:
    disk = partitioned(tmp_path / "disk", MBR)
    data = bytearray(disk.read_bytes())
    second = 6144 + int.from_bytes(data[6144 * 512 + 462 + 8 :][:4], "little")
    data[second * 512 + 462 : second * 512 + 478] = bytes([0, 0, 0, 0, 5, 0, 0, 0, *bytes(4), 1, 0, 0, 0])
    disk.write_bytes(data)
    assert any("circle" in finding for finding in table_of(disk).findings)


@pytest.mark.parametrize("capacity", [0, 512, 1024, 1536, MIB])
def test_nothing_on_the_disk(capacity: int) -> None:
    assert read_partition_table(MemoryDisk(capacity)) == PartitionTable()


def test_no_content_of_a_disk_is_an_error(tmp_path: Path) -> None:
    """Random bytes in the places that are looked at, in front of real tables too."""
    rng = random.Random(3)
    for script in (GPT, MBR):
        data = partitioned(tmp_path / "disk", script).read_bytes()
        for _ in range(12):
            changed = bytearray(data)
            for place in (0, 512, 1024, LAST * 512, 6144 * 512):
                for _ in range(3):
                    changed[place + rng.randrange(512)] = rng.randrange(256)
            table = read_partition_table(MemoryDisk(SIZE, [(0, bytes(changed))]))
            assert len(table.partitions) <= 300

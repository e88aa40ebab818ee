"""What divides a disk: a GPT (UEFI specification 2.10, chapter 5), whose two copies and four checksums are all looked
at, or an MBR with its logical partitions. Sectors have 512 bytes, as on every disk of vSphere."""

import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from engine.extents import DiskSource, Extent
from engine.image.sparse_header import SECTOR
from engine.image.volumes import UNKNOWN, signed

_SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MOST_ENTRIES = 1 << 20
"""Bytes of a table of entries; 16 KiB are usual."""
_PROTECTIVE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)
_MOST_LOGICAL = 256
_WITHOUT_FILE_SYSTEM = {
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PReP boot",
    "0x41": "PReP boot",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """`place` is in bytes of the disk; `type` a GUID, or a byte as 0x83."""

    number: int
    place: Extent
    type: str

    @property
    def without_file_system(self) -> str:
        """What it is for, when it has none by its purpose; else ""."""
        return _WITHOUT_FILE_SYSTEM.get(self.type, "")


@dataclass(slots=True)
class PartitionTable:
    """`scheme` is gpt, mbr, or "" where the whole disk is one volume, or nothing. `notes` are no damage."""

    scheme: str = ""
    partitions: list[Partition] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Gpt:
    """One copy that is whole: where the other lies, the usable sectors, and the checksum of its entries."""

    alternate: int
    usable: range
    entries: tuple[Partition, ...]
    checksum: int


def read_partition_table(disk: DiskSource) -> PartitionTable:
    """Raises what the disk's reads raise; whatever lies on the disk is no error."""
    if disk.capacity < 3 * SECTOR:
        return PartitionTable()
    first, second = _sectors(disk, 0, 1), _sectors(disk, 1, 1)
    entries = _mbr_entries(first)
    if second.startswith(_SIGNATURE) or any(kind == _PROTECTIVE for kind, _, _ in entries):
        return _gpt(disk, protected=any(kind == _PROTECTIVE for kind, _, _ in entries))
    if signed(disk, Extent(0, disk.capacity)) != UNKNOWN:
        return PartitionTable()
    if entries:
        return _mbr(disk, first, entries)
    if _sectors(disk, disk.capacity // SECTOR - 1, 1).startswith(_SIGNATURE):
        return _gpt(disk, protected=False)  # both sectors at the beginning are lost
    return PartitionTable()


def _sectors(disk: DiskSource, first: int, count: int) -> bytes:
    buffer = bytearray(count * SECTOR)
    disk.read_into(first * SECTOR, memoryview(buffer))
    return bytes(buffer)


def _gpt(disk: DiskSource, *, protected: bool) -> PartitionTable:
    table = PartitionTable("gpt")
    last = disk.capacity // SECTOR - 1
    if not protected:
        table.findings.append("GPT: the protective MBR is missing.")
    primary = _copy(disk, 1, "primary", table.findings)
    place = primary.alternate if primary else last
    if place < last:
        table.notes.append("The disk was enlarged since it was partitioned: the second GPT is not at its end.")
    backup = _copy(disk, place, "second", table.findings)
    if primary and backup and primary.checksum != backup.checksum:
        table.findings.append("GPT: the two copies tell different partitions.")
    good = primary or backup
    if good is not None:
        table.partitions += good.entries
        sectors = [range(each.place.start // SECTOR, each.place.end // SECTOR) for each in good.entries]
        for each, inside in zip(good.entries, sectors, strict=True):
            if not (inside and good.usable.start <= inside.start and inside.stop <= good.usable.stop <= last + 1):
                table.findings.append(f"GPT: partition {each.number} lies outside the usable sectors.")
        _check_overlaps(table)
    return table


def _copy(disk: DiskSource, place: int, which: str, findings: list[str]) -> _Gpt | None:
    """One copy of the GPT, its header at sector `place`; None, with a finding, when it can't be relied on."""
    if not 0 < place < disk.capacity // SECTOR:
        findings.append(f"GPT: the {which} header would lie at sector {place:,}, which the disk does not have.")
        return None
    sector = _sectors(disk, place, 1)
    if doubt := next(_doubts(disk, place, sector), ""):
        findings.append(f"GPT: the {which} {doubt}.")
        return None
    _, _, _, _, _, _, alternate, low, high, _, first, count, width, checksum = _HEADER.unpack_from(sector)
    entries = tuple(_gpt_entries(_entries(disk, first, count * width), width))
    return _Gpt(alternate, range(low, high + 1), entries, checksum)


def _doubts(disk: DiskSource, place: int, sector: bytes) -> Iterator[str]:
    """What is wrong with one copy; the first counts, since the others rest on it."""
    signature, _, size, checksum, _, mine, *_, first, count, width, entries = _HEADER.unpack_from(sector)
    if signature != _SIGNATURE:
        yield "header is missing"
    if not _HEADER.size <= size <= SECTOR or zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != checksum:
        yield "header's checksum is wrong"
    if mine != place:
        yield f"header tells that it lies at sector {mine:,}, but it lies at {place:,}"
    if width < _ENTRY.size or count * width > _MOST_ENTRIES or first * SECTOR + count * width > disk.capacity:
        yield "header's table of entries has no possible place or size"
    if zlib.crc32(_entries(disk, first, count * width)) != entries:
        yield "table of entries has a wrong checksum"


def _entries(disk: DiskSource, first: int, length: int) -> bytes:
    return _sectors(disk, first, -(-length // SECTOR))[:length]


def _gpt_entries(table: bytes, width: int) -> Iterator[Partition]:
    for number, at in enumerate(range(0, len(table) - _ENTRY.size + 1, width), 1):
        kind, _, first, last, _, _ = _ENTRY.unpack_from(table, at)
        if any(kind):
            place = Extent(first * SECTOR, max(last + 1 - first, 0) * SECTOR)
            yield Partition(number, place, str(uuid.UUID(bytes_le=kind)))


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]]:
    """(type, first sector, sectors) of the entries in use; none where a sector is no partition table."""
    if sector[510:512] != b"\x55\xaa" or any(sector[at] not in (0, 0x80) for at in range(446, 510, 16)):
        return []
    told = [struct.unpack_from("<4xB3xII", sector, at) for at in range(446, 510, 16)]
    return [entry for entry in told if entry[0] and entry[2]]


def _mbr(disk: DiskSource, sector: bytes, entries: Sequence[tuple[int, int, int]]) -> PartitionTable:
    table = PartitionTable("mbr")
    logical: list[Partition] = []
    for at in range(446, 510, 16):
        kind, first, count = struct.unpack_from("<4xB3xII", sector, at)
        if (kind, first, count) not in entries:
            continue
        if kind in _EXTENDED:
            logical += _logical(disk, first, table)
        else:
            number = (at - 446) // 16 + 1
            table.partitions.append(Partition(number, Extent(first * SECTOR, count * SECTOR), f"{kind:#04x}"))
    table.partitions += logical
    for each in table.partitions:
        if each.place.end > disk.capacity:
            table.findings.append(f"MBR: partition {each.number} ends beyond the disk.")
    _check_overlaps(table)
    return table


def _logical(disk: DiskSource, extended: int, table: PartitionTable) -> Iterator[Partition]:
    """Each extended boot record tells one partition, relative to itself, and the next record, relative to the first."""
    here, number, seen = extended, 5, set[int]()
    while here not in seen and len(seen) < _MOST_LOGICAL:
        seen.add(here)
        if (here + 1) * SECTOR > disk.capacity or not (sector := _sectors(disk, here, 1)).endswith(b"\x55\xaa"):
            table.findings.append(f"MBR: the record of logical partition {number} is damaged.")
            return
        entries = _mbr_entries(sector)
        for kind, first, count in entries:
            if kind not in _EXTENDED:
                yield Partition(number, Extent((here + first) * SECTOR, count * SECTOR), f"{kind:#04x}")
                number += 1
        following = [first for kind, first, _ in entries if kind in _EXTENDED]
        if not following:
            return
        here = extended + following[0]
    table.findings.append("MBR: the records of the logical partitions run in a circle.")


def _check_overlaps(table: PartitionTable) -> None:
    for left, right in pairwise(sorted(table.partitions, key=lambda each: each.place)):
        if right.place.start < left.place.end:
            table.findings.append(f"{table.scheme.upper()}: partitions {left.number} and {right.number} overlap.")

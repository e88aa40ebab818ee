"""Where a LUN's VMFS partition lies, from its GPT or MBR, read by ourselves.

The kernel's own partition nodes are not used: rescanning (`partprobe`, `kpartx`) touches a LUN that is not ours, and a
multipath map often has none. UEFI 2.10 chapter 5; VMFS's type GUID and MBR type 0xFB as ESXi writes them.
"""

import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import VmfsError
from engine.transport.vmfs.fields import Device, unpack

VMFS_TYPE = uuid.UUID("aa31e02a-400f-11db-9590-000c2911d1b8").bytes_le
VMFS_MBR_TYPE = 0xFB
_PROTECTIVE = 0xEE
_ENTRIES_LIMIT = 1024


@dataclass(frozen=True)
class Region:
    """A byte range of a device: a partition, or the whole device. Nothing outside can be read."""

    device: Device
    start: int
    length: int

    def read(self, offset: int, length: int) -> bytes:
        """VmfsError when a damaged structure points outside."""
        if offset < 0 or length < 0 or offset + length > self.length:
            raise VmfsError(f"A structure points outside of the partition: {length} bytes at {offset:#x}.")
        data = self.device.read(self.start + offset, length)
        if len(data) != length:
            raise VmfsError(f"The device ended after {len(data)} of {length} bytes at {self.start + offset:#x}.")
        return data


def whole(device: Device) -> Region:
    return Region(device, 0, device.size)


def vmfs_partition(device: Device, wanted: int | None = None) -> Region:
    """The partition with this number (as HostScsiDiskPartition counts, from 1), or the only VMFS one; the whole device
    when it has no partition table (a partition's own device node). VmfsError when there is no such partition."""
    found = vmfs_partitions(device)
    if found is None:
        return whole(device)
    if wanted is None and len(found) == 1:
        return next(iter(found.values()))
    if wanted is None or wanted not in found:
        listed = ", ".join(map(str, found)) or "none"
        raise VmfsError(f"The device has no VMFS partition {wanted or ''}; VMFS partitions there: {listed}.")
    return found[wanted]


def vmfs_partitions(device: Device) -> Mapping[int, Region] | None:
    """By number; None without a partition table."""
    disk = whole(device)
    if device.size < 8192:
        raise VmfsError(f"A device of {device.size} bytes holds no VMFS.")
    first = disk.read(0, 8192)
    for sector in (512, 4096):
        if first[sector : sector + 8] == b"EFI PART":
            return _gpt(disk, first[sector : sector + 512], sector)
    if first[510:512] != b"\x55\xaa":
        return None
    return _mbr(disk, first[446:510])


def _gpt(disk: Region, header: bytes, sector: int) -> dict[int, Region]:
    size, checksum = unpack("<II", header, 12, "The GPT header")
    if not 92 <= size <= 512 or zlib.crc32(header[:16] + bytes(4) + header[20:size]) != checksum:
        raise VmfsError("The GPT header is damaged (its checksum is wrong).")
    table, count, length, table_checksum = unpack("<QIII", header, 72, "The GPT header")
    if count > _ENTRIES_LIMIT or not 128 <= length <= 4096 or length % 8:
        raise VmfsError(f"The GPT has {count} entries of {length} bytes.")
    entries = disk.read(table * sector, count * length)
    if zlib.crc32(entries) != table_checksum:
        raise VmfsError("The GPT's table of partitions is damaged (its checksum is wrong).")
    found = {}
    for index in range(count):
        entry = entries[index * length : (index + 1) * length]
        if entry[:16] == VMFS_TYPE:
            low, high = unpack("<QQ", entry, 32, "A GPT entry")
            found[index + 1] = _inside(disk, index + 1, low * sector, (high + 1 - low) * sector)
    return found


def _mbr(disk: Region, table: bytes) -> dict[int, Region] | None:
    found = {}
    for index in range(4):
        kind = table[16 * index + 4]
        low, count = unpack("<II", table, 16 * index + 8, "The partition table")
        if kind == _PROTECTIVE:
            raise VmfsError("The device has a protective MBR, but no GPT.")
        if kind == VMFS_MBR_TYPE:
            found[index + 1] = _inside(disk, index + 1, low * 512, count * 512)
    return found


def _inside(disk: Region, number: int, start: int, length: int) -> Region:
    if length <= 0 or start + length > disk.length:
        raise VmfsError(
            f"Partition {number} ends at {start + length:,} bytes; the device has {disk.length:,}.",
            hint="Does the proxy see the LUN's present size? Rescan it; until then read over nbdssl.",
        )
    return Region(disk.device, start, length)

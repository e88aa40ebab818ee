"""A GPT with one VMFS partition, as ESXi writes it on a LUN (UEFI 2.10, chapter 5)."""

from __future__ import annotations

import struct
import uuid
import zlib

SECTOR = 512
START = 2048 * SECTOR
"""Where the partition begins."""
TAIL = 34 * SECTOR
"""Behind the partition: the second copy of the table."""
_VMFS = uuid.UUID("aa31e02a-400f-11db-9590-000c2911d1b8").bytes_le
_ENTRIES, _ENTRY = 128, 128


def gpt(size: int, disk_id: bytes) -> dict[int, bytes]:
    """Byte offset -> bytes, for a LUN of `size` bytes (a multiple of 512). The partition ends TAIL before the end."""
    last = size // SECTOR - 1
    entry = _VMFS + disk_id[::-1] + struct.pack("<QQQ", START // SECTOR, last - 34, 0)
    entries = entry.ljust(_ENTRY, b"\0").ljust(_ENTRIES * _ENTRY, b"\0")
    protective = bytearray(SECTOR)
    protective[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    protective[510:512] = b"\x55\xaa"
    return {
        0: bytes(protective),
        SECTOR: _header(1, last, 2, last, disk_id, entries),
        2 * SECTOR: entries,
        (last - 32) * SECTOR: entries,
        last * SECTOR: _header(last, 1, last - 32, last, disk_id, entries),
    }


def _header(here: int, other: int, table: int, last: int, disk_id: bytes, entries: bytes) -> bytes:  # noqa: PLR0917
    def packed(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, here, other, 34, last - 33, disk_id,
            table, _ENTRIES, _ENTRY, zlib.crc32(entries),
        )  # fmt: skip

    return packed(zlib.crc32(packed(0)))

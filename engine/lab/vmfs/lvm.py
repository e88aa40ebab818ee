"""VMFS's volume manager: the headers that make one volume of one or more LUNs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engine.lab.vmfs.form import Form

PHYSICAL_EXTENT = 256 << 20
HEADER = 0x100000
DATA = 0x1100000
"""Offset in the partition of the first physical extent."""
_DEVICES = 32


@dataclass(frozen=True)
class Group:
    """What all LUNs of a volume share. Identities are 16 random bytes; `extents` counts physical extents of each LUN,
    which hold the volume's bytes one LUN after the other."""

    volume: bytes
    devices: tuple[bytes, ...]
    extents: tuple[int, ...]
    seconds: int

    @property
    def size(self) -> int:
        return sum(self.extents) * PHYSICAL_EXTENT

    def name(self) -> str:
        return "{:08x}-{:08x}-{:04x}-{}".format(*struct.unpack("<IIH", self.volume[:10]), self.volume[10:].hex())


def size_of_device(extents: int) -> int:
    """Bytes of a partition with so many physical extents."""
    return DATA + extents * PHYSICAL_EXTENT


def headers(group: Group, device: int, form: Form) -> dict[int, bytes]:
    """Offset in the partition -> bytes."""
    version, alignment, volumes = (6, 4096, 1) if form.wide else (form.version, 512, 512)
    count, first = group.extents[device], sum(group.extents[:device])
    micros = group.seconds * 10**6
    header = bytearray(0xD6)
    struct.pack_into("<III", header, 0, 0xC001D00D, version, 0)
    struct.pack_into("<IQIII", header, 0x5A, 512, size_of_device(count), 1, count, count - 1)
    struct.pack_into("<QQ16sQQ", header, 0x72, 1, DATA, group.devices[device], micros, micros)
    struct.pack_into("<IQII", header, 0xBE, 1, 0, *((4096, count) if form.wide else (0, 0)))
    volume = struct.pack(
        "<QQI64s16sIQIIQQQI", group.size, sum(group.extents) + len(group.devices), 1, group.name().encode(),
        group.volume, 0, micros, 1, count, first, first + count - 1, micros, len(group.devices),
    )  # fmt: skip
    names = alignment + volumes * 512 + ((1024 - volumes) * 512 - 256 * _DEVICES)
    bitmap, bitmap_size = names + 256 * _DEVICES, max(alignment, 1024)
    found = {HEADER: bytes(header), HEADER + alignment: volume.ljust(512, b"\0")}
    if device == 0 and form.version > 3:
        found |= {HEADER + names + i * 256: b"naa.lab%d:1" % i for i in range(len(group.devices))}
    found[HEADER + bitmap] = b"\xff" * (count // 8) + bytes([(1 << count % 8) - 1])
    found[HEADER + bitmap + bitmap_size] = b"".join(
        struct.pack(
            "<BIIQQQI", 1, index, 1, DATA + index * PHYSICAL_EXTENT, (first + index) * PHYSICAL_EXTENT,
            PHYSICAL_EXTENT, 1,
        ).ljust(128, b"\0")
        for index in range(count)
    )  # fmt: skip
    return found

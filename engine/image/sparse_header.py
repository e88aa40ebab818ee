"""The fixed structures of a VMDK sparse extent: header, markers, and the sizes that follow from them.

Source: VMware "Virtual Disk Format 5.0" (sparse extent header, stream-optimized markers). All numbers on disk are
little-endian; offsets and capacities are in sectors of 512 bytes.
"""

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from engine.errors import ImageError

SECTOR = 512
GRAIN_SECTORS = 128
GRAIN = GRAIN_SECTORS * SECTOR
"""Bytes of a grain in images that we write (64 KiB): the smallest piece that is stored or left out."""
TABLE_ENTRIES = 512
UNIT = GRAIN * TABLE_ENTRIES
"""Bytes of the disk that one grain table covers (32 MiB)."""
TABLE_BYTES = 4 * TABLE_ENTRIES
TABLE_SECTORS = TABLE_BYTES // SECTOR
DESCRIPTOR_SECTORS = 20
"""Room for the descriptor in images that we write, as VMware leaves it."""
MAX_SECTOR = 0xFFFF_FFFF
"""Grain tables hold 32-bit sector numbers, so no sparse extent can be larger than 2 TiB."""

MAGIC = b"KDMV"
GD_AT_END = 0xFFFF_FFFF_FFFF_FFFF
"""Value of `directory_offset` in the header of a stream: the real one is in the footer."""

FLAG_NEWLINES = 1 << 0
FLAG_REDUNDANT_TABLES = 1 << 1
FLAG_ZEROED_GRAINS = 1 << 2
FLAG_COMPRESSED = 1 << 16
FLAG_MARKERS = 1 << 17
STREAM_FLAGS = FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433s")
_MARKER = struct.Struct("<QII496s")
GRAIN_MARKER = struct.Struct("<QI")
"""In front of each compressed grain: its first sector on the disk, its compressed length in bytes."""
_NEWLINES = b"\n \r\n"
_DEFLATE = 1


class Marker(IntEnum):
    """Types of the metadata markers; PROGRESS is known from VMware's open-vmdk and carries no disk data."""

    END = 0
    GRAIN_TABLE = 1
    GRAIN_DIRECTORY = 2
    FOOTER = 3
    PROGRESS = 4


def marker(kind: Marker, sectors: int) -> bytes:
    """One sector that announces `sectors` sectors of metadata."""
    return _MARKER.pack(sectors, 0, kind, b"")


def sectors_of(size: int) -> int:
    """Sectors that `size` bytes take."""
    return -(-size // SECTOR)


@dataclass(frozen=True, slots=True)
class SparseHeader:
    """The 512 bytes at the start of a sparse extent, and of its footer. Offsets, sizes and capacity in sectors."""

    capacity: int
    version: int = 3
    flags: int = STREAM_FLAGS
    grain_size: int = GRAIN_SECTORS
    descriptor_offset: int = 1
    descriptor_size: int = DESCRIPTOR_SECTORS
    table_entries: int = TABLE_ENTRIES
    redundant_offset: int = 0
    directory_offset: int = GD_AT_END
    overhead: int = GRAIN_SECTORS
    compression: int = _DEFLATE

    @property
    def tables(self) -> int:
        """Number of grain tables, which is the number of entries of the grain directory."""
        return -(-self.capacity // (self.grain_size * self.table_entries))

    @property
    def geometry(self) -> tuple[int, int, int]:
        """What a header and its footer must have in common."""
        return self.capacity, self.grain_size, self.table_entries

    @property
    def is_stream(self) -> bool:
        """Grains are compressed and carry markers: streamOptimized."""
        return self.flags & FLAG_COMPRESSED != 0 and self.flags & FLAG_MARKERS != 0

    def at(self, directory_offset: int) -> "SparseHeader":
        """The same header with the place of the grain directory: what the footer repeats."""
        return replace(self, directory_offset=directory_offset)

    def pack(self) -> bytes:
        return _HEADER.pack(
            MAGIC, self.version, self.flags, self.capacity, self.grain_size, self.descriptor_offset,
            self.descriptor_size, self.table_entries, self.redundant_offset, self.directory_offset, self.overhead,
            0, _NEWLINES, self.compression, b"",
        )  # fmt: skip

    @staticmethod
    def unpack(data: bytes) -> "SparseHeader":
        """Raises `ImageError` for anything that cannot be the header of a sparse extent."""
        if len(data) < SECTOR or data[:4] != MAGIC:
            raise ImageError("This is not a VMDK sparse extent: it does not begin with KDMV.")
        fields = _HEADER.unpack(data[:SECTOR])
        header = SparseHeader(
            version=fields[1], flags=fields[2], capacity=fields[3], grain_size=fields[4], descriptor_offset=fields[5],
            descriptor_size=fields[6], table_entries=fields[7], redundant_offset=fields[8], directory_offset=fields[9],
            overhead=fields[10], compression=fields[13],
        )  # fmt: skip
        header._check(fields[12])
        return header

    def _check(self, newlines: bytes) -> None:
        if self.flags & FLAG_NEWLINES and newlines != _NEWLINES:
            raise ImageError(
                "The line ends in the VMDK header were changed.",
                hint="The file was probably transferred in text mode; fetch it again in binary mode.",
            )
        if self.version not in (1, 2, 3):
            raise ImageError(f"VMDK sparse header version {self.version} is unknown (1 to 3 are known).")
        if self.grain_size & (self.grain_size - 1) or not 8 <= self.grain_size <= 2048:
            raise ImageError(f"A VMDK grain has 8 to 2048 sectors; the header says {self.grain_size}.")
        if self.table_entries != TABLE_ENTRIES:
            raise ImageError(f"The VMDK header gives {self.table_entries} entries a grain table; 512 is the format's.")
        if self.capacity > MAX_CAPACITY // SECTOR:
            raise ImageError(f"The VMDK header gives a capacity of {self.capacity} sectors, more than any disk has.")
        if self.flags & FLAG_COMPRESSED and self.compression != _DEFLATE:
            raise ImageError(f"The grains are compressed by algorithm {self.compression}; only deflate (1) is known.")


MAX_CAPACITY = 1 << 47
"""128 TiB: twice the largest virtual disk of vSphere (62 TiB), and a bound on what a damaged header can ask of us."""

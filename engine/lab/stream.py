"""streamOptimized VMDK: what a lease sends on export, and what it takes on import.

The format is VMware's "Virtual Disk Format 5.0" with markers: a header whose grain directory lies at the end, deflated
grains of 64 KiB each behind (sector, size), a table after every 512 grains, the directory, a footer, the end marker.
"""

import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from isal import isal_zlib

SECTOR = 512
GRAIN = 64 * 1024
GRAIN_SECTORS = GRAIN // SECTOR
TABLE_GRAINS = 512
PIECE_GRAINS = 16  # read 1 MiB at a time: what a source returns quickly and a cache holds
MAGIC = b"KDMV"
DIRECTORY_AT_END = 0xFFFF_FFFF_FFFF_FFFF
EMBEDDED_COMPRESSED_MARKERS = 0x3_0001
END_OF_STREAM, TABLE, DIRECTORY, FOOTER = range(4)
_HEADER = struct.Struct("<4sIIQQQQIQQQ?4sH433x")
_MARKER = struct.Struct("<QII496x")
_GRAIN_HEAD = struct.Struct("<QI")
_ZERO_GRAIN = bytes(GRAIN)
_LARGEST_GRAIN = 1024  # sectors; more is no VMDK that a host writes


class StreamError(Exception):
    """The bytes are not a whole streamOptimized VMDK."""


class StreamWriter:
    """One disk as a streamOptimized VMDK, produced in one pass.

    `read(offset, length)` returns bytes of the disk; `extents` are (offset, length) pairs in bytes, ascending, that may
    hold data: what lies outside them reads as zeros and is never asked for. `size` and `populated` (bytes) grow with
    the stream and are final when `chunks` ends.
    """

    def __init__(
        self,
        capacity: int,
        name: str,
        cid: str,
        read: Callable[[int, int], bytes],
        extents: Iterable[tuple[int, int]],
    ) -> None:
        self.capacity, self.name, self.cid = capacity, name, cid
        self.size = self.populated = 0
        self._read, self._extents = read, extents
        self._table, self._directory = array("I", bytes(4 * TABLE_GRAINS)), array("I")

    def chunks(self) -> Iterator[bytes]:
        """The stream in pieces of up to about 1 MiB; a piece is read and deflated only when it is asked for."""
        yield self._count(self._head())
        number = 0
        self._directory = array("I", bytes(4 * -(-self.capacity // (GRAIN * TABLE_GRAINS))))
        for first, stop in self._pieces():
            if first // TABLE_GRAINS != number:
                yield self._count(self._close_table(number))
                number = first // TABLE_GRAINS
            yield self._count(self._grains(first, stop))
        yield self._count(self._close_table(number))
        yield self._count(self._tail())

    def _count(self, data: bytes) -> bytes:
        self.size += len(data)
        return data

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Grain numbers (first, stop) to look at: each grain once, no piece across the border of two tables."""
        done, grains = 0, -(-self.capacity // GRAIN)
        for offset, length in self._extents:
            first, stop = max(offset // GRAIN, done), min(-(-(offset + length) // GRAIN), grains)
            while first < stop:
                end = min(first + PIECE_GRAINS, stop, (first // TABLE_GRAINS + 1) * TABLE_GRAINS)
                yield first, end
                first = end
            done = max(done, stop)

    def _grains(self, first: int, stop: int) -> bytes:
        """The data grains of [first, stop), deflated and padded to sectors; a grain of zeros is left out."""
        start = first * GRAIN
        data = self._read(start, min(stop * GRAIN, self.capacity) - start)
        if len(data) % GRAIN:
            data += bytes(-len(data) % GRAIN)
        view, out = memoryview(data), bytearray()
        for at in range(0, len(data), GRAIN):
            if data.startswith(_ZERO_GRAIN, at):
                continue
            number = (start + at) // GRAIN
            self._table[number % TABLE_GRAINS] = (self.size + len(out)) // SECTOR
            packed = isal_zlib.compress(view[at : at + GRAIN], 1)
            out += _GRAIN_HEAD.pack(number * GRAIN_SECTORS, len(packed)) + packed
            out += bytes(-len(out) % SECTOR)
            self.populated += GRAIN
        return bytes(out)

    def _close_table(self, number: int) -> bytes:
        if not any(self._table):
            return b""
        out = _MARKER.pack(TABLE_GRAINS * 4 // SECTOR, 0, TABLE) + self._table.tobytes()
        self._directory[number] = self.size // SECTOR + 1
        self._table = array("I", bytes(4 * TABLE_GRAINS))
        return out

    def _head(self) -> bytes:
        text = self._descriptor()
        return (self._header(DIRECTORY_AT_END) + text).ljust(GRAIN, b"\0")

    def _tail(self) -> bytes:
        entries = self._directory.tobytes()
        entries += bytes(-len(entries) % SECTOR)
        at = self.size // SECTOR + 1
        directory = _MARKER.pack(len(entries) // SECTOR, 0, DIRECTORY) + entries
        return directory + _MARKER.pack(1, 0, FOOTER) + self._header(at) + _MARKER.pack(0, 0, END_OF_STREAM)

    def _header(self, directory: int) -> bytes:
        # capacity need not be a multiple of the grain: the last grain is stored whole, and cut by the reader
        return _HEADER.pack(
            MAGIC, 3, EMBEDDED_COMPRESSED_MARKERS, self.capacity // SECTOR, GRAIN_SECTORS, 1,
            -(-len(self._descriptor()) // SECTOR), TABLE_GRAINS, 0, directory, GRAIN_SECTORS, False, b"\n \r\n", 1,
        )  # fmt: skip

    def _descriptor(self) -> bytes:
        sectors = self.capacity // SECTOR
        return (
            f'# Disk DescriptorFile\nversion=1\nCID={self.cid}\nparentCID=ffffffff\ncreateType="streamOptimized"\n\n'
            f'# Extent description\nRDONLY {sectors} SPARSE "{self.name}"\n\n# The Disk Data Base\n#DDB\n\n'
            f'ddb.adapterType = "lsilogic"\nddb.geometry.cylinders = "{max(1, sectors // (255 * 63))}"\n'
            f'ddb.geometry.heads = "255"\nddb.geometry.sectors = "63"\nddb.virtualHWVersion = "21"\n'
        ).encode()


@dataclass(frozen=True)
class Decoded:
    """What a stream held: `capacity` of the disk and `populated` bytes of grains stored, both in bytes."""

    capacity: int
    populated: int
    descriptor: str


def decode(chunks: Iterable[bytes], write: Callable[[int, bytes], object]) -> Decoded:
    """Feed the grains of a stream to `write(offset, data)` as they come; grains of zeros are not written.

    Reads streams with end markers (ESXi, ovftool, this module) and qemu-img's, whose tables lie before the grains and
    which simply end. Raises StreamError for anything else, and for a stream that is cut; what was written stays.
    """
    source = _Source(chunks)
    magic, version, flags, sectors, grain, text_at, text_size, _, _, directory, overhead, _, _, method = _HEADER.unpack(
        source.exactly(SECTOR)
    )
    if magic != MAGIC or version not in (1, 2, 3) or flags >> 16 & 3 != 3 or method != 1:
        raise StreamError("not a streamOptimized VMDK")
    if not (0 < grain <= _LARGEST_GRAIN and 0 < sectors < 1 << 40 and 0 < overhead < 1 << 24):
        raise StreamError("the header of the VMDK makes no sense")
    descriptor = source.between(text_at * SECTOR, (text_at + text_size) * SECTOR)
    source.exactly(overhead * SECTOR - source.position)
    capacity, populated, ended = sectors * SECTOR, 0, False
    while not ended and (head := source.sector(may_end=directory != DIRECTORY_AT_END)):
        value, size, kind = _MARKER.unpack(head)
        if size:
            packed = head[_GRAIN_HEAD.size : _GRAIN_HEAD.size + size] + source.exactly(
                -(-(_GRAIN_HEAD.size + size) // SECTOR) * SECTOR - SECTOR
            )
            populated += _store_grain(value * SECTOR, packed[:size], grain * SECTOR, capacity, write)
        elif kind == END_OF_STREAM:
            ended = True
        elif kind in (TABLE, DIRECTORY, FOOTER):
            source.exactly(value * SECTOR)
        else:
            raise StreamError(f"unknown marker {kind} at byte {source.position - SECTOR}")
    return Decoded(capacity, populated, descriptor.rstrip(b"\0").decode(errors="replace"))


def _store_grain(offset: int, packed: bytes, grain: int, capacity: int, write: Callable[[int, bytes], object]) -> int:
    if offset >= capacity or offset % grain:
        raise StreamError(f"a grain at byte {offset} lies outside the disk or off its place")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(packed, grain)
    except zlib.error as error:
        raise StreamError(f"the grain at byte {offset} is damaged: {error}") from error
    wanted = min(grain, capacity - offset)
    if len(data) < wanted or (not inflate.eof and inflate.decompress(inflate.unconsumed_tail, 1)):
        raise StreamError(f"the grain at byte {offset} has the wrong length")
    data = data[:wanted]
    if data.count(0) != len(data):
        write(offset, data)
    return grain


class _Source:
    """Exact reads from an iterable of byte strings."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._held = iter(chunks), bytearray()
        self._taken = self.position = 0

    def exactly(self, count: int, *, may_end: bool = False) -> bytes:
        """`count` bytes; StreamError when the stream ends before (b"" when it ends just here and `may_end`)."""
        if count < 0:
            raise StreamError("the parts of the VMDK overlap")
        while len(self._held) - self._taken < count:
            piece = next((c for c in self._chunks if c), None)
            if piece is None:
                if may_end and len(self._held) == self._taken:
                    return b""
                raise StreamError(f"the stream ends at byte {self.position + len(self._held) - self._taken}")
            del self._held[: self._taken]
            self._taken = 0
            self._held += piece
        data = bytes(memoryview(self._held)[self._taken : self._taken + count])
        self._taken += count
        self.position += count
        return data

    def sector(self, *, may_end: bool) -> bytes:
        return self.exactly(SECTOR, may_end=may_end)

    def between(self, start: int, stop: int) -> bytes:
        self.exactly(start - self.position)
        return self.exactly(stop - start)

"""A streamOptimized VMDK as it arrives, in pieces of any size: checked against itself, taken apart into grains."""

import struct
from array import array

from engine.errors import ImageError
from engine.image import descriptor as text_descriptor
from engine.image.descriptor import Descriptor
from engine.image.grains import check_length, inflate
from engine.image.sparse_header import (
    GD_AT_END,
    GRAIN_MARKER,
    SECTOR,
    TABLE_ENTRIES,
    TABLE_SECTORS,
    Marker,
    SparseHeader,
    sectors_of,
)

_KIND = struct.Struct("<I")
_MAX_OVERHEAD = 1 << 20


class StreamParser:
    """Follows the structure of one stream; `feed` gives what became complete, `finish` says whether that was all.

    Checked: header, descriptor, each marker, each grain's place (inside the disk, not twice), each grain table
    against the grains that really came, the directory against the tables, the footer against the header, and that
    the stream ends with its end marker and nothing behind it. The grains' compressed data is not looked into.
    Raises `ImageError`. Memory: one piece, and 2 KiB for each grain table still to come (their usual place is right
    behind their grains).
    """

    def __init__(self) -> None:
        self.header: SparseHeader | None = None
        self.descriptor: Descriptor | None = None
        self.ended = False
        self._pending = bytearray()
        self._base = 0
        self._tables = _TableCheck()
        self._directory_sector = 0
        self._footer = False

    @property
    def capacity(self) -> int:
        """Bytes of the disk; 0 until the header has arrived."""
        return self.header.capacity * SECTOR if self.header else 0

    @property
    def grain(self) -> int:
        """Bytes of a grain; 0 until the header has arrived."""
        return self.header.grain_size * SECTOR if self.header else 0

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """Takes the next piece; (byte offset on the disk, compressed bytes) of each grain that it completes."""
        self._pending += data
        at = 0
        if self.header is None:
            at = self._take_header()
        grains: list[tuple[int, bytes]] = []
        while self.header is not None and not self.ended and len(self._pending) - at >= SECTOR:
            length = self._step(self.header, at, grains)
            if not length:
                break
            at += length
        del self._pending[:at]
        self._base += at
        if self.ended and self._pending:
            raise ImageError("The VMDK stream goes on after its end marker.")
        return grains

    def finish(self) -> None:
        """Call at the end of the data; raises `ImageError` unless the stream is complete."""
        if not self.ended:
            raise ImageError(f"The VMDK stream ends early, after {self._base + len(self._pending)} bytes.")

    def _take_header(self) -> int:
        """Bytes in front of the first marker, 0 while they are not all there."""
        if len(self._pending) < SECTOR:
            return 0
        header = SparseHeader.unpack(bytes(self._pending[:SECTOR]))
        if not header.is_stream or header.directory_offset != GD_AT_END:
            raise ImageError("The data is a VMDK, but not a stream that can be read front to back.")
        overhead = header.overhead * SECTOR
        first, size = header.descriptor_offset * SECTOR, header.descriptor_size * SECTOR
        if not SECTOR <= first < first + size <= overhead <= _MAX_OVERHEAD:
            raise ImageError("The VMDK stream's header has no plausible place for the descriptor.")
        if len(self._pending) < overhead:
            return 0
        self.descriptor = text_descriptor.parse(bytes(self._pending[first : first + size]))
        self.header = header
        self._tables.expect(header.tables)
        return overhead

    def _step(self, header: SparseHeader, at: int, grains: list[tuple[int, bytes]]) -> int:
        """Takes one grain or marker at `at`; its length in bytes, 0 while it is not all there."""
        value, size = GRAIN_MARKER.unpack_from(self._pending, at)
        if size:
            return self._grain(header, at, value, size, grains)
        (kind,) = _KIND.unpack_from(self._pending, at + GRAIN_MARKER.size)
        self._check_marker(header, kind, value, at)
        length = (1 + value) * SECTOR
        if len(self._pending) - at < length:
            return 0
        self._metadata(header, kind, bytes(self._pending[at + SECTOR : at + length]), self._sector(at) + 1)
        return length

    def _sector(self, at: int) -> int:
        return (self._base + at) // SECTOR

    def _grain(self, header: SparseHeader, at: int, lba: int, size: int, grains: list[tuple[int, bytes]]) -> int:
        where = f"VMDK stream, sector {self._sector(at)}"
        check_length(size, self.grain, where)
        if lba % header.grain_size or lba >= header.capacity:
            raise ImageError(f"{where}: a grain for sector {lba} of the disk cannot be.")
        if self._directory_sector:
            raise ImageError(f"{where}: a grain after the grain directory.")
        length = sectors_of(GRAIN_MARKER.size + size) * SECTOR
        if len(self._pending) - at < length:
            return 0
        self._tables.grain(lba // header.grain_size, self._sector(at), where)
        body = at + GRAIN_MARKER.size
        grains.append((lba * SECTOR, bytes(self._pending[body : body + size])))
        return length

    def _check_marker(self, header: SparseHeader, kind: int, sectors: int, at: int) -> None:
        """Before any memory is given to what a marker announces."""
        where = f"VMDK stream, sector {self._sector(at)}"
        if self._footer and kind != Marker.END:
            raise ImageError(f"{where}: only the end marker may follow the footer.")
        directory = sectors_of(4 * header.tables)
        plausible = {
            Marker.END: self._footer and not sectors,
            Marker.GRAIN_TABLE: sectors == TABLE_SECTORS,
            Marker.GRAIN_DIRECTORY: directory <= sectors <= directory + 128 and not self._directory_sector,
            Marker.FOOTER: sectors == 1 and self._directory_sector > 0,
            Marker.PROGRESS: sectors * SECTOR <= _MAX_OVERHEAD,
        }
        if kind not in plausible:
            raise ImageError(f"{where}: marker of type {kind} is unknown.")
        if not plausible[Marker(kind)]:
            raise ImageError(f"{where}: a marker of type {kind} for {sectors} sectors cannot be here.")

    def _metadata(self, header: SparseHeader, kind: int, data: bytes, sector: int) -> None:
        if kind == Marker.GRAIN_TABLE:
            self._tables.table(data, sector)
        elif kind == Marker.GRAIN_DIRECTORY:
            self._tables.directory(data[: 4 * header.tables])
            self._directory_sector = sector
        elif kind == Marker.FOOTER:
            footer = SparseHeader.unpack(data)
            if footer.geometry != header.geometry or footer.directory_offset != self._directory_sector:
                raise ImageError("The footer of the VMDK stream does not fit its header and grain directory.")
            self._footer = True
        elif kind == Marker.END:
            self.ended = True


class _TableCheck:
    """Whether grain tables and directory say what really came."""

    def __init__(self) -> None:
        self._open: dict[int, array[int]] = {}
        """Tables of units whose grains came, and whose own table has not."""
        self._first: dict[int, int] = {}
        """First sector used by an open unit -> the unit: a table tells by its lowest entry whose it is."""
        self._places = array("I")
        self._empty: set[int] = set()

    def expect(self, tables: int) -> None:
        self._places = array("I", bytes(4 * tables))

    def grain(self, grain: int, sector: int, where: str) -> None:
        unit, entry = divmod(grain, TABLE_ENTRIES)
        if (table := self._open.get(unit)) is None:
            if self._places[unit]:
                raise ImageError(f"{where}: a grain after its grain table.")
            table = self._open[unit] = array("I", bytes(4 * TABLE_ENTRIES))
            self._first[sector] = unit
        if table[entry]:
            raise ImageError(f"{where}: the same grain a second time.")
        table[entry] = sector

    def table(self, data: bytes, sector: int) -> None:
        entries = array("I", data)
        lowest = min((entry for entry in entries if entry), default=0)
        if not lowest:
            self._empty.add(sector)
            return
        unit = self._first.pop(lowest, None)
        if unit is None or self._open.pop(unit) != entries:
            raise ImageError(f"The grain table at sector {sector} does not list the grains that came.")
        self._places[unit] = sector

    def directory(self, data: bytes) -> None:
        if self._open:
            raise ImageError("The VMDK stream has grains that no grain table lists.")
        for unit, (told, real) in enumerate(zip(array("I", data), self._places, strict=True)):
            if told != real and (real or told not in self._empty):
                raise ImageError(f"Entry {unit} of the grain directory does not point to its grain table.")


class StreamDecoder:
    """The same, with the grains inflated and checked (Adler-32)."""

    def __init__(self) -> None:
        self.parser = StreamParser()

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """(byte offset on the disk, content) of each grain that this piece completes, cut at the end of the disk."""
        parser = self.parser
        result: list[tuple[int, bytes]] = []
        for offset, compressed in parser.feed(data):
            needed = min(parser.grain, parser.capacity - offset)
            content = inflate(compressed, parser.grain, needed, f"VMDK stream, grain at byte {offset}")
            result.append((offset, content[:needed]))
        return result

    def finish(self) -> None:
        """As `StreamParser.finish`."""
        self.parser.finish()

"""The tables of a VMDK sparse extent: which grains it stores, and where. How a grain is stored is its kind's matter."""

import os
import threading
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.errors import ImageError
from engine.extents import Extent
from engine.image import descriptor as text_descriptor
from engine.image.descriptor import Descriptor
from engine.image.flat import image_error
from engine.image.sparse_header import FLAG_ZEROED_GRAINS, SECTOR, TABLE_BYTES, TABLE_ENTRIES, SparseHeader

_CACHED_TABLES = 64
_ZEROED = 1
"""A grain table entry that stands for a grain of zeros, in images whose header allows it."""
_EMPTY_TABLE = bytes(TABLE_BYTES)
_TABLES_AT_ONCE = 512


class Stored(NamedTuple):
    """A grain of the disk and the sector of the file where it is kept."""

    grain: int
    sector: int


class Where(NamedTuple):
    """A grain, as errors name it. Put into words only then: every grain that is read has one."""

    path: Path
    byte: int
    sector: int

    def __str__(self) -> str:
        return f"{self.path}: grain at byte {self.byte} of the disk (sector {self.sector})"


class SparseExtent(ABC):
    """A sparse extent in one file with its descriptor inside; a subclass knows its header and its grains.

    Raises `ImageError` for whatever does not fit together. Memory: the grain directory (8 MiB for 62 TiB) and 64 grain
    tables of 2 KiB.
    """

    transport = "file"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise image_error(error, path) from error
        try:
            self._size = os.fstat(self._fd).st_size
            self.header = self._read_header()
            self.capacity = self.header.capacity * SECTOR
            self._grain = self.header.grain_size * SECTOR
            self.descriptor = self._read_descriptor()
            self._directory = self._read_directory()
        except BaseException:
            self.close()
            raise
        self._tables: OrderedDict[int, array[int]] = OrderedDict()
        self._lock = threading.Lock()

    def allocated(self) -> Sequence[Extent]:
        """Extents of stored grains; reads every grain table once (2 KiB for each 32 MiB of the disk)."""
        extents: list[Extent] = []
        start = end = 0
        for stored in self.stored():
            at = stored.grain * self._grain
            if at != end or end == start:
                if end > start:
                    extents.append(Extent(start, end - start))
                start = at
            end = min(at + self._grain, self.capacity)
        if end > start:
            extents.append(Extent(start, end - start))
        return extents

    def stored(self) -> Iterator[Stored]:
        """Every stored grain, ascending; reads the grain tables as it goes."""
        for unit, table in self._used_tables():
            for grain, sector in enumerate(table, unit * TABLE_ENTRIES):
                if self._is_stored(sector):
                    yield Stored(grain, sector)

    def held(self, offset: int, length: int) -> Iterator[Extent]:
        """The parts of this range that the image itself decides, zeroed grains included; of a child image, all else is
        the parent's. Ascending, at grain boundaries but for the ends of the range."""
        end = offset + length
        for grain in range(offset // self._grain, -(-end // self._grain)):
            table = self._table(grain // TABLE_ENTRIES)
            if table and table[grain % TABLE_ENTRIES]:
                start = max(grain * self._grain, offset)
                yield Extent(start, min((grain + 1) * self._grain, end) - start)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @abstractmethod
    def read_into(self, offset: int, buffer: memoryview) -> None: ...

    @abstractmethod
    def _read_header(self) -> SparseHeader: ...

    def _is_stored(self, sector: int) -> bool:
        return sector != 0 and not (sector == _ZEROED and self.header.flags & FLAG_ZEROED_GRAINS)

    def _check_inside(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self.capacity:
            raise ImageError(
                f"{self.path}: bytes {offset} to {offset + length} are not inside the disk of {self.capacity} bytes."
            )

    def _lookup(self, offset: int, buffer: memoryview) -> Iterator[Stored]:
        """The stored grains that the buffer touches; the place of all others is filled with zeros."""
        if not len(buffer):
            return
        zeros = bytes(self._grain)
        for grain in range(offset // self._grain, (offset + len(buffer) - 1) // self._grain + 1):
            table = self._table(grain // TABLE_ENTRIES)
            sector = table[grain % TABLE_ENTRIES] if table else 0
            if self._is_stored(sector):
                yield Stored(grain, sector)
            else:
                first = max(grain * self._grain - offset, 0)
                last = min((grain + 1) * self._grain - offset, len(buffer))
                buffer[first:last] = zeros[: last - first]

    def _place_of(self, grain: int) -> Stored:
        table = self._table(grain // TABLE_ENTRIES)
        sector = table[grain % TABLE_ENTRIES] if table else 0
        if not self._is_stored(sector):
            raise ImageError(f"{self.path} does not hold the grain at byte {grain * self._grain} of the disk.")
        return Stored(grain, sector)

    def _where(self, stored: Stored) -> Where:
        return Where(self.path, stored.grain * self._grain, stored.sector)

    def _table(self, unit: int) -> "array[int] | None":
        place = self._directory[unit]
        if not place:
            return None
        with self._lock:
            if (table := self._tables.get(unit)) is not None:
                self._tables.move_to_end(unit)
                return table
        table = array("I", self._pread(place * SECTOR, TABLE_BYTES))
        with self._lock:
            self._tables[unit] = table
            if len(self._tables) > _CACHED_TABLES:
                self._tables.popitem(last=False)
        return table

    def _used_tables(self) -> "Iterator[tuple[int, array[int]]]":
        """The grain tables that say anything, by unit; those that lie one behind the other are read together."""
        for units in _runs(self._directory):
            data = self._pread(self._directory[units[0]] * SECTOR, TABLE_BYTES * len(units))
            for at, unit in zip(range(0, len(data), TABLE_BYTES), units, strict=True):
                table = data[at : at + TABLE_BYTES]
                if table != _EMPTY_TABLE:
                    yield unit, array("I", table)

    def _read_descriptor(self) -> Descriptor:
        size = self.header.descriptor_size * SECTOR
        if not size or size > text_descriptor.MAX_DESCRIPTOR:
            raise ImageError(f"{self.path} has no plausible embedded descriptor.")
        return text_descriptor.parse(self._pread(self.header.descriptor_offset * SECTOR, size))

    def _read_directory(self) -> "array[int]":
        return array("I", self._pread(self.header.directory_offset * SECTOR, 4 * self.header.tables))

    def _pread(self, offset: int, size: int) -> bytes:
        """Exactly these bytes of the file."""
        if offset < 0 or size < 0 or offset + size > self._size:
            raise ImageError(f"{self.path}: bytes {offset} to {offset + size} are needed, the file has {self._size}.")
        try:
            data = os.pread(self._fd, size, offset)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise image_error(error, self.path) from error
        if len(data) < size:
            raise ImageError(f"{self.path} became shorter while it was read.")
        return data


def _runs(directory: Iterable[int]) -> Iterator[range]:
    """Units whose tables lie one behind the other in the file, at most 512 a run."""
    first = last = -1
    expected = 0
    for unit, place in enumerate(directory):
        if first >= 0 and place == expected and unit == last + 1 and unit - first < _TABLES_AT_ONCE:
            last, expected = unit, place + TABLE_BYTES // SECTOR
            continue
        if first >= 0:
            yield range(first, last + 1)
        first, last, expected = (unit, unit, place + TABLE_BYTES // SECTOR) if place else (-1, -1, 0)
    if first >= 0:
        yield range(first, last + 1)

"""Reading a streamOptimized VMDK at random offsets, through its grain directory and grain tables."""

import os
import threading
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
from engine.image.grains import check_length, inflate
from engine.image.sparse_header import (
    FLAG_ZEROED_GRAINS,
    GD_AT_END,
    GRAIN_MARKER,
    SECTOR,
    TABLE_BYTES,
    TABLE_ENTRIES,
    Marker,
    SparseHeader,
    marker,
)

_CACHED_TABLES = 64
_FETCH = 4 << 20
_ZEROED = 1
"""A grain table entry that stands for a grain of zeros, in images whose header allows it."""


class _Stored(NamedTuple):
    """A grain of the disk and the sector of the file where its marker is."""

    grain: int
    sector: int


class StreamOptimizedImage:
    """A streamOptimized VMDK as a DiskSource (transport "file"), whoever wrote it.

    Raises `ImageError` for whatever does not fit together: every grain read is checked against its marker's place
    and its checksum. Memory: the grain directory (8 MiB for 62 TiB), 64 grain tables of 2 KiB, 5 MiB a reading thread.
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
        for unit, place in enumerate(self._directory):
            if not place:
                continue
            for entry, sector in enumerate(self._read_table(place), unit * TABLE_ENTRIES):
                if not self._is_stored(sector):
                    continue
                if entry * self._grain != end or end == start:
                    if end > start:
                        extents.append(Extent(start, end - start))
                    start = entry * self._grain
                end = min((entry + 1) * self._grain, self.capacity)
        if end > start:
            extents.append(Extent(start, end - start))
        return extents

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self.capacity:
            raise ImageError(f"{self.path}: bytes {offset} to {end} are not inside the disk of {self.capacity} bytes.")
        for stored, compressed in self._compressed_of(self._lookup(offset, buffer)):
            start = stored.grain * self._grain
            needed = min(self._grain, self.capacity - start)
            content = inflate(compressed, self._grain, needed, self._where(stored))
            first, last = max(start, offset), min(start + needed, offset + len(buffer))
            buffer[first - offset : last - offset] = memoryview(content)[first - start : last - start]

    def packed(self, grains: Iterable[int]) -> Iterator[tuple[int, memoryview]]:
        """These grains (numbers, ascending) as they are stored: (number, deflated bytes). Raises `ImageError` for one
        that is not stored."""
        for stored, compressed in self._compressed_of(map(self._stored, grains)):
            yield stored.grain, compressed

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

    def _is_stored(self, sector: int) -> bool:
        return sector != 0 and not (sector == _ZEROED and self.header.flags & FLAG_ZEROED_GRAINS)

    def _lookup(self, offset: int, buffer: memoryview) -> Iterator[_Stored]:
        """The stored grains that the buffer touches; the place of all others is filled with zeros."""
        if not len(buffer):
            return
        zeros = bytes(self._grain)
        for grain in range(offset // self._grain, (offset + len(buffer) - 1) // self._grain + 1):
            table = self._table(grain // TABLE_ENTRIES)
            sector = table[grain % TABLE_ENTRIES] if table else 0
            if self._is_stored(sector):
                yield _Stored(grain, sector)
            else:
                first = max(grain * self._grain - offset, 0)
                last = min((grain + 1) * self._grain - offset, len(buffer))
                buffer[first:last] = zeros[: last - first]

    def _stored(self, grain: int) -> _Stored:
        table = self._table(grain // TABLE_ENTRIES)
        sector = table[grain % TABLE_ENTRIES] if table else 0
        if not self._is_stored(sector):
            raise ImageError(f"{self.path} does not hold the grain at byte {grain * self._grain} of the disk.")
        return _Stored(grain, sector)

    def _compressed_of(self, wanted: Iterable[_Stored]) -> Iterator[tuple[_Stored, memoryview]]:
        """Grains that lie near each other in the file are read by one read."""
        batch: list[_Stored] = []
        for stored in wanted:
            near = batch and batch[-1].sector < stored.sector < batch[0].sector + _FETCH // SECTOR
            if batch and not near:
                yield from self._fetch(batch)
                batch = []
            batch.append(stored)
        if batch:
            yield from self._fetch(batch)

    def _fetch(self, batch: list[_Stored]) -> Iterator[tuple[_Stored, memoryview]]:
        base = batch[0].sector * SECTOR
        end = batch[-1].sector * SECTOR + self._grain + SECTOR
        data = memoryview(self._pread(base, min(end, self._size) - base))
        for stored in batch:
            yield stored, self._compressed(stored, data, stored.sector * SECTOR - base)

    def _compressed(self, stored: _Stored, data: memoryview, at: int) -> memoryview:
        if at + GRAIN_MARKER.size > len(data):
            raise ImageError(f"{self._where(stored)}: its grain table points outside the file.")
        sector, length = GRAIN_MARKER.unpack_from(data, at)
        if sector != stored.grain * self.header.grain_size:
            raise ImageError(f"{self._where(stored)}: the marker there belongs to another grain.")
        check_length(length, self._grain, self._where(stored))
        body = at + GRAIN_MARKER.size
        if body + length <= len(data):
            return data[body : body + length]
        return memoryview(self._pread(stored.sector * SECTOR + GRAIN_MARKER.size, length))

    def _where(self, stored: _Stored) -> str:
        return f"{self.path}: grain at byte {stored.grain * self._grain} of the disk (sector {stored.sector})"

    def _table(self, unit: int) -> "array[int] | None":
        place = self._directory[unit]
        if not place:
            return None
        with self._lock:
            if (table := self._tables.get(unit)) is not None:
                self._tables.move_to_end(unit)
                return table
        table = self._read_table(place)
        with self._lock:
            self._tables[unit] = table
            if len(self._tables) > _CACHED_TABLES:
                self._tables.popitem(last=False)
        return table

    def _read_table(self, place: int) -> "array[int]":
        return array("I", self._pread(place * SECTOR, TABLE_BYTES))

    def _read_header(self) -> SparseHeader:
        header = SparseHeader.unpack(self._pread(0, SECTOR))
        if not header.is_stream:
            raise ImageError(f"{self.path} is a sparse VMDK, but not streamOptimized.")
        if header.directory_offset != GD_AT_END:
            return header
        tail = self._pread(max(self._size - 3 * SECTOR, 0), 3 * SECTOR)
        if tail[:16] != marker(Marker.FOOTER, 1)[:16] or tail[2 * SECTOR :][:16] != marker(Marker.END, 0)[:16]:
            raise ImageError(f"{self.path} has no footer: it was cut short or is still being written.")
        footer = SparseHeader.unpack(tail[SECTOR : 2 * SECTOR])
        if footer.geometry != header.geometry or footer.directory_offset == GD_AT_END:
            raise ImageError(f"{self.path}: header and footer disagree.")
        return footer

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

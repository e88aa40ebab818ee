"""Reading a streamOptimized VMDK at random offsets, through its grain directory and grain tables."""

from collections.abc import Iterable, Iterator

from engine.errors import ImageError
from engine.image.grains import check_length, inflate
from engine.image.sparse_extent import SparseExtent, Stored
from engine.image.sparse_header import GD_AT_END, GRAIN_MARKER, SECTOR, Marker, SparseHeader, marker

_FETCH = 4 << 20


class StreamOptimizedImage(SparseExtent):
    """A streamOptimized VMDK as a DiskSource (transport "file"), whoever wrote it.

    Raises `ImageError` for whatever does not fit together: every grain read is checked against its marker's place
    and its checksum. Memory: that of `SparseExtent`, and 5 MiB a reading thread.
    """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._check_inside(offset, len(buffer))
        for stored, compressed in self._compressed_of(self._lookup(offset, buffer)):
            start = stored.grain * self._grain
            needed = min(self._grain, self.capacity - start)
            content = memoryview(inflate(compressed, self._grain, needed, self._where(stored)))
            first, last = max(start, offset), min(start + needed, offset + len(buffer))
            buffer[first - offset : last - offset] = content[first - start : last - start]

    def packed(self, grains: Iterable[int]) -> Iterator[tuple[int, memoryview]]:
        """These grains (numbers, ascending) as they are stored: (number, deflated bytes). Raises `ImageError` for one
        that is not stored."""
        for stored, compressed in self._compressed_of(map(self._place_of, grains)):
            yield stored.grain, compressed

    def _compressed_of(self, wanted: Iterable[Stored]) -> Iterator[tuple[Stored, memoryview]]:
        """Grains that lie near each other in the file are read by one read."""
        batch: list[Stored] = []
        for stored in wanted:
            near = batch and batch[-1].sector < stored.sector < batch[0].sector + _FETCH // SECTOR
            if batch and not near:
                yield from self._fetch(batch)
                batch = []
            batch.append(stored)
        if batch:
            yield from self._fetch(batch)

    def _fetch(self, batch: list[Stored]) -> Iterator[tuple[Stored, memoryview]]:
        base = batch[0].sector * SECTOR
        end = batch[-1].sector * SECTOR + self._grain + SECTOR
        data = memoryview(self._pread(base, min(end, self._size) - base))
        for stored in batch:
            yield stored, self._compressed(stored, data, stored.sector * SECTOR - base)

    def _compressed(self, stored: Stored, data: memoryview, at: int) -> memoryview:
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

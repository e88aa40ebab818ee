"""Reading a monolithicSparse VMDK: grains as they are, found through the grain directory and the grain tables."""

import os
from collections.abc import Iterator

from engine.errors import ImageError
from engine.image.flat import image_error
from engine.image.sparse_extent import SparseExtent
from engine.image.sparse_header import FLAG_COMPRESSED, GD_AT_END, SECTOR, SparseHeader


class SparseImage(SparseExtent):
    """A monolithicSparse VMDK as a DiskSource (transport "file"), whoever wrote it. Memory: that of `SparseExtent`."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._check_inside(offset, len(buffer))
        for place, start, length in self._runs(offset, buffer):
            self._fill(place, buffer[start : start + length])

    def _runs(self, offset: int, buffer: memoryview) -> Iterator[tuple[int, int, int]]:
        """(byte of the file, byte of the buffer, length) of what is stored; neighbours in both are one run."""
        place = start = length = 0
        for stored in self._lookup(offset, buffer):
            first = max(stored.grain * self._grain, offset)
            last = min((stored.grain + 1) * self._grain, offset + len(buffer))
            here = stored.sector * SECTOR + first - stored.grain * self._grain
            if length and here == place + length and first - offset == start + length:
                length += last - first
                continue
            if length:
                yield place, start, length
            place, start, length = here, first - offset, last - first
        if length:
            yield place, start, length

    def _fill(self, place: int, part: memoryview) -> None:
        done = 0
        while done < len(part):
            try:
                step = os.preadv(self._fd, [part[done:]], place + done)
            except OSError as error:
                raise image_error(error, self.path) from error
            if not step:
                raise ImageError(f"{self.path} ends at byte {place + done}, inside a grain that its tables name.")
            done += step

    def _read_header(self) -> SparseHeader:
        header = SparseHeader.unpack(self._pread(0, SECTOR))
        if header.flags & FLAG_COMPRESSED or header.directory_offset == GD_AT_END:
            raise ImageError(f"{self.path} is a sparse VMDK, but not monolithicSparse.")
        return header

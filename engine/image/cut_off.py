"""The grains of an image whose writing was cut off: what is whole in it can be taken from it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from engine.errors import ImageError
from engine.image.flat import flat_file, image_error
from engine.image.grains import inflate
from engine.image.sparse_header import (
    GRAIN,
    GRAIN_MARKER,
    GRAIN_SECTORS,
    MAGIC,
    SECTOR,
    TABLE_BYTES,
    TABLE_ENTRIES,
    Marker,
    SparseHeader,
    sectors_of,
)
from engine.image.sparse_reader import SparseImage
from engine.image.units import GRAIN_OVERHEAD


class CutOff(Protocol):
    """`grain` may be called by several threads at once."""

    def grain(self, number: int) -> bytes | None:
        """The 64 KiB of a grain (the end of an odd disk filled up with zeros), or None where it is not there whole."""
        ...

    def close(self) -> None: ...


def open_cut_off(path: Path) -> CutOff | None:
    """What `path` (an image as `pipeline.export` names it) holds, complete or not; None when there is nothing."""
    flat = flat_file(path)
    if flat.is_file():
        return _Flat(flat)
    if not path.is_file():
        return None
    for kind in (_Stream, _Sparse):
        with suppress(ImageError):
            return kind(path)
    return None  # not even its header was written


class _Flat:
    """A hole reads as zeros: whoever knows the grain's hash tells whether that is what belongs there."""

    def __init__(self, path: Path) -> None:
        self._fd = _opened(path)

    def grain(self, number: int) -> bytes | None:
        return os.pread(self._fd, GRAIN, number * GRAIN).ljust(GRAIN, b"\0")

    def close(self) -> None:
        os.close(self._fd)


class _Sparse:
    """Of a monolithicSparse image, whose tables come first, what its grains' places hold; a hole reads as zeros."""

    def __init__(self, path: Path) -> None:
        self._image = SparseImage(path)

    def grain(self, number: int) -> bytes | None:
        content = bytearray(GRAIN)
        start = number * GRAIN
        try:
            self._image.read_into(start, memoryview(content)[: min(GRAIN, self._image.capacity - start)])
        except ImageError:  # its table or its place is not there yet
            return None
        return bytes(content)

    def close(self) -> None:
        self._image.close()


class _Stream:
    """Of a streamOptimized image the units whose grain table was still written. Memory: 8 bytes for each such unit and
    a little; opening it reads one sector a grain."""

    def __init__(self, path: Path) -> None:
        self._path, self._fd = path, _opened(path)
        self._size = os.fstat(self._fd).st_size
        try:
            head = os.pread(self._fd, SECTOR, 0)
            if len(head) < SECTOR or not head.startswith(MAGIC):
                raise ImageError(f"{path} has no header.")
            header = SparseHeader.unpack(head)
            if not header.is_stream:
                raise ImageError(f"{path} is no stream.")
            self._tables = self._scan(header.overhead * SECTOR)
        except BaseException:
            self.close()
            raise

    def grain(self, number: int) -> bytes | None:
        table = self._tables.get(number // TABLE_ENTRIES)
        if table is None:
            return None
        sector = int.from_bytes(os.pread(self._fd, 4, table + 4 * (number % TABLE_ENTRIES)), "little")
        if not sector:
            return None
        data = os.pread(self._fd, GRAIN_MARKER.size + GRAIN + GRAIN_OVERHEAD, sector * SECTOR)
        if len(data) < GRAIN_MARKER.size:
            return None
        place, size = GRAIN_MARKER.unpack_from(data)
        if place != number * GRAIN_SECTORS or GRAIN_MARKER.size + size > len(data):
            return None
        body = data[GRAIN_MARKER.size : GRAIN_MARKER.size + size]
        try:
            return bytes(inflate(body, GRAIN, 0, f"{self._path}, grain {number}")).ljust(GRAIN, b"\0")
        except ImageError:
            return None

    def close(self) -> None:
        os.close(self._fd)

    def _scan(self, position: int) -> dict[int, int]:
        """Where (bytes) the grain table of each complete unit lies."""
        tables: dict[int, int] = {}
        last = 0
        while len(sector := os.pread(self._fd, SECTOR, position)) == SECTOR:
            place, size = GRAIN_MARKER.unpack_from(sector)
            if size:
                last = place // GRAIN_SECTORS
                position += sectors_of(GRAIN_MARKER.size + size) * SECTOR
                continue
            kind, sectors = int.from_bytes(sector[GRAIN_MARKER.size : GRAIN_MARKER.size + 4], "little"), place
            if kind != Marker.GRAIN_TABLE or position + SECTOR + TABLE_BYTES > self._size:
                break
            tables[last // TABLE_ENTRIES] = position + SECTOR
            position += (1 + sectors) * SECTOR
        return tables


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise image_error(error, path) from error

"""`flat`: a raw image with holes where the disk is empty (`NAME-flat.vmdk`) and a small descriptor (`NAME.vmdk`)."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.block_hash import BLOCK, DIGEST, BlockHash
from engine.errors import ImageError
from engine.extents import Extent
from engine.image.descriptor import Descriptor, ExtentLine, disk_database
from engine.image.direct_output import Reserve, discard, write_small
from engine.image.placed_encoder import PlacedEncoder
from engine.image.placed_output import PlacedOutput
from engine.image.sparse_header import GRAIN, SECTOR, UNIT
from engine.image.units import PackedUnit
from engine.image.written import WrittenFile

_HOLE = 1 << 40
"""Hashed in one go: half a second."""


def flat_file(target: Path) -> Path:
    """The file with the data that belongs to the descriptor `target`."""
    return target.with_name(f"{target.stem}-flat{target.suffix or '.vmdk'}")


def flat_descriptor(target: Path, capacity: int) -> Descriptor:
    """A new descriptor for the flat image `target` of `capacity` bytes."""
    extent = ExtentLine("RW", capacity // SECTOR, "FLAT", flat_file(target).name, 0)
    return Descriptor("monolithicFlat", (extent,), ddb=disk_database(capacity))


class FlatWriter:
    """Writes grains at their places; all else stays a hole. The file is hashed by blocks."""

    def __init__(
        self,
        target: Path,
        capacity: int,
        *,
        reserve: Reserve | None = None,
        pulse: Callable[[], None] | None = None,
    ) -> None:
        self._target = target
        self._capacity = capacity
        self._pulse = pulse or (lambda: None)
        self._hash = BlockHash()
        self._hashed = 0
        descriptor = flat_descriptor(target, capacity)
        self.cid = descriptor.cid
        self._descriptor = descriptor.encoded()
        self.output = PlacedOutput(flat_file(target), capacity, reserve=reserve)

    def new_encoder(self, *, keep_zeros: bool = False, hashed: bool = False) -> PlacedEncoder:
        return PlacedEncoder(self.output, _same, self._capacity, keep_zeros=keep_zeros, hashed=hashed)

    def append(self, unit: PackedUnit) -> None:
        """What an encoder has written, in ascending order."""
        start = unit.index * UNIT
        end = min(start + UNIT, self._capacity)
        self._hole_until(start)
        self._hash.digests(unit.data[: DIGEST * -(-(end - start) // GRAIN)])
        self._hashed = end

    def finish(self) -> tuple[WrittenFile, ...]:
        self._hole_until(self._capacity)
        self.output.close()
        data = WrittenFile(self.output.path.name, self._capacity, self._hash.hexdigest(), BLOCK)
        return write_small(self._target, self._descriptor), data

    def abort(self) -> None:
        """Removes what was written. Safe more than once."""
        self.output.abort()
        discard(self._target)

    def _hole_until(self, end: int) -> None:
        while self._hashed < end:
            step = min(end - self._hashed, _HOLE)
            self._hash.zeros(step)
            self._hashed += step
            self._pulse()


def _same(place: int) -> int:
    return place


class RawDisk:
    """A raw file of disk bytes (a `-flat.vmdk`, an image of `dd`) as a DiskSource.

    `capacity` (bytes) defaults to the size of the file; another value must be what the file has, or `ImageError`.
    """

    transport = "file"

    def __init__(self, path: Path, capacity: int | None = None) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise image_error(error, path) from error
        self.capacity = os.fstat(self._fd).st_size
        if capacity is not None and capacity != self.capacity:
            os.close(self._fd)
            raise ImageError(f"{path} has {self.capacity} bytes; its descriptor says {capacity}.")

    def allocated(self) -> Sequence[Extent]:
        """The file's data, as its file system tells it (all of it, where it cannot tell)."""
        extents: list[Extent] = []
        end = 0
        while end < self.capacity:
            try:
                start = os.lseek(self._fd, end, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole from here on
                    break
                raise image_error(error, self.path) from error
            extents.append(Extent(start, end - start))
        return extents

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                step = os.preadv(self._fd, [buffer[done:]], offset + done)
            except OSError as error:
                raise image_error(error, self.path) from error
            if not step:
                raise ImageError(f"{self.path} ends at byte {offset + done}, inside the disk.")
            done += step

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def image_error(error: OSError, path: Path) -> ImageError:
    """The engine's error for an image file that cannot be opened or read."""
    fault = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return ImageError(f"{path} cannot be read: {os.strerror(error.errno or 0)}.", fault=fault)

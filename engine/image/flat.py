"""`flat`: a raw image with holes where the disk is empty (`NAME-flat.vmdk`) and a small descriptor (`NAME.vmdk`)."""

import errno
import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from engine.errors import ImageError
from engine.extents import Extent
from engine.image.descriptor import Descriptor, ExtentLine, disk_database
from engine.image.direct_output import DirectOutput, Reserve, discard, write_small
from engine.image.sparse_header import GRAIN, SECTOR, UNIT
from engine.image.units import PackedUnit, UnitEncoder
from engine.image.written import WrittenFile


def flat_file(target: Path) -> Path:
    """The file with the data that belongs to the descriptor `target`."""
    return target.with_name(f"{target.stem}-flat{target.suffix or '.vmdk'}")


def flat_descriptor(target: Path, capacity: int) -> Descriptor:
    """A new descriptor for the flat image `target` of `capacity` bytes."""
    extent = ExtentLine("RW", capacity // SECTOR, "FLAT", flat_file(target).name, 0)
    return Descriptor("monolithicFlat", (extent,), ddb=disk_database(capacity))


class FlatEncoder(UnitEncoder):
    """Packs the grains that are not zero one behind the other; `PackedUnit.grains` holds their number, from 1."""

    def _store(self, grain: int, data: memoryview) -> int:
        self.buffer[self.fill : self.fill + GRAIN] = data
        self.fill += GRAIN
        return self.fill // GRAIN


class FlatWriter:
    """Writes packed units, in ascending order, at their places; all else stays a hole.

    The SHA-256 covers the file as any tool reads it, holes as zeros: 0.6 CPU seconds for each GiB of hole.
    """

    new_encoder = FlatEncoder

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
        descriptor = flat_descriptor(target, capacity)
        self.cid = descriptor.cid
        self._descriptor = descriptor.encoded()
        self.output = DirectOutput(flat_file(target), reserve=reserve, pulse=pulse)

    def append(self, unit: PackedUnit) -> None:
        stored = (grain for grain, entry in enumerate(unit.grains) if entry)
        at = 0
        # Neighbours have the same distance to their rank among the stored grains.
        for _, run in groupby(enumerate(stored), key=lambda pair: pair[1] - pair[0]):
            grains = [grain for _, grain in run]
            start = unit.index * UNIT + grains[0] * GRAIN
            length = min(len(grains) * GRAIN, self._capacity - start)
            self.output.skip(start - self.output.position)
            self.output.write(unit.data[at : at + length])
            at += len(grains) * GRAIN

    def finish(self) -> tuple[WrittenFile, ...]:
        self.output.skip(self._capacity - self.output.position)
        data = self.output.close()
        return write_small(self._target, self._descriptor), data

    def abort(self) -> None:
        """Removes what was written. Safe more than once."""
        self.output.abort()
        discard(self._target)


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

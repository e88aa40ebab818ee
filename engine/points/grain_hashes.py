"""The hashes of a point's grains, taken as the data arrived from the source: `scsi0-0.grains` beside the image.

With them a point is proven by what was read, not by what was written, and a later run can tell whether a block that
the source calls unchanged really is. All numbers are little-endian.

| bytes     | what                                                                                      |
|-----------|-------------------------------------------------------------------------------------------|
| 0-7       | `VCBGRAIN`                                                                                |
| 8-11      | version of this layout: 1                                                                 |
| 12-15     | algorithm: 1 is xxh3 with 64 bits, seed 0                                                 |
| 16-23     | bytes of a grain: 65536                                                                   |
| 24-31     | capacity of the disk in bytes                                                             |
| 32-39     | number of grains of the disk: the capacity in grains, rounded up                          |
| 40-63     | zeros                                                                                     |
| 64 and on | records of 4104 bytes, ascending: number of the unit (8 bytes), then 512 entries of 8 bytes |

A unit is 32 MiB of the disk: 512 grains. An entry is 0 for a grain that this run did not read, 1 for a grain of
zeros, else the hash of its 64 KiB (the end of an odd disk is filled up with zeros; a hash of 0 or 1 counts 2 more).
A disk costs 1/8192 of what was read of it. What a full point's list leaves out was not allocated, and is zeros; what
an incremental's list leaves out is as in the parent's.
"""

import errno
import hashlib
import os
import struct
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from engine.errors import ImageError, TargetError, TargetFull
from engine.points.manifest import FileEntry

GRAIN = 1 << 16
UNIT_GRAINS = 512
UNLISTED = 0
ZEROS = 1
_MAGIC = b"VCBGRAIN"
_VERSION = 1
_XXH3_64 = 1
_HEADER = struct.Struct("<8sIIQQQ24x")
_UNIT = struct.Struct("<Q")
_RECORD = _UNIT.size + 8 * UNIT_GRAINS
_CACHED = 256


class GrainHashWriter:
    """Writes a list while the disk arrives; `finish` makes it durable, `abort` removes it. Raises TargetError.

    Memory: one record.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._last = -1
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _target_error(error, path) from error
        self._write(_HEADER.pack(_MAGIC, _VERSION, _XXH3_64, GRAIN, capacity, -(-capacity // GRAIN)))

    def add(self, unit: int, hashes: "array[int]") -> None:
        """The 512 entries of one unit. Units come in ascending order."""
        if unit <= self._last or len(hashes) != UNIT_GRAINS:
            raise ValueError(f"unit {unit} with {len(hashes)} hashes after unit {self._last}")
        self._last = unit
        self._write(_UNIT.pack(unit) + hashes.tobytes())

    def finish(self) -> FileEntry:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise _target_error(error, self.path) from error
        self.close()
        return FileEntry(name=self.path.name, size=self._size, sha256=self._hash.hexdigest())

    def abort(self) -> None:
        """Safe more than once, and after `finish`."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _target_error(error, self.path) from error
        self._hash.update(data)
        self._size += len(data)


class GrainHashes:
    """One list, read at random. Raises ImageError for whatever is no list of a disk of `capacity` bytes.

    Memory: 256 records (1 MiB), and 8 bytes for each 32 MiB of the disk that was read.
    """

    def __init__(self, path: Path, capacity: int, *, cut_off: bool = False) -> None:
        """`cut_off`: the list may end in the middle of a record, which then does not count."""
        self.path = path
        self._cut_off = cut_off
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{path} can't be read: {error.strerror}.", fault=type(error).__name__) from None
        try:
            self._units = self._read_units(capacity)
        except BaseException:
            self.close()
            raise
        self._cache: OrderedDict[int, array[int]] = OrderedDict()

    def of(self, grain: int) -> int:
        """The entry of a grain: UNLISTED, ZEROS or its hash."""
        return self.unit(grain // UNIT_GRAINS)[grain % UNIT_GRAINS]

    def unit(self, number: int) -> "array[int]":
        """The 512 entries of a unit; all UNLISTED where nothing of it was read. Not to be changed."""
        if (known := self._cache.get(number)) is not None:
            return known
        place = bisect_left(self._units, number)
        if place < len(self._units) and self._units[place] == number:
            entries = array("Q", self._pread(_HEADER.size + place * _RECORD + _UNIT.size, 8 * UNIT_GRAINS))
        else:
            entries = array("Q", bytes(8 * UNIT_GRAINS))
        self._cache[number] = entries
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return entries

    def units(self, first: int = 0, end: int | None = None) -> Iterator[int]:
        """Numbers of the units that have a record, ascending: those from `first` on, before `end`."""
        at = bisect_left(self._units, first)
        while at < len(self._units) and (end is None or self._units[at] < end):
            yield self._units[at]
            at += 1

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_units(self, capacity: int) -> "array[int]":
        size = os.fstat(self._fd).st_size
        expected = (_MAGIC, _VERSION, _XXH3_64, GRAIN, capacity, -(-capacity // GRAIN))
        if size < _HEADER.size or _HEADER.unpack(self._pread(0, _HEADER.size)) != expected:
            raise ImageError(f"{self.path} is no list of grain hashes of a disk of {capacity:,} bytes.")
        records, rest = divmod(size - _HEADER.size, _RECORD)
        units = array("Q", b"".join(self._pread(_HEADER.size + at * _RECORD, 8) for at in range(records)))
        last = -(-capacity // (GRAIN * UNIT_GRAINS))
        if (rest and not self._cut_off) or any(a >= b for a, b in pairwise(units)) or (units and units[-1] >= last):
            raise ImageError(f"{self.path} is damaged: its records do not follow each other.")
        return units

    def _pread(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        if len(data) < size:
            raise ImageError(f"{self.path} ends early.")
        return data


class ChainHashes:
    """What the grains of a point hold, from the lists of its chain, newest first, the full one last."""

    def __init__(self, lists: Sequence[GrainHashes]) -> None:
        self._lists = tuple(lists)

    @classmethod
    def open(cls, paths: Sequence[Path], capacity: int) -> "ChainHashes":
        """The lists in these files. Raises ImageError."""
        lists: list[GrainHashes] = []
        try:
            for path in paths:
                lists.append(GrainHashes(path, capacity))  # noqa: PERF401 - those that are open must be closed
        except BaseException:
            for each in lists:
                each.close()
            raise
        return cls(lists)

    def of(self, grain: int) -> int:
        """ZEROS or the hash of the grain as the point holds it."""
        for each in self._lists:
            if entry := each.of(grain):
                return entry
        return ZEROS

    def close(self) -> None:
        for each in self._lists:
            each.close()


def _target_error(error: OSError, path: Path) -> TargetError:
    kind = TargetFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else TargetError
    return kind(f"{path} can't be written: {error.strerror}.", fault=type(error).__name__)

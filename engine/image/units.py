"""The unit of work: what one grain table covers (32 MiB), read, searched for zeros and encoded by one thread.

Python's own share of the work stays small because everything inside a unit happens in calls that work on 64 KiB or
more and release the interpreter lock.
"""

import ctypes
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import xxhash

from engine.extents import Extent
from engine.image.sparse_header import GRAIN, TABLE_BYTES, TABLE_ENTRIES, UNIT
from engine.page_memory import address_of, private_memory

READ = 4 << 20
"""Largest single read: big enough for any transport, and for a device that it is written to as it came."""
ZERO_GRAIN = bytes(GRAIN)
_ZERO_ADDRESS = ctypes.cast(ctypes.c_char_p(ZERO_GRAIN), ctypes.c_void_p).value
GRAIN_OVERHEAD = 1024
"""Room for what an encoder adds to a grain that does not compress: marker, deflate's framing (28 bytes), padding."""
_memcmp = ctypes.PyDLL(None).memcmp
"""The fastest zero test: in place, and without giving up the interpreter for a microsecond's work."""
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True, slots=True)
class Unit:
    """Unit `index` covers bytes index * 32 MiB and up; `extents` are the parts to read, on grain boundaries."""

    index: int
    extents: tuple[Extent, ...]


@dataclass(slots=True)
class PackedUnit:
    """An encoded unit. `grains` has 512 entries, 0 for grains that are not stored; what else they and `data` hold is
    between the encoder and the writer of one format. `zero` counts bytes that were read and lie in grains of zeros.
    `hashes` has 512 entries as `grain_hash` gives them, 0 for grains that were not read; empty when none were wanted.
    `level` names the compression at its end (`effort.LEVELS`), "" where nothing is compressed.
    """

    index: int
    grains: "array[int]"
    data: memoryview
    zero: int
    hashes: "array[int]"
    level: str = ""


ZERO_HASH = 1
"""What stands for a grain of zeros in a list of hashes; 0 stands for a grain that is not in the list."""


def grain_hash(content: bytes | memoryview) -> int:
    """xxh3 (64 bits) of a whole grain that is not all zeros; never 0 or 1, which mean something else."""
    value = xxhash.xxh3_64_intdigest(content)
    return value if value > ZERO_HASH else value + 2


class AlignedBytes:
    """Writable memory of `private_memory`, as `view`, of which a grain is tested for zeros in place."""

    def __init__(self, size: int) -> None:
        self.view = private_memory(size)
        self._address = address_of(self.view)

    def is_zero_grain(self, at: int) -> bool:
        """Whether the 64 KiB from `at` on are all zeros."""
        return _memcmp(self._address + at, _ZERO_ADDRESS, GRAIN) == 0

    def pad_grain(self, end: int) -> int:
        """Zeroes the rest of the grain that `end` lies in; the end of that grain."""
        padded = -(-end // GRAIN) * GRAIN
        self.view[end:padded] = ZERO_GRAIN[: padded - end]
        return padded


class UnitEncoder(ABC):
    """One thread's encoder. For each unit: `begin`, then `room`, `take` and `put` for each piece, then `end`.

    A format says in `_store` how a grain goes into `self.buffer` from `self.fill` on. `keep_zeros`: grains of zeros are
    stored like any other, as a child image needs them (they hide what the parent holds). `hashed`: each grain is
    hashed as it arrived.
    """

    def __init__(self, *, keep_zeros: bool = False, hashed: bool = False) -> None:
        self._keep_zeros, self._hashed = keep_zeros, hashed
        self._scratch = AlignedBytes(READ)
        self.buffer = memoryview(b"")
        self.fill = 0
        self._unit = 0
        self._zero = 0
        self._grains = array("I")
        self._hashes = array("Q")

    def begin(self, unit: int, buffer: memoryview) -> None:
        """`buffer` is new_buffer()'s, or one that another unit is done with."""
        self.buffer, self.fill = buffer, 0
        self._unit, self._zero = unit, 0
        self._grains = array("I", bytes(TABLE_BYTES))
        if self._hashed:
            self._hashes = array("Q", bytes(8 * TABLE_ENTRIES))

    def room(self, length: int) -> memoryview:
        """Page-aligned memory to read the next piece into; `length` <= READ."""
        return self._scratch.view[:length]

    def take(self, start: int, length: int) -> None:
        """Encodes what now lies in `room`: `length` bytes of the disk from `start`, a grain boundary, on.

        The end need not be a boundary (the end of an odd disk): the rest of that grain becomes zeros.
        """
        scratch = self._scratch
        grain = start // GRAIN
        first = self._unit * TABLE_ENTRIES
        for at in range(0, scratch.pad_grain(length), GRAIN):
            data = scratch.view[at : at + GRAIN]
            zero = scratch.is_zero_grain(at)
            if self._hashed:
                self._hashes[grain - first] = ZERO_HASH if zero else grain_hash(data)
            if zero:
                self._zero += min(GRAIN, length - at)
            if not zero or self._keep_zeros:
                self._grains[grain - first] = self._store(grain, data)
            grain += 1

    def put(self) -> None:  # noqa: B027 - most formats leave the writing to the one who takes the units in turn
        """After each `take`, while other threads may encode: an encoder that writes for itself does it now."""

    def end(self) -> PackedUnit:
        return PackedUnit(self._unit, self._grains, self.buffer[: self.fill], self._zero, self._hashes)

    @abstractmethod
    def _store(self, grain: int, data: memoryview) -> int:
        """Puts one grain into the buffer; what its entry in `PackedUnit.grains` shall be (not 0)."""


def new_buffer() -> memoryview:
    """Memory for one packed unit of any format; pages are taken only as far as it is filled."""
    return private_memory(UNIT + TABLE_ENTRIES * GRAIN_OVERHEAD)


def units_of(extents: Iterable[Extent]) -> Iterator[Unit]:
    """The extents (ascending, disjoint) cut at unit boundaries; units without an extent are left out. Lazy: a disk
    of 62 TiB has two million units.
    """
    index = -1
    parts: list[Extent] = []
    for extent in extents:
        start = extent.start
        while start < extent.end:
            here = start // UNIT
            end = min(extent.end, (here + 1) * UNIT)
            if here != index and parts:
                yield Unit(index, tuple(parts))
                parts = []
            index = here
            parts.append(Extent(start, end - start))
            start = end
    if parts:
        yield Unit(index, tuple(parts))


def pieces(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The extents cut into single reads."""
    for extent in extents:
        for start in range(extent.start, extent.end, READ):
            yield Extent(start, min(READ, extent.end - start))

"""Writing `sparse`: a monolithicSparse VMDK, the hosted sparse extent that programs open for reading and writing.

Layout: header, descriptor, redundant grain directory with its grain tables, grain directory with its, grains. Every
grain table exists, as programs that write to it expect. Source: VMware "Virtual Disk Format 5.0".

The tables lie before the grains, but what is stored is known only when it was read; and the file shall be written, and
hashed, front to back. So every grain that will be read has its place from the beginning, and one that turns out to be
all zeros leaves a hole there: it takes no room, and reads as the zeros it is.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from engine.errors import ImageError
from engine.extents import Extent
from engine.image.descriptor import Descriptor, ExtentLine, disk_database
from engine.image.direct_output import ALIGNMENT, DirectOutput, Reserve
from engine.image.flat import FlatEncoder
from engine.image.sparse_header import (
    DESCRIPTOR_SECTORS,
    FLAG_NEWLINES,
    FLAG_REDUNDANT_TABLES,
    GRAIN,
    GRAIN_SECTORS,
    MAX_SECTOR,
    SECTOR,
    TABLE_BYTES,
    TABLE_SECTORS,
    UNIT,
    SparseHeader,
)
from engine.image.units import PackedUnit, Unit, units_of
from engine.image.written import WrittenFile

_TABLES_AT_ONCE = 32
"""Of these the tables become a hole together, or none: 64 KiB."""
_BLOCK = _TABLES_AT_ONCE * TABLE_BYTES


class SparseWriter:
    """Writes packed units, ascending, into a new monolithicSparse file. `wanted`: all that will be read, in extents on
    grain boundaries (the end of an odd disk aside).

    The SHA-256 covers the file as any tool reads it, holes as zeros. Memory: the grain directory (8 MiB for 62 TiB),
    64 KiB of tables, and `DirectOutput`'s.
    """

    new_encoder = FlatEncoder

    def __init__(
        self,
        target: Path,
        capacity: int,
        wanted: Sequence[Extent],
        *,
        reserve: Reserve | None = None,
        pulse: Callable[[], None] | None = None,
    ) -> None:
        layout = _Layout(capacity)
        sectors = capacity // SECTOR
        descriptor = Descriptor(
            "monolithicSparse", (ExtentLine("RW", sectors, "SPARSE", target.name),), ddb=disk_database(capacity)
        )
        self.cid = descriptor.cid
        encoded = descriptor.encoded()
        if len(encoded) > DESCRIPTOR_SECTORS * SECTOR:
            raise ImageError(f"The file name {target.name!r} is too long for a VMDK descriptor.")
        self._begin = layout.header.overhead * SECTOR
        self._end = self._begin + GRAIN * sum(-(-length // GRAIN) for _, length in wanted)
        if self._end // SECTOR > MAX_SECTOR:
            raise ImageError(
                f"{self._end - self._begin:,} bytes of data are more than a sparse image can hold (2 TiB).",
                hint="Use EXPORT_FORMAT flat for this disk.",
            )
        self._units = units_of(wanted)
        self._place = self._begin
        self.output = DirectOutput(target, reserve=reserve, pulse=pulse)
        try:
            layout.write(self.output, encoded, wanted)
        except BaseException:
            self.output.abort()
            raise

    def append(self, unit: PackedUnit) -> None:
        """Every unit that holds a part of what was wanted, in turn."""
        grains = list(_grains(next(self._units)))
        stored = (rank for rank, grain in enumerate(grains) if unit.grains[grain])
        at = 0
        # Neighbours have the same distance to their rank among the stored grains.
        for _, run in groupby(enumerate(stored), key=lambda pair: pair[1] - pair[0]):
            ranks = [rank for _, rank in run]
            self.output.skip(self._place + ranks[0] * GRAIN - self.output.position)
            self.output.write(unit.data[at : at + len(ranks) * GRAIN])
            at += len(ranks) * GRAIN
        self._place += len(grains) * GRAIN

    def finish(self) -> tuple[WrittenFile, ...]:
        self.output.skip(self._end - self.output.position)
        return (self.output.close(),)

    def abort(self) -> None:
        """Removes what was written. Safe more than once."""
        self.output.abort()


class _Layout:
    """Where everything lies, all of it at multiples of 4096, so that empty parts of the tables can be holes."""

    def __init__(self, capacity: int) -> None:
        count = -(-capacity // UNIT)
        self._directory_size = _up(4 * count, ALIGNMENT)
        self._tables_size = _up(TABLE_BYTES * count, ALIGNMENT)
        redundant = _up(SECTOR + DESCRIPTOR_SECTORS * SECTOR, ALIGNMENT)
        directory = redundant + self._directory_size + self._tables_size
        end = directory + self._directory_size + self._tables_size
        self.header = SparseHeader(
            capacity // SECTOR,
            version=1,
            flags=FLAG_NEWLINES | FLAG_REDUNDANT_TABLES,
            redundant_offset=redundant // SECTOR,
            directory_offset=directory // SECTOR,
            overhead=_up(end, GRAIN) // SECTOR,
            compression=0,
        )

    def write(self, output: DirectOutput, descriptor: bytes, wanted: Sequence[Extent]) -> None:
        header = self.header
        output.write((header.pack() + descriptor).ljust(header.redundant_offset * SECTOR, b"\0"))
        for place in (header.redundant_offset, header.directory_offset):
            first = place + self._directory_size // SECTOR
            entries = array("I", range(first, first + header.tables * TABLE_SECTORS, TABLE_SECTORS))
            output.write(entries.tobytes().ljust(self._directory_size, b"\0"))
            self._write_tables(output, first * SECTOR, wanted)
        output.skip(header.overhead * SECTOR - output.position)

    def _write_tables(self, output: DirectOutput, begin: int, wanted: Sequence[Extent]) -> None:
        sector = self.header.overhead
        for number, units in groupby(units_of(wanted), key=lambda unit: unit.index // _TABLES_AT_ONCE):
            at = number * _BLOCK
            block = array("I", bytes(min(_BLOCK, self._tables_size - at)))
            for unit in units:
                base = (unit.index % _TABLES_AT_ONCE) * (TABLE_BYTES // 4)
                for start, length in unit.extents:
                    first, count = base + (start % UNIT) // GRAIN, -(-length // GRAIN)
                    end = sector + count * GRAIN_SECTORS
                    block[first : first + count] = array("I", range(sector, end, GRAIN_SECTORS))
                    sector = end
            output.skip(begin + at - output.position)
            output.write(block.tobytes())
        output.skip(begin + self._tables_size - output.position)


def _grains(unit: Unit) -> Iterator[int]:
    """The grains of a unit that were wanted, by their number in it."""
    for start, length in unit.extents:
        first = (start % UNIT) // GRAIN
        yield from range(first, first - (-length // GRAIN))


def _up(size: int, step: int) -> int:
    return -(-size // step) * step

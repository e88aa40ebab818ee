"""Writing `sparse`: a monolithicSparse VMDK, the hosted sparse extent that programs open for reading and writing.

Layout: header, descriptor, redundant grain directory with its grain tables, grain directory with its, grains. Every
grain table exists, as programs that write to it expect. Source: VMware "Virtual Disk Format 5.0".

The tables lie before the grains, but what is stored is known only when it was read; and several threads shall write at
once. So every grain that will be read has its place from the beginning, and one that turns out to be all zeros leaves a
hole there: it takes no room, and reads as the zeros it is.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from engine.block_hash import BLOCK, DIGEST, BlockHash
from engine.errors import ImageError
from engine.extents import Extent
from engine.image.descriptor import Descriptor, ExtentLine, disk_database
from engine.image.direct_output import ALIGNMENT, Reserve
from engine.image.placed_encoder import PlacedEncoder
from engine.image.placed_output import PlacedOutput
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
from engine.image.units import PackedUnit, units_of
from engine.image.written import WrittenFile
from engine.page_memory import private_memory

_TABLES_AT_ONCE = 32
"""Of these the tables become a hole together, or none: 64 KiB."""
_BLOCK = _TABLES_AT_ONCE * TABLE_BYTES
_FRONT = 1 << 20


class SparseWriter:
    """Writes grains into a new monolithicSparse file, which is hashed by blocks. `wanted`: all that will be read, in
    extents on grain boundaries (the end of an odd disk aside).

    Memory: the grain directory (8 MiB for 62 TiB), 64 KiB of tables, 1 MiB, and 16 bytes for each extent.
    """

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
        self._starts, self._places = array("Q"), array("Q")
        place = self._begin
        for start, length in wanted:
            self._starts.append(start)
            self._places.append(place)
            place += _up(length, GRAIN)
        self._hash = BlockHash()
        self.output = PlacedOutput(target, self._end, reserve=reserve)
        try:
            layout.write(_Front(self.output, self._hash, pulse or (lambda: None)), encoded, wanted)
        except BaseException:
            self.output.abort()
            raise

    def new_encoder(self, *, keep_zeros: bool = False, hashed: bool = False) -> PlacedEncoder:
        return PlacedEncoder(self.output, self._place, keep_zeros=keep_zeros, hashed=hashed)

    def append(self, unit: PackedUnit) -> None:
        """What an encoder has written: every unit that holds a part of what was wanted, in turn."""
        for start, length in next(self._units).extents:
            first = (start % UNIT) // GRAIN
            self._hash.digests(unit.data[DIGEST * first : DIGEST * (first - (-length // GRAIN))])

    def finish(self) -> tuple[WrittenFile, ...]:
        self.output.close()
        return (WrittenFile(self.output.path.name, self._end, self._hash.hexdigest(), BLOCK),)

    def abort(self) -> None:
        """Removes what was written. Safe more than once."""
        self.output.abort()

    def _place(self, start: int) -> int:
        """Where the grains from this byte of the disk on lie, as far as their extent reaches."""
        number = bisect_right(self._starts, start) - 1
        return self._places[number] + start - self._starts[number]


class _Front:
    """What lies before the grains, written from the front to the back."""

    def __init__(self, output: PlacedOutput, digest: BlockHash, pulse: Callable[[], None]) -> None:
        self._output, self._hash, self._pulse = output, digest, pulse
        self._buffer = private_memory(_FRONT)
        self._start = self._fill = 0

    @property
    def position(self) -> int:
        return self._start + self._fill

    def write(self, data: bytes) -> None:
        for at in range(0, len(data), _FRONT):
            part = data[at : at + _FRONT]
            if self._fill + len(part) > _FRONT:
                self.skip(0)
            self._buffer[self._fill : self._fill + len(part)] = part
            self._fill += len(part)

    def skip(self, length: int) -> None:
        """Leaves a hole behind what came so far, which ends at a multiple of 4096."""
        data = self._buffer[: self._fill]
        self._output.put(self._start, data)
        self._hash.update(data)
        self._hash.zeros(length)
        self._start += self._fill + length
        self._fill = 0
        self._pulse()


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

    def write(self, output: _Front, descriptor: bytes, wanted: Sequence[Extent]) -> None:
        header = self.header
        output.write((header.pack() + descriptor).ljust(header.redundant_offset * SECTOR, b"\0"))
        for place in (header.redundant_offset, header.directory_offset):
            first = place + self._directory_size // SECTOR
            entries = array("I", range(first, first + header.tables * TABLE_SECTORS, TABLE_SECTORS))
            output.write(entries.tobytes().ljust(self._directory_size, b"\0"))
            self._write_tables(output, first * SECTOR, wanted)
        output.skip(header.overhead * SECTOR - output.position)

    def _write_tables(self, output: _Front, begin: int, wanted: Sequence[Extent]) -> None:
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


def _up(size: int, step: int) -> int:
    return -(-size // step) * step

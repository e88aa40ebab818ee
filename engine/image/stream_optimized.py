"""Writing `compact`: a streamOptimized VMDK in which nothing that was written is written again.

Layout: header (says "directory at the end"), descriptor, then for each 32 MiB of the disk that holds data its
compressed grains and its grain table, then the grain directory, and a footer that repeats the header with the place
of the directory. So the file can be hashed, and piped, while it grows. Source: VMware "Virtual Disk Format 5.0".
"""

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from engine.errors import ImageError
from engine.image.descriptor import Descriptor, ExtentLine, Parent, disk_database, new_cid
from engine.image.direct_output import DirectOutput, Reserve
from engine.image.effort import FAST, HARD, Data, Effort, shrinks, stored
from engine.image.sparse_header import (
    GRAIN_MARKER,
    GRAIN_SECTORS,
    MAX_SECTOR,
    SECTOR,
    TABLE_SECTORS,
    Marker,
    SparseHeader,
    marker,
    sectors_of,
)
from engine.image.units import PackedUnit, UnitEncoder
from engine.image.written import WrittenFile

_TABLE_MARKER = marker(Marker.GRAIN_TABLE, TABLE_SECTORS)
_PADDING = bytes(SECTOR)


class CompactEncoder(UnitEncoder):
    """Packs a unit as it will lie in the file: marked, compressed, sector-aligned grains.

    `PackedUnit.grains` holds 1 + the sector of each grain relative to the start of `data`. With an `effort` each read
    is packed at the level that is right when it has come; without one, at the fast level. After a grain that did not
    shrink, a sample of the next one decides whether compressing it is tried: films and encrypted files come in runs.
    """

    def __init__(self, *, keep_zeros: bool = False, hashed: bool = False, effort: Effort | None = None) -> None:
        super().__init__(keep_zeros=keep_zeros, hashed=hashed)
        self._effort = effort
        self._level = FAST
        self._hard = False

    def take(self, start: int, length: int) -> None:
        if self._effort is not None:
            self._level = self._effort.level
        super().take(start, length)

    def end(self) -> PackedUnit:
        packed = super().end()
        packed.level = self._level.name
        return packed

    def _store(self, grain: int, data: memoryview) -> int:
        if self._hard and not shrinks(data):
            return self._append(grain, stored(data))
        compressed = self._level.compress(data)
        self._hard = len(compressed) > HARD * len(data)
        return self._append(grain, compressed)

    def _append(self, grain: int, compressed: Data) -> int:
        start = self.fill
        GRAIN_MARKER.pack_into(self.buffer, start, grain * GRAIN_SECTORS, len(compressed))
        body = start + GRAIN_MARKER.size
        end = body + len(compressed)
        self.buffer[body:end] = compressed
        self.fill = -(-end // SECTOR) * SECTOR
        self.buffer[end : self.fill] = _PADDING[: self.fill - end]
        return start // SECTOR + 1


class Output(Protocol):
    """Where an image goes; `position` counts the bytes written."""

    @property
    def position(self) -> int: ...
    def write(self, data: bytes | memoryview, /) -> None: ...


class StreamLayout:
    """The structure of one streamOptimized image: `begin`, `append` for each unit (ascending), `end`.

    `name` is the file's, for the descriptor; `cid` its content id, by default a new one. Memory: the grain directory
    (4 bytes for each 32 MiB of the disk: 8 MiB for 62 TiB).
    """

    new_encoder = CompactEncoder

    def __init__(self, name: str, capacity: int, parent: Parent | None = None, *, cid: str = "") -> None:
        sectors = capacity // SECTOR
        extent = ExtentLine("RDONLY", sectors, "SPARSE", name)
        descriptor = Descriptor("streamOptimized", (extent,), cid or new_cid(), ddb=disk_database(capacity))
        descriptor = descriptor.child_of(parent)
        self.cid = descriptor.cid
        self._header = SparseHeader(sectors)
        self._descriptor = descriptor.encoded()
        if len(self._descriptor) > self._header.descriptor_size * SECTOR:
            raise ImageError(f"The file name {name!r} is too long for a VMDK descriptor.")
        self._directory = array("I", bytes(4 * self._header.tables))

    def begin(self, output: Output) -> None:
        self._output = output
        overhead = self._header.overhead * SECTOR
        output.write((self._header.pack() + self._descriptor).ljust(overhead, b"\0"))

    def append(self, unit: PackedUnit) -> None:
        """Raises `ImageError` at 2 TiB of compressed data, where the format ends."""
        if not unit.data:
            return
        output = self._output
        base = output.position // SECTOR
        table = base + len(unit.data) // SECTOR + 1
        if table > MAX_SECTOR:
            raise ImageError(
                "The compressed disk is larger than 2 TiB, the most that the compact format can hold.",
                hint="Use EXPORT_FORMAT flat for this disk.",
            )
        grains = array("I", [entry and entry - 1 + base for entry in unit.grains])
        output.write(unit.data)
        output.write(_TABLE_MARKER)
        output.write(grains.tobytes())
        self._directory[unit.index] = table

    def end(self) -> None:
        output, directory = self._output, self._directory.tobytes()
        size = sectors_of(len(directory))
        output.write(marker(Marker.GRAIN_DIRECTORY, size))
        place = output.position // SECTOR
        output.write(directory.ljust(size * SECTOR, b"\0"))
        output.write(marker(Marker.FOOTER, 1))
        output.write(self._header.at(place).pack())
        output.write(marker(Marker.END, 0))


class CompactWriter(StreamLayout):
    """Appends packed units to a new streamOptimized file."""

    def __init__(
        self,
        target: Path,
        capacity: int,
        *,
        parent: Parent | None = None,
        cid: str = "",
        reserve: Reserve | None = None,
        pulse: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(target.name, capacity, parent, cid=cid)
        self.output = DirectOutput(target, reserve=reserve, pulse=pulse)
        self.begin(self.output)

    def finish(self) -> tuple[WrittenFile, ...]:
        self.end()
        return (self.output.close(),)

    def abort(self) -> None:
        """Removes what was written. Safe more than once."""
        self.output.abort()

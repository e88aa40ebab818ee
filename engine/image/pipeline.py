"""Disk bytes to image files: readers -> zero detection -> deflate in threads -> one ordered writer; uncompressed, each
thread writes for itself.

Memory is bounded whatever the disk and however slow the target: (threads + 4) packed units of at most 33 MiB,
(threads + 2) read buffers of 4 MiB, four output buffers of 4 MiB, 4 bytes for each 32 MiB of the disk (8 MiB for
62 TiB), and the extents asked for. With two threads that is 232 MiB when nothing compresses. The uncompressed formats
write from the read buffers: of the packed units and the output buffers they need next to nothing.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from engine.cancel import CancelToken
from engine.cores import default_threads
from engine.errors import ImageError
from engine.extents import DiskSource, Extent, aligned, total
from engine.image.crew import Crew
from engine.image.descriptor import Parent
from engine.image.direct_output import DirectOutput, Reserve
from engine.image.effort import Effort
from engine.image.flat import FlatWriter
from engine.image.monolithic_sparse import SparseWriter
from engine.image.placed_output import PlacedOutput
from engine.image.sparse_header import GRAIN, MAX_CAPACITY, SECTOR
from engine.image.stream_optimized import CompactWriter
from engine.image.units import PackedUnit
from engine.image.written import Progress, WrittenImage, busiest

ImageFormat = Literal["compact", "sparse", "flat"]
OnProgress = Callable[[Progress], None]
OnHashes = Callable[[int, "array[int]"], None]
"""Takes the number of a unit (32 MiB of the disk) and 512 grain hashes (`units.PackedUnit.hashes`), units ascending."""
PROGRESS_INTERVAL = 0.2


def export(
    source: DiskSource,
    extents: Sequence[Extent],
    target: Path,
    *,
    format: ImageFormat,  # noqa: A002 - the option's name
    threads: int,
    cancel: CancelToken,
    progress: OnProgress,
    reserve: Reserve | None = None,
    parent: Parent | None = None,
    hashes: OnHashes | None = None,
) -> WrittenImage:
    """Writes `target` (flat: the descriptor; the data go to `NAME-flat.vmdk` beside it) from `source`.

    Reads exactly the extents, widened to whole grains of 64 KiB and clipped to the disk, in reads of up to 4 MiB by
    several threads; all else is not read and reads back as zeros. `threads` encode (0: `default_threads`). `progress`
    is called from the calling thread, at most five times a second and once at the end. `reserve` is asked before each
    block is written (`direct_output.keep_free`). With a `parent` (compact only) the image is its child: all else is
    what the parent holds, and grains of zeros are stored, since they hide the parent's data. A stored grain of zeros
    takes 512 bytes; the format's entry for zeroed grains would take none, but needs header version 2, which is not
    what streamOptimized readers of other makers know. A compact image is compressed harder while the cores have time
    (`effort`), so its bytes, not its content, depend on how fast the source was. `hashes` gets the grains'
    hashes as the data arrived.

    Raises what the source raises, `TargetFull`, `TargetError`, `ImageError` (a capacity that is not whole sectors;
    2 TiB of compressed data, or of data for a sparse image), `Cancelled`. Whatever it raises, its threads have ended
    and its files are gone.
    """
    capacity = source.capacity
    if capacity % SECTOR or not 0 <= capacity <= MAX_CAPACITY:
        raise ImageError(f"A disk of {capacity} bytes cannot be stored: not a plausible number of whole sectors.")
    cancel.check()
    wanted = aligned(extents, GRAIN, capacity)
    clock = _Clock(total(wanted), cancel, progress)
    writer = _writer(target, capacity, format, parent, wanted, reserve=reserve, pulse=clock.tick)
    try:
        encoder = partial(writer.new_encoder, keep_zeros=parent is not None, hashed=hashes is not None)
        if isinstance(writer, CompactWriter):
            encoder = partial(encoder, effort=clock.effort)
        crew = Crew(source, encoder, wanted, threads or default_threads())
        clock.watch(crew, writer.output)
        with cancel.on_cancel(crew.halt), crew:
            for unit in crew.in_order(clock.tick):
                writer.append(unit)
                clock.packed(unit)
                if hashes is not None:
                    hashes(unit.index, unit.hashes)
        files = writer.finish()
        last = clock.report()
    except BaseException:
        writer.abort()
        raise
    return WrittenImage(
        files=files, read=last.read, zero=last.zero, stored=last.stored, cid=writer.cid,
        bottleneck=last.bottleneck, busy=last.busy, seconds=clock.seconds, hashed=hashes is not None,
        levels=clock.levels,
    )  # fmt: skip


def _writer(
    target: Path, capacity: int, kind: ImageFormat, parent: Parent | None, wanted: Sequence[Extent],
    *, reserve: Reserve | None, pulse: Callable[[], None],
) -> CompactWriter | SparseWriter | FlatWriter:  # fmt: skip
    if kind == "compact":
        return CompactWriter(target, capacity, parent=parent, reserve=reserve, pulse=pulse)
    if parent is not None:
        raise ImageError(f"A {kind} image holds a whole disk; only a compact one can be the child of another.")
    if kind == "sparse":
        return SparseWriter(target, capacity, wanted, reserve=reserve, pulse=pulse)
    return FlatWriter(target, capacity, reserve=reserve, pulse=pulse)


class _Clock:
    """Looks at the cancel token and reports progress, from wherever the calling thread has a moment."""

    def __init__(self, to_read: int, cancel: CancelToken, progress: OnProgress) -> None:
        self._to_read = to_read
        self._cancel = cancel
        self._progress = progress
        self._began = self._told = time.perf_counter()
        self._crew: Crew | None = None
        self._output: DirectOutput | PlacedOutput | None = None
        self.effort = Effort()
        self._packed: Counter[str] = Counter()

    @property
    def levels(self) -> dict[str, float]:
        """Share of the packed bytes by level of compression, the largest first."""
        whole = self._packed.total()
        return {name: size / whole for name, size in self._packed.most_common()} if whole else {}

    def packed(self, unit: PackedUnit) -> None:
        if unit.level and unit.data:
            self._packed[unit.level] += len(unit.data)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def watch(self, crew: Crew, output: DirectOutput | PlacedOutput) -> None:
        self._crew, self._output = crew, output

    def tick(self) -> None:
        """Raises `Cancelled`; reports when it is time to; keeps the compression in step with what the cores can do."""
        self._cancel.check()
        if self._crew is None:  # a sparse image's tables are being written
            return
        self.effort.observe(time.perf_counter(), *self._crew.encoded, self._crew.read)
        if time.perf_counter() - self._told >= PROGRESS_INTERVAL:
            self.report()

    def report(self) -> Progress:
        assert self._crew is not None
        assert self._output is not None
        seconds = max(self.seconds, 1e-6)
        reading, encoding = self._crew.busy(seconds)
        busy = {
            "source": min(1.0, reading),
            "cpu": min(1.0, max(encoding, self._output.hash_seconds / seconds)),
            "target": min(1.0, self._output.write_seconds / seconds),
        }
        state = Progress(
            self._crew.read, self._to_read, self._output.stored, self._crew.zero, busiest(busy), busy
        )  # fmt: skip
        self._progress(state)
        self._told = time.perf_counter()
        return state

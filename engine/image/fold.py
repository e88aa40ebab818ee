"""Several images of one chain as one image: stored grains are copied as they are, deflated; none is inflated.

Which grain comes from which image is told by the chain's lists of grain hashes, newest first. A copy costs a read and a
write of the deflated bytes; the proof that follows inflates each grain once, against the hash taken at the source.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Protocol

from engine.cancel import CancelToken
from engine.errors import ImageError
from engine.extents import DiskSource
from engine.image.descriptor import Parent
from engine.image.direct_output import Reserve
from engine.image.reader import Image
from engine.image.sparse_header import GRAIN, GRAIN_SECTORS, TABLE_ENTRIES
from engine.image.stream_optimized import CompactEncoder, CompactWriter
from engine.image.stream_reader import StreamOptimizedImage
from engine.image.units import ZERO_HASH, PackedUnit, new_buffer
from engine.image.written import WrittenFile


class HashList(Protocol):
    """What an image decides: by unit (32 MiB) 512 entries, 0 for a grain it leaves to its parent, 1 for zeros."""

    def units(self) -> Iterator[int]: ...
    def unit(self, number: int, /) -> "array[int]": ...


def fold(
    links: Sequence[tuple[Image, HashList]],
    target: Path,
    *,
    cid: str,
    parent: Parent | None,
    hashes: Callable[[int, "array[int]"], None],
    cancel: CancelToken,
    progress: Callable[[int], None],
    reserve: Reserve | None = None,
) -> WrittenFile:
    """Writes the compact image `target` of what `links` (newest first) hold together, with the content id `cid`; with a
    `parent` it is the child of that image and keeps grains of zeros, without one it is a whole disk. `hashes` gets the
    entries of each unit, `progress` the bytes written.

    Memory: one packed unit (33 MiB), four output buffers, and the images'. Raises `ImageError` when image and list
    disagree, `TargetFull`, `TargetError`, `Cancelled`; the file is gone then.
    """
    for image, _ in links:
        if isinstance(image, StreamOptimizedImage) and image.header.grain_size != GRAIN_SECTORS:
            raise ImageError(f"{image.path} has grains of {image.header.grain_size} sectors, not {GRAIN_SECTORS}.")
    writer = CompactWriter(
        target, links[0][0].capacity, parent=parent, cid=cid, reserve=reserve, pulse=cancel.check
    )  # fmt: skip
    try:
        folding = _Folding(links, keep_zeros=parent is not None)
        for number, _ in groupby(merge(*(hashed.units() for _, hashed in links))):
            cancel.check()
            unit, entries = folding.unit(number)
            writer.append(unit)
            hashes(number, entries)
            progress(writer.output.position)
        return writer.finish()[0]
    except BaseException:
        writer.abort()
        raise


class _Packer(CompactEncoder):
    """Packs a unit from grains that are deflated already, or are to be."""

    def copy(self, grain: int, deflated: memoryview) -> None:
        self._grains[grain % TABLE_ENTRIES] = self._append(grain, deflated)

    def encode(self, image: DiskSource, grain: int) -> None:
        room = self.room(GRAIN)
        length = min(GRAIN, image.capacity - grain * GRAIN)
        image.read_into(grain * GRAIN, room[:length])
        room[length:] = bytes(GRAIN - length)
        self._grains[grain % TABLE_ENTRIES] = self._store(grain, room)


class _Folding:
    def __init__(self, links: Sequence[tuple[Image, HashList]], *, keep_zeros: bool) -> None:
        self._links = links
        self._least = ZERO_HASH if keep_zeros else ZERO_HASH + 1
        self._packer = _Packer()
        self._buffer = new_buffer()

    def unit(self, number: int) -> tuple[PackedUnit, "array[int]"]:
        """The unit as the links hold it together, and its entries. Its memory is used again for the next one."""
        entries = array("Q", bytes(8 * TABLE_ENTRIES))
        self._packer.begin(number, self._buffer)
        for image, hashed in self._links:
            told = hashed.unit(number)
            new = [at for at, entry in enumerate(told) if entry and not entries[at]]
            for at in new:
                entries[at] = told[at]
            self._take(image, [number * TABLE_ENTRIES + at for at in new if told[at] >= self._least])
        return self._packer.end(), entries

    def _take(self, image: Image, grains: list[int]) -> None:
        if isinstance(image, StreamOptimizedImage):
            for grain, deflated in image.packed(grains):
                self._packer.copy(grain, deflated)
        else:
            for grain in grains:
                self._packer.encode(image, grain)

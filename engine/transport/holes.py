"""A doubt about holes: what a host calls unallocated is sampled, because nothing else would ever notice a lie.

A map that left out the blocks of a parent in a snapshot chain would make a restore point that verifies and does not
restore. The first block is always asked: a disk in use has its partition table there. So is the last one, where GPT
keeps its copy; the rest are drawn at random, each hole in proportion to its length.
"""

import random
from collections.abc import Sequence

from engine.extents import DiskSource, Extent

BLOCK = 65536
SAMPLES = 16
_ZEROS = bytes(BLOCK)


def holes(extents: Sequence[Extent], capacity: int) -> list[Extent]:
    """What lies between ascending, disjoint extents."""
    found, at = [], 0
    for start, length in extents:
        if start > at:
            found.append(Extent(at, start - at))
        at = start + length
    if at < capacity:
        found.append(Extent(at, capacity - at))
    return found


def data_in_holes(
    source: DiskSource, extents: Sequence[Extent], *, samples: int = SAMPLES, chance: random.Random | None = None
) -> int | None:
    """The byte offset of a block with data where `extents` have none, or None when all samples are zeros."""
    empty = holes(extents, source.capacity)
    buffer = memoryview(bytearray(BLOCK))
    for offset, size in _places(empty, samples, chance or random.SystemRandom()):
        view = buffer[:size]
        source.read_into(offset, view)
        if view.tobytes() != _ZEROS[:size]:
            return offset
    return None


def _places(empty: list[Extent], samples: int, chance: random.Random) -> list[tuple[int, int]]:
    """(offset, length) of the blocks to look at; whole sectors inside holes."""
    if not empty:
        return []
    first, last = empty[0], empty[-1]
    places = {(first.start, min(BLOCK, first.length)), (max(last.start, last.end - BLOCK), min(BLOCK, last.length))}
    for hole in chance.choices(empty, weights=[hole.length for hole in empty], k=samples):
        blocks = max(1, hole.length // BLOCK)
        places.add((hole.start + chance.randrange(blocks) * BLOCK, min(BLOCK, hole.length)))
    return sorted(places)

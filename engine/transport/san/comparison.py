"""Trust, but verify: blocks read from the LUN beside the same blocks as the host sends them.

The structures of VMFS are nobody's published standard. A reading of them that is wrong for some volume would make
restore points that verify and don't restore; so the first use of a datastore, and a sample of every run, asks ESXi.
"""

import random
from collections.abc import Sequence

from engine.cancel import CancelToken
from engine.extents import DiskSource, Extent

BLOCK = 65536
FIRST_USE = 256
"""Blocks compared of each disk on a datastore that was never compared: 16 MiB."""
EACH_RUN = 16


def places(capacity: int, allocated: Sequence[Extent], blocks: int, chance: random.Random) -> list[tuple[int, int]]:
    """(offset, length) of blocks to compare: the first and the last, then three of four where there is data (by size),
    the rest anywhere, since a hole that is none would never be noticed."""
    last = max(0, (capacity - 1) // BLOCK)
    chosen = {0, last}
    data = [extent for extent in allocated if extent.length]
    if data:
        weights = [extent.length for extent in data]
        for extent in chance.choices(data, weights, k=blocks * 3 // 4):
            chosen.add(chance.randrange(extent.start, extent.end) // BLOCK)
        chosen |= {data[0].start // BLOCK, (data[-1].end - 1) // BLOCK}
    chosen |= {chance.randrange(last + 1) for _ in range(blocks - blocks * 3 // 4)}
    return [(block * BLOCK, min(BLOCK, capacity - block * BLOCK)) for block in sorted(chosen)]


def first_difference(
    source: DiskSource,
    witness: DiskSource,
    blocks: int,
    cancel: CancelToken,
    *,
    chance: random.Random | None = None,
) -> tuple[int | None, int]:
    """(byte offset of a block that differs, or None; bytes compared)."""
    compared = 0
    ours, theirs = memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK))
    for offset, length in places(source.capacity, source.allocated(), blocks, chance or random.SystemRandom()):
        cancel.check()
        source.read_into(offset, ours[:length])
        witness.read_into(offset, theirs[:length])
        compared += length
        if ours[:length] != theirs[:length]:
            return offset, compared
    return None, compared

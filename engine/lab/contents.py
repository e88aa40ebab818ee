"""Seeded disk contents: deterministic, quick to write, half compressible, in clusters over a mostly empty disk.

A recipe is "bytes:seed". Contents are owed until somebody looks at the disk (or the lab has time): a lab with a 72 GiB
disk is ready at once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path

from engine.lab.bitmap import BLOCK
from engine.lab.disks import Disk

TILE = 4 << 20
LARGEST_CLUSTER = 16 << 20
MEBIBYTE = 1 << 20
PAGE = 4096  # clusters begin and end where a guest's file system would


@functools.cache
def _tiles() -> memoryview:
    """4 MiB, twice: blocks that do not compress and blocks of text that do, in turn."""
    source = random.Random("tile")
    lines = [f"{n:08d} backup proxy log: the disk was read and nothing was lost\n".encode() for n in range(2048)]
    text = b"".join(source.choices(lines, k=BLOCK // len(lines[0]) + 1))[:BLOCK]
    tile = b"".join(source.randbytes(BLOCK) if n % 2 else text for n in range(TILE // BLOCK))
    return memoryview(tile + tile)


def owe(disk: Disk, recipe: str, marks: Path) -> None:
    """Let the disk write the recipe's contents when it is first used. `marks` remembers that it did, once for all."""
    disk.recipe = recipe
    mark = marks / f"{disk.id}.filled"
    if not mark.exists():
        disk.filler = _filler(recipe, mark)


def _filler(recipe: str, mark: Path) -> Callable[[Disk], None]:
    def fill(disk: Disk) -> None:
        write(disk, recipe)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    return fill


def write(disk: Disk, recipe: str) -> None:
    """Write the contents: a boot sector, then clusters at random places until `bytes` are used."""
    size, seed = recipe.split(":")
    left, source = min(int(size), disk.capacity // 2), random.Random(seed)
    head = min(MEBIBYTE, left)
    disk.write(0, (b"\xfa\x31\xc0" + source.randbytes(507) + b"\x55\xaa") + _slice(source, head - 512))
    left -= head
    while left > 0:
        length = min(left, source.randrange(PAGE, LARGEST_CLUSTER, PAGE), disk.capacity // 8)
        offset = source.randrange(0, disk.capacity - length) // PAGE * PAGE
        for position in range(0, length, TILE):
            disk.write(offset + position, _slice(source, min(TILE, length - position)))
        left -= length


def _slice(source: random.Random, length: int) -> bytes:
    """At most a tile's bytes from a random place in it, with a head of their own: no two pieces are equal."""
    start = source.randrange(TILE)
    head = source.randbytes(32)[:length]
    return b"".join((head, _tiles()[start + len(head) : start + length]))

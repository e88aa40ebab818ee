"""What differs between VMFS-3, 5 and 6: sizes, and how block addresses are written."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
BLOCK = MIB
"""Bytes of a file block: what VMFS-5 and 6 always have."""
LARGE_BLOCK = 512 * MIB
Version = Literal[3, 5, 6]

FILE_BLOCK_FILE, DESCRIPTORS, POINTER_BLOCKS, SUB_BLOCKS, HEARTBEATS, SECOND_POINTERS, SCRATCH, JOURNAL = range(1, 9)
"""Numbers of the system files' descriptors; the root directory's is 0."""
SYSTEM_NAMES = {
    FILE_BLOCK_FILE: ".fbb.sf", DESCRIPTORS: ".fdc.sf", POINTER_BLOCKS: ".pbc.sf", SUB_BLOCKS: ".sbc.sf",
    HEARTBEATS: ".vh.sf", SECOND_POINTERS: ".pb2.sf", SCRATCH: ".sdd.sf", JOURNAL: ".jbc.sf",
}  # fmt: skip
DESCRIPTORS_PER_CLUSTER = 64


@dataclass(frozen=True)
class Pool:
    """A resource file: `clusters` clusters of `items` items of `size` bytes each, in one group."""

    items: int
    clusters: int
    size: int

    @property
    def capacity(self) -> int:
        return self.items * self.clusters


@dataclass(frozen=True)
class Form:
    """Sizes in bytes. Numbers of things count from 0 over all clusters."""

    version: Version
    alignment: int
    """Of metadata."""
    descriptor_size: int
    direct: int
    """Addresses in a descriptor."""
    pointer_size: int
    pointers_per_block: int
    resident: int
    """The most that a file may hold to lie in its descriptor; -1 where no file does."""
    major: int
    minor: int
    pools: dict[int, Pool]
    first_block: int
    """Blocks before it hold the header and the heartbeats."""

    @property
    def cluster_header(self) -> int:
        return 2 * self.alignment

    @property
    def wide(self) -> bool:
        return self.version == 6

    @property
    def dense(self) -> bool:
        """More than 16 sub-blocks in a cluster."""
        return self.version == 5

    @property
    def pointer_code(self) -> str:
        """struct code of an address."""
        return "Q" if self.wide else "I"

    @property
    def pointer_pool(self) -> int:
        """VMFS-6 keeps pointer blocks in sub-blocks."""
        return SUB_BLOCKS if self.wide else POINTER_BLOCKS

    def file_block(self, number: int, zeroed: int = 0) -> int:
        """zeroed: of VMFS-6 a bit for each eighth of the block; before, any value but 0 stands for the whole block."""
        if self.wide:
            return 1 | zeroed << 7 | number >> 9 << 15 | (number & 511) << 51
        return 1 | (0x20 if zeroed else 0) | number << 6

    def large_block(self, number: int) -> int:
        return 7 | number << 15

    def item(self, pool: int, number: int) -> int:
        """The address of a sub-block or pointer block."""
        cluster, item = divmod(number, self.pools[pool].items)
        kind = 2 if pool == SUB_BLOCKS else 3
        if self.wide:
            return kind | cluster << 6 | item << 56
        return kind | (item >> 4) << 3 | cluster << 6 | (item & 15) << 28

    def item_number(self, pool: int, address: int) -> int:
        """The reverse of `item`."""
        items = self.pools[pool].items
        if self.wide:
            return (address >> 6 & 0xFFFFFFFFF) * items + (address >> 56)
        return (address >> 6 & 0x3FFFFF) * items + (address >> 28 | (address & 0x18) << 1)

    def block_number(self, address: int) -> int:
        """The reverse of `file_block`."""
        return (address >> 15 & 0x7FFFFFFF) * 512 + (address >> 51) if self.wide else address >> 6

    @staticmethod
    def descriptor(number: int) -> int:
        return 4 | number // DESCRIPTORS_PER_CLUSTER << 6 | number % DESCRIPTORS_PER_CLUSTER << 22


@functools.cache
def form(version: Version) -> Form:
    per = DESCRIPTORS_PER_CLUSTER
    if version == 6:
        pools = {
            DESCRIPTORS: Pool(per, 16, 8192), SUB_BLOCKS: Pool(32, 16, 65536), POINTER_BLOCKS: Pool(16, 1, 65536),
            SECOND_POINTERS: Pool(16, 1, 65536), JOURNAL: Pool(1, 1, MIB),
        }  # fmt: skip
        return Form(6, 4096, 8192, 320, 8, 8192, 3576, 24, 82, pools, 7)
    pools = {
        DESCRIPTORS: Pool(per, 16, 2048), POINTER_BLOCKS: Pool(16, 64, 4096), SECOND_POINTERS: Pool(16, 1, 4096),
        SUB_BLOCKS: Pool(64, 4, 8192) if version == 5 else Pool(16, 4, 65536),
    }  # fmt: skip
    major, minor, resident = (14, 81, 1016) if version == 5 else (3, 31, -1)
    return Form(version, 512, 2048, 256, 4, 1024, resident, major, minor, pools, 4)

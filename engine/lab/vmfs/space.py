"""The room of a volume: its system files, what of it is taken, and the trees of addresses that lead to blocks."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from engine.lab.vmfs.allocation import Numbers
from engine.lab.vmfs.files import (
    BLOCKS_AT,
    DIRECTORY,
    FILE_BLOCKS,
    RESIDENT,
    SUB_BLOCKS as IN_SUB_BLOCKS,
    SYSTEM,
    File,
    descriptor,
    pointers_at,
)
from engine.lab.vmfs.form import (
    BLOCK,
    DESCRIPTORS,
    FILE_BLOCK_FILE,
    HEARTBEATS,
    SUB_BLOCKS,
    Form,
)
from engine.lab.vmfs.luns import Luns
from engine.lab.vmfs.system_files import bitmaps, file_block_file, superblock

_RESERVED_DESCRIPTORS = 16


class Space:
    """`blocks`, `numbers` (of descriptors) and `items` (of each pool) give what is free; `system` are the volume's own
    files, by number."""

    def __init__(self, luns: Luns, form: Form) -> None:
        self.luns, self.form = luns, form
        self.system: dict[int, File] = {}
        self.blocks = Numbers("blocks", luns.group.size // BLOCK, form.first_block)
        self.numbers = Numbers("file descriptors", form.pools[DESCRIPTORS].capacity, _RESERVED_DESCRIPTORS)
        self.items = {pool: Numbers("pointer blocks", form.pools[pool].capacity) for pool in form.pools}

    # -- addresses
    def point(self, file: File, slot: int, address: int) -> None:
        """Leads a slot of the file to a block, through pointer blocks that are made when they are needed."""
        span = self.form.pointers_per_block
        table = None  # the pointer block, by its offset; None: the descriptor
        for level in range(file.levels, 0, -1):
            first = slot // span**level
            known = file.tables.get((level, first))
            if known is None:
                pool = self.form.pointer_pool
                number = self.items[pool].take()
                self.luns.write(self.item_offset(pool, number), bytes(span * self.form.pointer_size))
                known = file.tables[level, first] = self.form.item(pool, number)
                self._put_address(file, table, first if level == file.levels else first % span, known)
            table = self.item_offset(self.form.pointer_pool, self.form.item_number(self.form.pointer_pool, known))
        self._put_address(file, table, slot % span if file.levels else slot, address)
        file.addresses[slot] = address
        file.blocks += 1

    def _put_address(self, file: File, table: int | None, index: int, address: int) -> None:
        if table is None:
            file.top[index] = address
            table = self.pointers_of(file.number)
        packed = struct.pack(f"<{self.form.pointer_code}", address)
        self.luns.write(table + index * self.form.pointer_size, packed)

    def count_blocks(self, file: File) -> None:
        at = self.descriptor_offset(file.number) + self.form.alignment + BLOCKS_AT
        self.luns.write(at, struct.pack("<Q", file.blocks))

    def pointers_of(self, number: int) -> int:
        """Offset in the volume of the addresses in a descriptor."""
        return self.descriptor_offset(number) + pointers_at(self.form)

    def drop_tables(self, file: File) -> None:
        """Gives back the file's pointer blocks."""
        pool = self.form.pointer_pool
        self.items[pool].give_back(self.form.item_number(pool, address) for address in file.tables.values())

    def put_descriptor(self, file: File) -> None:
        offset = self.descriptor_offset(file.number)
        self.luns.write(offset, descriptor(self.form, file, offset, self.luns.group.seconds))

    # -- what was there before
    def read_addresses(self, file: File) -> None:
        """The tree below a descriptor, as it is on the volume."""
        file.links, file.mode = (2, 0o40755) if file.type == DIRECTORY else (1, 0o600)
        start, size = self.pointers_of(file.number), self.form.pointer_size
        if file.addressing == RESIDENT:
            at = self.descriptor_offset(file.number) + self.form.alignment + 512
            file.resident = self.luns.read(at, file.length)
            return
        self._descend(file, file.levels, 0, self.luns.read(start, self.form.direct * size))
        file.top = self._pointers(self.luns.read(start, self.form.direct * size))
        file.blocks = len(file.addresses)

    def _descend(self, file: File, level: int, first: int, table: bytes) -> None:
        span = self.form.pointers_per_block
        for index, address in self._pointers(table).items():
            position = first * span + index
            if not level:
                file.addresses[position] = address
                continue
            file.tables[level, position] = address
            offset = self.item_offset(self.form.pointer_pool, self.form.item_number(self.form.pointer_pool, address))
            self._descend(file, level - 1, position, self.luns.read(offset, span * self.form.pointer_size))

    def _pointers(self, table: bytes) -> dict[int, int]:
        found = struct.unpack(f"<{len(table) // self.form.pointer_size}{self.form.pointer_code}", table)
        return {index: address for index, address in enumerate(found) if address}

    def restore_numbers(self, files: Iterable[File]) -> None:
        """What these files, read by `read_addresses`, hold is taken."""
        numbers = set()
        blocks: set[int] = set()
        items: dict[int, set[int]] = {pool: set() for pool in self.form.pools}
        for file in files:
            numbers.add(file.number)
            held = file.addresses.values()
            if file.addressing == IN_SUB_BLOCKS:
                items[SUB_BLOCKS] |= {self.form.item_number(SUB_BLOCKS, address) for address in held}
            else:
                blocks |= {self.form.block_number(address) for address in held}
            pool = self.form.pointer_pool
            items[pool] |= {self.form.item_number(pool, address) for address in file.tables.values()}
        self.blocks.restore(blocks, self.blocks.given)
        self.numbers.restore(numbers, _RESERVED_DESCRIPTORS)
        for pool, taken in items.items():
            self.items[pool].restore(taken, 0)

    # -- system files
    def place_system_files(self) -> None:
        for pool in (DESCRIPTORS, *(pool for pool in self.form.pools if pool != DESCRIPTORS)):
            self._system_file(pool, self._pool_size(pool))
        self._system_file(HEARTBEATS, self.form.first_block * BLOCK, range(self.form.first_block))
        self._system_file(FILE_BLOCK_FILE, len(file_block_file(self.form, self.blocks)[1]))

    def _system_file(self, number: int, size: int, numbers: Iterable[int] = ()) -> None:
        file = self.system[number] = File(number, SYSTEM, size, FILE_BLOCKS)
        for slot, block in enumerate(numbers or self.blocks.take_run(file.slots)):
            file.top[slot] = file.addresses[slot] = self.form.file_block(block)
        file.blocks = file.slots

    def _pool_size(self, pool: int) -> int:
        items = self.form.pools[pool]
        return 0x10000 + items.clusters * self.form.cluster_header + items.capacity * items.size

    def flush(self, label: str) -> None:
        """The bitmaps and the superblock."""
        self.luns.write(0x200000, superblock(self.form, self.luns.group, label))
        for pool in self.form.pools:
            given = self.numbers.given if pool == DESCRIPTORS else self.items[pool].given
            for offset, block in bitmaps(self.form, pool, given, lambda at, pool=pool: self._in_system(pool, at)):
                self.luns.write(self._in_system(pool, offset), block)
        start, data = file_block_file(self.form, self.blocks)
        for at in range(start, len(data), BLOCK):
            self.luns.write(self._in_system(FILE_BLOCK_FILE, at), data[at : at + BLOCK])

    def _in_system(self, number: int, offset: int) -> int:
        """Offset in the volume of a byte of a system file."""
        return self.form.block_number(self.system[number].addresses[offset // BLOCK]) * BLOCK + offset % BLOCK

    def item_offset(self, pool: int, number: int) -> int:
        items = self.form.pools[pool]
        return self._in_system(pool, 0x10000 + items.clusters * self.form.cluster_header + number * items.size)

    def descriptor_offset(self, number: int) -> int:
        return self.item_offset(DESCRIPTORS, number)

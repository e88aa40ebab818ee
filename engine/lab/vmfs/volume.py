"""A VMFS volume that is written: formatted, files added and removed, blocks allocated while somebody reads it.

A block is written before the address that leads to it, and an address before the count of blocks, so that a reader of
the LUN never sees what is not there. Bitmaps of what is taken are brought up to date by `flush` only: no reader asks.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.lab.vmfs import lvm
from engine.lab.vmfs.allocation import Numbers
from engine.lab.vmfs.directories import Entry, contents
from engine.lab.vmfs.files import (
    BLOCKS_AT,
    DIRECTORY,
    FILE_BLOCKS,
    REGULAR,
    RESIDENT,
    SUB_BLOCKS as IN_SUB_BLOCKS,
    SYSTEM,
    File,
    addressing_of,
    descriptor,
    pointers_at,
)
from engine.lab.vmfs.form import (
    BLOCK,
    DESCRIPTORS,
    FILE_BLOCK_FILE,
    HEARTBEATS,
    LARGE_BLOCK,
    SUB_BLOCKS,
    SYSTEM_NAMES,
    Form,
    Version,
    form,
)
from engine.lab.vmfs.luns import Luns
from engine.lab.vmfs.system_files import bitmaps, file_block_file, superblock

_RESERVED_DESCRIPTORS = 16


class Volume:
    """`uuid` as HostVmfsVolume has it. Paths are like "vm1/vm1-flat.vmdk". One thread at a time."""

    def __init__(self, luns: Luns, version: Version, label: str) -> None:
        self.luns, self.form, self.label = luns, form(version), label
        self.files: dict[str, File] = {"": File(0, DIRECTORY, 0, FILE_BLOCKS)}
        self._system: dict[int, File] = {}
        self._blocks = Numbers("blocks", luns.group.size // BLOCK, self.form.first_block)
        self._numbers = Numbers("file descriptors", self.form.pools[DESCRIPTORS].capacity, _RESERVED_DESCRIPTORS)
        self._items = {pool: Numbers("pointer blocks", self.form.pools[pool].capacity) for pool in self.form.pools}

    @classmethod
    def create(
        cls,
        paths: Sequence[Path],
        *,
        version: Version,
        size: int,
        label: str,
        seed: object = None,
        partitioned: bool = True,
    ) -> Volume:
        """Formats the files: `size` bytes, rounded up to 256 MiB a LUN. Identities are drawn from `seed`."""
        group = _group(len(paths), size, seed, int(time.time()))
        volume = cls(Luns(paths, group, partitioned=partitioned), version, label)
        volume.luns.format(volume.form)
        volume._place_system_files()
        for file in volume._system.values():
            volume._put_descriptor(file)
        volume._put_directory("")
        volume.flush()
        return volume

    @classmethod
    def reopen(
        cls,
        paths: Sequence[Path],
        index: Mapping[str, Any],
        *,
        version: Version,
        size: int,
        label: str,
        seed: object = None,
        partitioned: bool = True,
    ) -> Volume:
        """What `create` with the same arguments made, and was written since. `index` is the volume's own."""
        group = _group(len(paths), size, seed, index["seconds"])
        volume = cls(Luns(paths, group, partitioned=partitioned), version, label)
        volume._place_system_files()
        volume.files = {path: File(*facts) for path, facts in index["files"].items()}
        for file in volume.files.values():
            volume._read_addresses(file)
        volume._restore_numbers()
        return volume

    def index(self) -> dict[str, Any]:
        """What `reopen` needs: where the descriptors are. The addresses of blocks are on the volume itself."""
        files = {
            path: [file.number, file.type, file.length, file.addressing, file.unit] for path, file in self.files.items()
        }
        return {"seconds": self.luns.group.seconds, "files": files}

    @property
    def uuid(self) -> str:
        return self.luns.group.name()

    @property
    def blocks_given(self) -> int:
        """All blocks from this number on are free."""
        return self._blocks.given

    # -- files
    def add_file(
        self,
        path: str,
        data: bytes | memoryview,
        *,
        thin: bool = False,
        shuffle: object = None,
        zeroed: Mapping[int, int] | None = None,
        stale: bytes = b"\xaa" * BLOCK,
    ) -> File:
        """thin: blocks of zeros are left out. shuffle: a seed by which the blocks are scattered. zeroed: slot -> bits
        of blocks that are to be zeroed (255: all of it), whose contents are `stale` instead."""
        if len(data) <= self.form.resident or len(data) <= self.form.pools[SUB_BLOCKS].size:
            return self._add_small(path, bytes(data))
        file = self.add_thin(path, len(data))
        view, zeroed = memoryview(data), zeroed or {}
        empty = bytes(BLOCK)
        used = [slot for slot in range(file.slots) if not (thin and view[slot * BLOCK :][:BLOCK] == empty)]
        numbers = [self._blocks.take() for _ in used]
        if shuffle is not None:
            random.Random(repr(shuffle)).shuffle(numbers)
        for slot, number in zip(used, numbers, strict=True):
            piece = view[slot * BLOCK :][:BLOCK]
            if slot in zeroed or piece != empty[: len(piece)]:
                self.luns.write(number * BLOCK, stale if slot in zeroed else piece)
            self._point(file, slot, self.form.file_block(number, zeroed.get(slot, 0)))
        file.zeroed = len(zeroed)
        self._put_descriptor(file)
        return file

    def add_thin(self, path: str, length: int) -> File:
        """An empty file; its blocks are allocated when they are written."""
        addressing = addressing_of(self.form, -(-length // BLOCK))
        return self._add(path, File(self._numbers.take(), REGULAR, length, addressing))

    def allocate(self, file: File) -> None:
        """Gives every hole a block of zeros, as an eagerly zeroed disk has."""
        for slot in range(file.slots):
            if slot not in file.addresses:
                self._point(file, slot, self.form.file_block(self._blocks.take()))
        self._count_blocks(file)

    def add_large(self, path: str, data: bytes | memoryview, unit: int = BLOCK) -> File:
        """VMFS-6: on blocks of 512 MiB. unit: the bytes an address stands for (BLOCK or LARGE_BLOCK)."""
        per = LARGE_BLOCK // BLOCK
        first = self._blocks.take_run(-(-len(data) // LARGE_BLOCK) * per, per)[0]
        file = File(self._numbers.take(), REGULAR, len(data), FILE_BLOCKS, unit)
        file.addressing = addressing_of(self.form, file.slots)
        view, empty = memoryview(data), bytes(BLOCK)
        for at in range(0, len(data), BLOCK):
            if view[at : at + BLOCK] != empty:
                self.luns.write(first * BLOCK + at, view[at : at + BLOCK])
        for slot in range(file.slots):
            self._point(file, slot, self.form.large_block((first * BLOCK + slot * unit) // LARGE_BLOCK))
        file.blocks = -(-len(data) // LARGE_BLOCK)
        return self._add(path, file)

    def _add_small(self, path: str, data: bytes) -> File:
        if len(data) <= self.form.resident:
            return self._add(path, File(self._numbers.take(), REGULAR, len(data), RESIDENT, resident=data))
        size = self.form.pools[SUB_BLOCKS].size
        file = File(self._numbers.take(), REGULAR, len(data), IN_SUB_BLOCKS, size)
        self._fill_sub_blocks(file, data)
        return self._add(path, file)

    def _add(self, path: str, file: File) -> File:
        if path in self.files:
            raise FileExistsError(path)
        parent = self._directory(path)
        self.files[path] = file
        self._put_descriptor(file)
        self._put_directory(parent)
        return file

    def _directory(self, path: str) -> str:
        """The directory that holds the path, made if need be."""
        parent = path.rpartition("/")[0]
        if parent not in self.files:
            sub_block = self.form.pools[SUB_BLOCKS].size
            self._add(parent, File(self._numbers.take(), DIRECTORY, 0, IN_SUB_BLOCKS, sub_block, links=2, mode=0o40755))
        return parent

    def remove(self, path: str) -> None:
        """A file, not a directory. Its blocks are cleared, as whoever gets them next expects zeros."""
        file = self.files.pop(path)
        self._put_directory(path.rpartition("/")[0])
        if file.addressing == IN_SUB_BLOCKS:
            self._items[SUB_BLOCKS].give_back(self.form.item_number(SUB_BLOCKS, a) for a in file.addresses.values())
        else:
            numbers = [self.form.block_number(address) for address in file.addresses.values()]
            for number in numbers:
                self.luns.clear(number * BLOCK, BLOCK)
            self._blocks.give_back(numbers)
        pool = self.form.pointer_pool
        self._items[pool].give_back(self.form.item_number(pool, address) for address in file.tables.values())
        self._numbers.give_back([file.number])

    # -- contents
    def write(self, file: File, offset: int, data: bytes | memoryview) -> None:
        """Allocates what was a hole."""
        view = memoryview(data)
        while view:
            slot, within = divmod(offset, BLOCK)
            piece, view = view[: BLOCK - within], view[BLOCK - within :]
            if slot in file.addresses:
                self.luns.write(self.form.block_number(file.addresses[slot]) * BLOCK + within, piece)
            else:
                number = self._blocks.take()
                self.luns.write(number * BLOCK + within, piece)
                self._point(file, slot, self.form.file_block(number))
                self._count_blocks(file)
            offset += len(piece)

    def read_into(self, file: File, offset: int, view: memoryview) -> None:
        while view:
            slot, within = divmod(offset, BLOCK)
            piece, view = view[: BLOCK - within], view[BLOCK - within :]
            address = file.addresses.get(slot)
            if address is None:
                piece[:] = bytes(len(piece))
            else:
                self.luns.read_into(self.form.block_number(address) * BLOCK + within, piece)
            offset += len(piece)

    def data(self, file: File) -> list[tuple[int, int]]:
        """(offset, length) of what may hold data, ascending: less than whole blocks where the LUN's file has holes."""
        found = []
        for slot, address in sorted(file.addresses.items()):
            start = self.form.block_number(address) * BLOCK
            length = min(BLOCK, file.length - slot * BLOCK)
            found += [(slot * BLOCK + at - start, count) for at, count in self.luns.data(start, length)]
        return found

    def resize(self, path: str, length: int) -> None:
        """Grows a thin file; OSError when its addresses would need another level."""
        file = self.files[path]
        if addressing_of(self.form, -(-length // BLOCK)) != file.addressing:
            self._relevel(file, length)
        file.length = length
        self._put_descriptor(file)

    def _relevel(self, file: File, length: int) -> None:
        """The tree of addresses is built anew with as many levels as the length needs."""
        pool = self.form.pointer_pool
        self._items[pool].give_back(self.form.item_number(pool, address) for address in file.tables.values())
        addresses, file.addresses, file.top, file.tables = file.addresses, {}, {}, {}
        file.addressing = addressing_of(self.form, -(-length // BLOCK))
        file.blocks = 0
        for slot, address in addresses.items():
            self._point(file, slot, address)

    # -- addresses
    def _point(self, file: File, slot: int, address: int) -> None:
        """Leads a slot of the file to a block, through pointer blocks that are made when they are needed."""
        span = self.form.pointers_per_block
        table = None  # the pointer block, by its offset; None: the descriptor
        for level in range(file.levels, 0, -1):
            first = slot // span**level
            known = file.tables.get((level, first))
            if known is None:
                pool = self.form.pointer_pool
                number = self._items[pool].take()
                self.luns.write(self._item_offset(pool, number), bytes(span * self.form.pointer_size))
                known = file.tables[level, first] = self.form.item(pool, number)
                self._put_address(file, table, first if level == file.levels else first % span, known)
            table = self._item_offset(self.form.pointer_pool, self.form.item_number(self.form.pointer_pool, known))
        self._put_address(file, table, slot % span if file.levels else slot, address)
        file.addresses[slot] = address
        file.blocks += 1

    def _put_address(self, file: File, table: int | None, index: int, address: int) -> None:
        if table is None:
            file.top[index] = address
            table = self.pointers_of(file.number)
        packed = struct.pack(f"<{self.form.pointer_code}", address)
        self.luns.write(table + index * self.form.pointer_size, packed)

    def _count_blocks(self, file: File) -> None:
        at = self._descriptor_offset(file.number) + self.form.alignment + BLOCKS_AT
        self.luns.write(at, struct.pack("<Q", file.blocks))

    def pointers_of(self, number: int) -> int:
        """Offset in the volume of the addresses in a descriptor."""
        return self._descriptor_offset(number) + pointers_at(self.form)

    # -- directories and descriptors
    def rewrite(self, path: str) -> None:
        """Puts a file's descriptor, and its directory's entry, as the `File` was changed."""
        self._put_descriptor(self.files[path])
        self._put_directory(path.rpartition("/")[0])

    def _put_descriptor(self, file: File) -> None:
        offset = self._descriptor_offset(file.number)
        self.luns.write(offset, descriptor(self.form, file, offset, self.luns.group.seconds))

    def _put_directory(self, path: str) -> None:
        file = self.files[path]
        above = self.files[path.rpartition("/")[0]]
        depth = len(path) + 1 if path else 0
        inside = {p[depth:]: f for p, f in self.files.items() if p and p[:depth] == (path and path + "/")}
        entries = [Entry(n, Form.descriptor(f.number), f.type) for n, f in inside.items() if "/" not in n]
        if not path:
            entries = [
                *(Entry(SYSTEM_NAMES[number], Form.descriptor(number), f.type) for number, f in self._system.items()),
                *entries,
            ]
        own, parent = Form.descriptor(file.number), Form.descriptor(above.number)
        data = contents(self.form, own, parent, entries, root=not path)
        file.length = len(data)
        if path:
            self._fill_sub_blocks(file, data)
        else:
            self._fill_blocks(file, data)
        self._put_descriptor(file)

    def _fill_sub_blocks(self, file: File, data: bytes) -> None:
        size = self.form.pools[SUB_BLOCKS].size
        for slot in range(-(-len(data) // size)):
            if slot not in file.addresses:
                self._point(file, slot, self.form.item(SUB_BLOCKS, self._items[SUB_BLOCKS].take()))
            number = self.form.item_number(SUB_BLOCKS, file.addresses[slot])
            self.luns.write(
                self._item_offset(SUB_BLOCKS, number), data[slot * size : (slot + 1) * size].ljust(size, b"\0")
            )

    def _fill_blocks(self, file: File, data: bytes) -> None:
        for slot in range(-(-len(data) // BLOCK)):
            if slot not in file.addresses:
                self._point(file, slot, self.form.file_block(self._blocks.take()))
            self.luns.write(self.form.block_number(file.addresses[slot]) * BLOCK, data[slot * BLOCK :][:BLOCK])

    # -- what was there before
    def _read_addresses(self, file: File) -> None:
        """The tree below a descriptor, as it is on the volume."""
        file.links, file.mode = (2, 0o40755) if file.type == DIRECTORY else (1, 0o600)
        start, size = self.pointers_of(file.number), self.form.pointer_size
        if file.addressing == RESIDENT:
            at = self._descriptor_offset(file.number) + self.form.alignment + 512
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
            offset = self._item_offset(self.form.pointer_pool, self.form.item_number(self.form.pointer_pool, address))
            self._descend(file, level - 1, position, self.luns.read(offset, span * self.form.pointer_size))

    def _pointers(self, table: bytes) -> dict[int, int]:
        found = struct.unpack(f"<{len(table) // self.form.pointer_size}{self.form.pointer_code}", table)
        return {index: address for index, address in enumerate(found) if address}

    def _restore_numbers(self) -> None:
        blocks: set[int] = set()
        items: dict[int, set[int]] = {pool: set() for pool in self.form.pools}
        for file in self.files.values():
            held = file.addresses.values()
            if file.addressing == IN_SUB_BLOCKS:
                items[SUB_BLOCKS] |= {self.form.item_number(SUB_BLOCKS, address) for address in held}
            else:
                blocks |= {self.form.block_number(address) for address in held}
            pool = self.form.pointer_pool
            items[pool] |= {self.form.item_number(pool, address) for address in file.tables.values()}
        self._blocks.restore(blocks, self._blocks.given)
        self._numbers.restore({file.number for file in self.files.values()}, _RESERVED_DESCRIPTORS)
        for pool, taken in items.items():
            self._items[pool].restore(taken, 0)

    # -- system files
    def _place_system_files(self) -> None:
        for pool in (DESCRIPTORS, *(pool for pool in self.form.pools if pool != DESCRIPTORS)):
            self._system_file(pool, self._pool_size(pool))
        self._system_file(HEARTBEATS, self.form.first_block * BLOCK, range(self.form.first_block))
        self._system_file(FILE_BLOCK_FILE, len(file_block_file(self.form, self._blocks)[1]))

    def _system_file(self, number: int, size: int, numbers: Iterable[int] = ()) -> None:
        file = self._system[number] = File(number, SYSTEM, size, FILE_BLOCKS)
        for slot, block in enumerate(numbers or self._blocks.take_run(file.slots)):
            file.top[slot] = file.addresses[slot] = self.form.file_block(block)
        file.blocks = file.slots

    def _pool_size(self, pool: int) -> int:
        items = self.form.pools[pool]
        return 0x10000 + items.clusters * self.form.cluster_header + items.capacity * items.size

    def flush(self) -> None:
        """The bitmaps and the superblock."""
        self.luns.write(0x200000, superblock(self.form, self.luns.group, self.label))
        for pool in self.form.pools:
            given = self._numbers.given if pool == DESCRIPTORS else self._items[pool].given
            for offset, block in bitmaps(self.form, pool, given, lambda at, pool=pool: self._in_system(pool, at)):
                self.luns.write(self._in_system(pool, offset), block)
        start, data = file_block_file(self.form, self._blocks)
        for at in range(start, len(data), BLOCK):
            self.luns.write(self._in_system(FILE_BLOCK_FILE, at), data[at : at + BLOCK])

    def _in_system(self, number: int, offset: int) -> int:
        """Offset in the volume of a byte of a system file."""
        return self.form.block_number(self._system[number].addresses[offset // BLOCK]) * BLOCK + offset % BLOCK

    def _item_offset(self, pool: int, number: int) -> int:
        items = self.form.pools[pool]
        return self._in_system(pool, 0x10000 + items.clusters * self.form.cluster_header + number * items.size)

    def _descriptor_offset(self, number: int) -> int:
        return self._item_offset(DESCRIPTORS, number)

    def close(self) -> None:
        self.luns.close()


def _group(luns: int, size: int, seed: object, seconds: int) -> lvm.Group:
    chance = random.Random(repr(seed))
    extents = (-(-size // (lvm.PHYSICAL_EXTENT * luns)),) * luns
    devices = tuple(chance.randbytes(16) for _ in range(luns))
    return lvm.Group(chance.randbytes(16), devices, extents, seconds)

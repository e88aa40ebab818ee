"""A VMFS volume that is written: formatted, files added and removed, blocks allocated while somebody reads it.

A block is written before the address that leads to it, and an address before the count of blocks, so that a reader of
the LUN never sees what is not there. Bitmaps of what is taken are brought up to date by `flush` only: no reader asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.lab.vmfs import lvm
from engine.lab.vmfs.directories import Entry, contents
from engine.lab.vmfs.files import (
    DIRECTORY,
    FILE_BLOCKS,
    REGULAR,
    RESIDENT,
    SUB_BLOCKS as IN_SUB_BLOCKS,
    File,
    addressing_of,
)
from engine.lab.vmfs.form import (
    BLOCK,
    LARGE_BLOCK,
    SUB_BLOCKS,
    SYSTEM_NAMES,
    Form,
    Version,
    form,
)
from engine.lab.vmfs.luns import Luns
from engine.lab.vmfs.space import Space


class Volume:
    """`uuid` as HostVmfsVolume has it. Paths are like "vm1/vm1-flat.vmdk". One thread at a time."""

    def __init__(self, luns: Luns, version: Version, label: str) -> None:
        self.luns, self.form, self.label = luns, form(version), label
        self.space = Space(luns, self.form)
        self.files: dict[str, File] = {"": File(0, DIRECTORY, 0, FILE_BLOCKS)}

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
        volume.space.place_system_files()
        for file in volume.space.system.values():
            volume.space.put_descriptor(file)
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
        volume.space.place_system_files()
        volume.files = {path: File(*facts) for path, facts in index["files"].items()}
        for file in volume.files.values():
            volume.space.read_addresses(file)
        volume.space.restore_numbers(volume.files.values())
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
        return self.space.blocks.given

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
        numbers = [self.space.blocks.take() for _ in used]
        if shuffle is not None:
            random.Random(repr(shuffle)).shuffle(numbers)
        for slot, number in zip(used, numbers, strict=True):
            piece = view[slot * BLOCK :][:BLOCK]
            if slot in zeroed or piece != empty[: len(piece)]:
                self.luns.write(number * BLOCK, stale if slot in zeroed else piece)
            self.space.point(file, slot, self.form.file_block(number, zeroed.get(slot, 0)))
        file.zeroed = len(zeroed)
        self.space.put_descriptor(file)
        return file

    def add_thin(self, path: str, length: int) -> File:
        """An empty file; its blocks are allocated when they are written."""
        addressing = addressing_of(self.form, -(-length // BLOCK))
        return self._add(path, File(self.space.numbers.take(), REGULAR, length, addressing))

    def allocate(self, file: File) -> None:
        """Gives every hole a block of zeros, as an eagerly zeroed disk has."""
        for slot in range(file.slots):
            if slot not in file.addresses:
                self.space.point(file, slot, self.form.file_block(self.space.blocks.take()))
        self.space.count_blocks(file)

    def add_large(self, path: str, data: bytes | memoryview, unit: int = BLOCK) -> File:
        """VMFS-6: on blocks of 512 MiB. unit: the bytes an address stands for (BLOCK or LARGE_BLOCK)."""
        per = LARGE_BLOCK // BLOCK
        first = self.space.blocks.take_run(-(-len(data) // LARGE_BLOCK) * per, per)[0]
        file = File(self.space.numbers.take(), REGULAR, len(data), FILE_BLOCKS, unit)
        file.addressing = addressing_of(self.form, file.slots)
        view, empty = memoryview(data), bytes(BLOCK)
        for at in range(0, len(data), BLOCK):
            if view[at : at + BLOCK] != empty:
                self.luns.write(first * BLOCK + at, view[at : at + BLOCK])
        for slot in range(file.slots):
            self.space.point(file, slot, self.form.large_block((first * BLOCK + slot * unit) // LARGE_BLOCK))
        file.blocks = -(-len(data) // LARGE_BLOCK)
        return self._add(path, file)

    def _add_small(self, path: str, data: bytes) -> File:
        if len(data) <= self.form.resident:
            return self._add(path, File(self.space.numbers.take(), REGULAR, len(data), RESIDENT, resident=data))
        size = self.form.pools[SUB_BLOCKS].size
        file = File(self.space.numbers.take(), REGULAR, len(data), IN_SUB_BLOCKS, size)
        self._fill_sub_blocks(file, data)
        return self._add(path, file)

    def _add(self, path: str, file: File) -> File:
        if path in self.files:
            raise FileExistsError(path)
        parent = self._directory(path)
        self.files[path] = file
        self.space.put_descriptor(file)
        self._put_directory(parent)
        return file

    def _directory(self, path: str) -> str:
        """The directory that holds the path, made if need be."""
        parent = path.rpartition("/")[0]
        if parent not in self.files:
            sub_block = self.form.pools[SUB_BLOCKS].size
            self._add(
                parent, File(self.space.numbers.take(), DIRECTORY, 0, IN_SUB_BLOCKS, sub_block, links=2, mode=0o40755)
            )
        return parent

    def remove(self, path: str) -> None:
        """A file, not a directory. Its blocks are cleared, as whoever gets them next expects zeros."""
        file = self.files.pop(path)
        self._put_directory(path.rpartition("/")[0])
        if file.addressing == IN_SUB_BLOCKS:
            self.space.items[SUB_BLOCKS].give_back(
                self.form.item_number(SUB_BLOCKS, a) for a in file.addresses.values()
            )
        else:
            numbers = [self.form.block_number(address) for address in file.addresses.values()]
            for number in numbers:
                self.luns.clear(number * BLOCK, BLOCK)
            self.space.blocks.give_back(numbers)
        self.space.drop_tables(file)
        self.space.numbers.give_back([file.number])

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
                number = self.space.blocks.take()
                self.luns.write(number * BLOCK + within, piece)
                self.space.point(file, slot, self.form.file_block(number))
                self.space.count_blocks(file)
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
        """Grows a thin file."""
        file = self.files[path]
        if addressing_of(self.form, -(-length // BLOCK)) != file.addressing:
            self._relevel(file, length)
        file.length = length
        self.space.put_descriptor(file)

    def _relevel(self, file: File, length: int) -> None:
        """The tree of addresses is built anew with as many levels as the length needs."""
        self.space.drop_tables(file)
        addresses, file.addresses, file.top, file.tables = file.addresses, {}, {}, {}
        file.addressing = addressing_of(self.form, -(-length // BLOCK))
        file.blocks = 0
        for slot, address in addresses.items():
            self.space.point(file, slot, address)

    # -- directories and descriptors
    def rewrite(self, path: str) -> None:
        """Puts a file's descriptor, and its directory's entry, as the `File` was changed."""
        self.space.put_descriptor(self.files[path])
        self._put_directory(path.rpartition("/")[0])

    def _put_directory(self, path: str) -> None:
        file = self.files[path]
        above = self.files[path.rpartition("/")[0]]
        depth = len(path) + 1 if path else 0
        inside = {p[depth:]: f for p, f in self.files.items() if p and p[:depth] == (path and path + "/")}
        entries = [Entry(n, Form.descriptor(f.number), f.type) for n, f in inside.items() if "/" not in n]
        if not path:
            entries = [
                *(
                    Entry(SYSTEM_NAMES[number], Form.descriptor(number), f.type)
                    for number, f in self.space.system.items()
                ),
                *entries,
            ]
        own, parent = Form.descriptor(file.number), Form.descriptor(above.number)
        data = contents(self.form, own, parent, entries, root=not path)
        file.length = len(data)
        if path:
            self._fill_sub_blocks(file, data)
        else:
            self._fill_blocks(file, data)
        self.space.put_descriptor(file)

    def _fill_sub_blocks(self, file: File, data: bytes) -> None:
        size = self.form.pools[SUB_BLOCKS].size
        for slot in range(-(-len(data) // size)):
            if slot not in file.addresses:
                self.space.point(file, slot, self.form.item(SUB_BLOCKS, self.space.items[SUB_BLOCKS].take()))
            number = self.form.item_number(SUB_BLOCKS, file.addresses[slot])
            self.luns.write(
                self.space.item_offset(SUB_BLOCKS, number), data[slot * size : (slot + 1) * size].ljust(size, b"\0")
            )

    def _fill_blocks(self, file: File, data: bytes) -> None:
        for slot in range(-(-len(data) // BLOCK)):
            if slot not in file.addresses:
                self.space.point(file, slot, self.form.file_block(self.space.blocks.take()))
            self.luns.write(self.form.block_number(file.addresses[slot]) * BLOCK, data[slot * BLOCK :][:BLOCK])

    def flush(self) -> None:
        """The bitmaps and the superblock."""
        self.space.flush(self.label)

    def close(self) -> None:
        self.luns.close()


def _group(luns: int, size: int, seed: object, seconds: int) -> lvm.Group:
    chance = random.Random(repr(seed))
    extents = (-(-size // (lvm.PHYSICAL_EXTENT * luns)),) * luns
    devices = tuple(chance.randbytes(16) for _ in range(luns))
    return lvm.Group(chance.randbytes(16), devices, extents, seconds)

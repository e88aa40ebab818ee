"""Files of a VMFS file system: descriptors by address, contents by offset. Reads no more than it is asked for.

Not for several threads. Every number from the volume is checked before it is used; recursion (a resource file whose own
pointer blocks lie in a resource file) is bounded.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import VmfsError
from engine.transport.vmfs import addresses, file_descriptor, resource_file, superblock
from engine.transport.vmfs.addresses import ALL_ZERO, AddressType, FileBlock, Resource
from engine.transport.vmfs.fields import number
from engine.transport.vmfs.file_descriptor import Addressing, FileDescriptor, FileType
from engine.transport.vmfs.lvm import LogicalVolume
from engine.transport.vmfs.resource_file import ResourceFile

ROOT = 0x00000004
_SYSTEM = {".fbb.sf": 1, ".fdc.sf": 2, ".pbc.sf": 3, ".sbc.sf": 4, ".pb2.sf": 6}  # item of the first cluster
_DEEPEST = 12
_POINTER_BLOCKS_KEPT = 32
LEVELS = {
    Addressing.FILE_BLOCKS: 0,
    Addressing.SUB_BLOCKS: 0,
    Addressing.POINTER_BLOCKS: 1,
    Addressing.SECOND_POINTER_BLOCKS: 1,
    Addressing.DOUBLE_POINTER_BLOCKS: 2,
}
"""Pointer blocks between the descriptor and a block. No version needs three: two reach past VMFS's largest file."""


class FileSystem:
    """`volume` is its logical volume, `superblock` its header."""

    def __init__(self, volume: LogicalVolume) -> None:
        self.volume = volume
        self.superblock = superblock.parse(volume.read(superblock.OFFSET, 512))
        self._depth = 0
        self._resources: dict[str, ResourceFile] = {}
        self._pointer_blocks: dict[int, array] = {}
        self.blocks_per_cluster = min(8192, (512 << 20) // self.superblock.block_size)  # what .fbb.sf itself goes by
        if self.superblock.vmfs6:
            self.blocks_per_cluster = self._small_blocks_per_cluster()

    # -- descriptors
    def descriptor(self, address: int) -> FileDescriptor:
        """Of a file, from .fdc.sf."""
        raw = self._item(".fdc.sf", addresses.descriptor(address))
        return file_descriptor.parse(address, raw[: self.superblock.descriptor_size], self.superblock)

    def _system_descriptor(self, name: str) -> FileDescriptor:
        """Found without .fdc.sf: the system files come first in its first cluster."""
        header, item = self.superblock, _SYSTEM[name]
        offset = header.descriptors_at + item * header.descriptor_size
        if name == ".pb2.sf" and not header.vmfs6 and not header.dense and header.second_pointer_file:
            offset = header.second_pointer_file
        raw = self.volume.read(offset, header.descriptor_size)
        address = AddressType.FILE_DESCRIPTOR | item << 22
        if name == ".pb2.sf" and not header.vmfs6:
            address = number("<I", raw, header.alignment, name)
        found = file_descriptor.parse(address, raw, header)
        if found.type != FileType.SYSTEM:
            raise VmfsError(f"{name} is not a system file.")
        return found

    def _small_blocks_per_cluster(self) -> int:
        """VMFS-6 counts small blocks in clusters, which .fbb.sf describes behind its large blocks."""
        name = ".fbb.sf"
        file = self._system_descriptor(name)
        child = number("<I", self.contents(file, 0, resource_file.HEADER_BYTES), 0x34, name)
        count = number("<I", self.contents(file, child, 4), 0, name)
        if not 0 < count <= 8192:
            raise VmfsError(f"{name} has clusters of {count} blocks.")
        return count

    # -- resources
    def _resource_file(self, name: str) -> ResourceFile:
        if name not in self._resources:
            header = self.superblock
            smallest = {".fdc.sf": header.descriptor_size, ".sbc.sf": header.sub_block_size}
            file = self._system_descriptor(name)
            self._resources[name] = resource_file.parse(
                name,
                file,
                self.contents(file, 0, resource_file.HEADER_BYTES),
                cluster_header=header.cluster_header,
                item_size=smallest.get(name, header.pointers_per_block * header.pointer_size),
                signed=header.vmfs6,
            )
        return self._resources[name]

    def _item(self, name: str, resource: Resource) -> bytes:
        with self._deeper():
            found = self._resource_file(name)
            return self.contents(found.descriptor, found.locate(resource), found.item_size)

    def sub_block_offset(self, address: int) -> int:
        """Where in the volume a sub-block lies."""
        with self._deeper():
            found = self._resource_file(".sbc.sf")
            offset = found.locate(addresses.sub_block(address, self.superblock))
            slot = self._slot(found.descriptor, offset)
            if not slot or slot & 7 == AddressType.SUB_BLOCK:
                raise VmfsError(".sbc.sf has no block for one of its sub-blocks.")
            return self.block_offset(self._plain(slot), found.descriptor, offset)

    def pointer_block(self, address: int) -> array:
        """The addresses that a pointer block holds. VMFS-6 keeps pointer blocks in sub-blocks or whole file blocks."""
        known = self._pointer_blocks.get(address)
        if known is not None:
            return known
        header, kind = self.superblock, address & 7
        size = header.pointers_per_block * header.pointer_size
        if kind == AddressType.SUB_BLOCK and header.vmfs6:
            raw = self._item(".sbc.sf", addresses.sub_block(address, header))
        elif kind == AddressType.POINTER_BLOCK:
            raw = self._item(".pbc.sf", addresses.pointer_block(address, header))
        elif kind == AddressType.SECOND_POINTER_BLOCK:
            raw = self._item(".pb2.sf", addresses.pointer_block(address, header))
        elif kind == AddressType.FILE_BLOCK and header.vmfs6:
            raw = self.volume.read(self._plain(address).number * header.block_size, size)
        else:
            raise VmfsError(f"Block address {address:#x} can't lead to a pointer block.")
        if len(raw) < size:
            raise VmfsError(f"The pointer block at {address:#x} is cut short.")
        if len(self._pointer_blocks) >= _POINTER_BLOCKS_KEPT:
            self._pointer_blocks.clear()
        found = self._pointer_blocks[address] = array(header.pointer_type, raw[:size])
        return found

    def _plain(self, address: int) -> FileBlock:
        """A block of metadata: never one that is to be zeroed."""
        block = addresses.file_block(address, self.superblock, self.blocks_per_cluster)
        if block.zeroed:
            raise VmfsError(f"Block address {address:#x} of metadata is to be zeroed.")
        return block

    # -- contents
    def contents(self, file: FileDescriptor, offset: int, length: int) -> bytes:
        """`length` bytes of a file; VmfsError when it is shorter."""
        if offset < 0 or offset + length > file.length:
            raise VmfsError(f"File {file.address:#x} has no {length} bytes at {offset:#x}.")
        if file.addressing == Addressing.RESIDENT:
            return file.resident[offset : offset + length]
        parts = []
        with self._deeper():
            while length:
                count = min(length, file.unit - offset % file.unit)
                parts.append(self._part(file, offset, count))
                offset, length = offset + count, length - count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, file: FileDescriptor, offset: int, count: int) -> bytes:
        address = self._slot(file, offset)
        if not address:
            return bytes(count)
        if address & 7 == AddressType.SUB_BLOCK:
            return self._item(".sbc.sf", addresses.sub_block(address, self.superblock))[offset % file.unit :][:count]
        block = addresses.file_block(address, self.superblock, self.blocks_per_cluster)
        if block.zeroed == ALL_ZERO:
            return bytes(count)
        if block.zeroed:
            raise partly_zeroed(address, offset)
        return self.volume.read(self.block_offset(block, file, offset), count)

    def block_offset(self, block: FileBlock, file: FileDescriptor, offset: int) -> int:
        """Where in the volume byte `offset` of the file lies, which is in this block."""
        size = self.superblock.large_block_size if block.large else self.superblock.block_size
        return block.number * size + offset % size

    def _slot(self, file: FileDescriptor, offset: int) -> int:
        """The address of the block with byte `offset` of the file; 0 for a hole."""
        index, span = offset // file.unit, self.superblock.pointers_per_block
        levels = LEVELS[file.addressing]
        first = index // span**levels
        if first >= len(file.pointers):
            raise VmfsError(f"File {file.address:#x} is longer than its addresses reach.")
        address = file.pointers[first]
        for level in reversed(range(levels)):
            if not address:
                return 0
            address = self.pointer_block(address)[index // span**level % span]
        return address

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        if self._depth >= _DEEPEST:
            raise VmfsError("The volume's system files lead in a circle.")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


def partly_zeroed(address: int, offset: int) -> VmfsError:
    return VmfsError(
        f"Part of the block at byte {offset:,} of the file is to be zeroed ({address:#x}): readers of the format "
        "disagree which."
    )

"""Block addresses: 32 bits up to VMFS-5, 64 bits in VMFS-6. The low three bits are the type.

Where the open readers of the format disagree, or know no meaning, an address is refused: copy-on-write blocks (one
reader takes the bit for "to be zeroed"), and bits that none of them knows.
"""

from enum import IntEnum
from typing import NamedTuple

from engine.errors import VmfsError
from engine.transport.vmfs.superblock import Superblock

ALL_ZERO = 0xFF
"""`zeroed` of a block that reads as zeros from end to end."""


class AddressType(IntEnum):
    FILE_BLOCK = 1
    SUB_BLOCK = 2
    POINTER_BLOCK = 3
    FILE_DESCRIPTOR = 4
    SECOND_POINTER_BLOCK = 5
    LARGE_FILE_BLOCK = 7


class FileBlock(NamedTuple):
    """`number` counts blocks of the file system's size, or large blocks (`large`) of theirs.

    `zeroed`: ALL_ZERO, 0 for plain data, or the bits of eighths that are to be zeroed."""

    number: int
    large: bool
    zeroed: int


class Resource(NamedTuple):
    """A numbered thing in a resource file."""

    cluster: int
    item: int


def file_block(address: int, superblock: Superblock, blocks_per_cluster: int) -> FileBlock:
    """`blocks_per_cluster`: of VMFS-6's small blocks. VmfsError for any other address, and for what is refused."""
    kind = address & 7
    if not superblock.vmfs6:
        _require(kind == AddressType.FILE_BLOCK and not address & 0x18, address)
        return FileBlock(address >> 6, False, ALL_ZERO if address & 0x20 else 0)
    zeroed = address >> 7 & 0xFF
    _require(not address & 0x78, address)
    if kind == AddressType.LARGE_FILE_BLOCK:
        _require(not address >> 46, address)
        return FileBlock(address >> 15 & 0x7FFFFFFF, True, zeroed)
    _require(kind == AddressType.FILE_BLOCK and not address >> 46 & 0x1F, address)
    item = address >> 51
    _require(item < blocks_per_cluster, address)
    return FileBlock((address >> 15 & 0x7FFFFFFF) * blocks_per_cluster + item, False, zeroed)


def sub_block(address: int, superblock: Superblock) -> Resource:
    if superblock.vmfs6:
        return _wide(address)
    _require(not address & 0x20 and (superblock.dense or not address & 0x18), address)
    high = (address & 0x18) << 1 if superblock.dense else 0
    return Resource(address >> 6 & 0x3FFFFF, address >> 28 | high)


def pointer_block(address: int, superblock: Superblock) -> Resource:
    if superblock.vmfs6:
        return _wide(address)
    _require(not address & 0x38, address)
    return Resource(address >> 6 & 0x3FFFFF, address >> 28)


def descriptor(address: int) -> Resource:
    """Of a file; the same in all versions."""
    _require(address & 7 == AddressType.FILE_DESCRIPTOR and not address & 0x38, address)
    return Resource(address >> 6 & 0xFFFF, address >> 22 & 0x3FF)


def _wide(address: int) -> Resource:
    _require(not address & 0x38 and not address >> 42 & 0x3FFF, address)
    return Resource(address >> 6 & 0xFFFFFFFFF, address >> 56)


def _require(known: bool, address: int) -> None:
    if not known:
        raise VmfsError(f"Block address {address:#x} has a meaning that is not certain.")

"""A file's descriptor: its length, and the addresses of its blocks or of the blocks that hold those."""

from array import array
from dataclasses import dataclass
from enum import IntEnum

from engine.errors import VmfsError
from engine.transport.vmfs.fields import number, unpack
from engine.transport.vmfs.superblock import Superblock

LARGEST_FILE = 64 << 40
_SIGNATURE = 0x66646D64  # "fdmd", VMFS-6


class FileType(IntEnum):
    DIRECTORY = 2
    REGULAR = 3
    SYMBOLIC_LINK = 4
    SYSTEM = 5
    RAW_DEVICE_MAP = 6


class Addressing(IntEnum):
    """What the addresses in the descriptor lead to ("zero level address type")."""

    FILE_BLOCKS = 1
    SUB_BLOCKS = 2
    POINTER_BLOCKS = 3
    SECOND_POINTER_BLOCKS = 5
    DOUBLE_POINTER_BLOCKS = 0x10D0
    RESIDENT = 0x10D1


@dataclass(frozen=True)
class FileDescriptor:
    """`length` in bytes; `unit` is the bytes of the file that each address stands for."""

    address: int
    type: FileType
    generation: int
    length: int
    unit: int
    blocks: int
    addressing: Addressing
    changed: int
    """Seconds since 1970."""
    pointers: array
    resident: bytes
    """The contents of a file that is small enough to lie in its descriptor."""

    @property
    def slots(self) -> int:
        return -(-self.length // self.unit)

    def fingerprint(self) -> tuple[int, ...]:
        """Differs when the file was written anew, grew, or had blocks allocated."""
        return (self.address, self.generation, self.length, self.blocks, *self.pointers)


def parse(address: int, raw: bytes, superblock: Superblock) -> FileDescriptor:
    """From `superblock.descriptor_size` bytes; VmfsError when they are not the descriptor of that address."""
    what, at = f"File descriptor {address:#x}", superblock.alignment
    stored, generation, _, kind, _ = unpack("<IIIII", raw, at, what)
    length, unit, blocks, changed = unpack("<QQQI", raw, at + 0x14, what)
    addressing = number("<I", raw, at + 0x44, what)
    if stored != address:
        raise VmfsError(f"{what} holds that of {stored:#x}: stale or damaged.")
    if superblock.vmfs6 and number("<I", raw, at + 0x64, what) != _SIGNATURE:
        raise VmfsError(f"{what} has no signature.")
    if kind not in FileType.__members__.values():
        raise VmfsError(f"{what} is of type {kind}, which is not known.")
    if addressing not in Addressing.__members__.values():
        raise VmfsError(f"{what} has addressing {addressing:#x}, which is not known.")
    if length > LARGEST_FILE:
        raise VmfsError(f"{what} claims {length:,} bytes; VMFS has no file that large.")
    resident = _resident(raw, superblock, length, what) if addressing == Addressing.RESIDENT else b""
    if addressing != Addressing.RESIDENT and length:
        _check_unit(unit, raw[at + 0x89], addressing, superblock, what)
    return FileDescriptor(
        address=address,
        type=FileType(kind),
        generation=generation,
        length=length,
        unit=unit or 1,
        blocks=blocks,
        addressing=Addressing(addressing),
        changed=changed,
        pointers=_pointers(raw, superblock),
        resident=resident,
    )


def _check_unit(unit: int, shift: int, addressing: int, superblock: Superblock, what: str) -> None:
    """Readers go by the block size or by its shift: they must tell the same. VMFS-3 wrote no shift."""
    if superblock.major >= 14 and unit != 1 << shift:
        raise VmfsError(f"{what} tells two block sizes: {unit:,} bytes, and 2 to the power of {shift}.")
    if addressing == Addressing.SUB_BLOCKS:
        known = unit == superblock.sub_block_size
    else:
        known = unit in (superblock.block_size, superblock.large_block_size)
    if not known:
        raise VmfsError(f"{what} has blocks of {unit:,} bytes, which the volume has not.")


def _pointers(raw: bytes, superblock: Superblock) -> array:
    if not superblock.vmfs6:
        found = array("I", raw[1024:2048])
    elif superblock.alignment <= 4096:
        found = array("Q", raw[superblock.descriptor_size - 2560 :])
    else:
        found = array("Q", raw[superblock.descriptor_size - superblock.alignment // 2 :])
    return found


def _resident(raw: bytes, superblock: Superblock, length: int, what: str) -> bytes:
    start = superblock.alignment + 512
    if start + length > superblock.descriptor_size:
        raise VmfsError(f"{what} claims {length:,} resident bytes, more than it has room for.")
    return raw[start : start + length]

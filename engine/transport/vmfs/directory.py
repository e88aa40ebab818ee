"""Names in a directory. Up to VMFS-5 a list of entries; in VMFS-6 blocks of entries that an allocation map tells of.

The hash table that VMFS-6 has for fast lookups is not used: a datastore's directories are small.
"""

from collections.abc import Iterator

from engine.errors import VmfsError
from engine.transport.vmfs.fields import number, unpack
from engine.transport.vmfs.file_descriptor import FileDescriptor, FileType
from engine.transport.vmfs.file_system import ROOT, FileSystem

_LARGEST = 64 << 20
_DEEPEST = 64
_ENTRY5, _NAME5 = 140, 128
_HEADER6 = 0x10000
_HEADER_VERSIONS6 = (0xF50001, 0xFDC001)
_MAPS6 = 128
_BLOCK_HEADER6, _ENTRY6, _NAME6 = 64, 288, 256
_BLOCK_OF_ENTRIES, _FREE, _NOT_WRITTEN = 1, 4, 8


def lookup(system: FileSystem, path: str) -> FileDescriptor:
    """The file at `vm1/vm1-flat.vmdk`, from the root of the datastore. VmfsError when nothing is there."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > _DEEPEST:
        raise VmfsError(f"{path} is too deep.")
    here = system.descriptor(ROOT)
    for part in parts:
        if here.type != FileType.DIRECTORY:
            raise VmfsError(f"The volume has no {path}: {part} would lie in a file.")
        wanted = part.encode()
        address = next((address for name, address in entries(system, here) if name == wanted), None)
        if address is None:
            raise VmfsError(f"The volume has no {path}.")
        here = system.descriptor(address)
    return here


def entries(system: FileSystem, directory: FileDescriptor) -> Iterator[tuple[bytes, int]]:
    """(name, address of its descriptor), `.` and `..` of VMFS-5 too."""
    if directory.length > _LARGEST:
        raise VmfsError(f"A directory of {directory.length:,} bytes is not plausible.")
    block = memoryview(system.contents(directory, 0, directory.length))
    return _entries6(block, system.superblock.alignment) if system.superblock.vmfs6 else _entries5(block)


def _entries5(block: memoryview) -> Iterator[tuple[bytes, int]]:
    for at in range(0, len(block) - _ENTRY5 + 1, _ENTRY5):
        address = number("<I", block, at + 4, "A directory entry")
        if address:
            yield _name(block[at + 12 : at + 12 + _NAME5]), address


def _entries6(block: memoryview, alignment: int) -> Iterator[tuple[bytes, int]]:
    what = "A directory"
    version, _, _, count = unpack("<IIII", block, 0, what)
    if version not in _HEADER_VERSIONS6 or count > _MAPS6:
        raise VmfsError(f"{what} has a header that is damaged.")
    per_map = 2 * (alignment - _BLOCK_HEADER6)
    for order, place in enumerate(unpack(f"<{count}I", block, 16, what)):
        start = _HEADER6 + place * alignment
        if start + alignment > len(block):
            raise VmfsError(f"{what} is shorter than its map of blocks.")
        for index, state in _states(block[start + _BLOCK_HEADER6 : start + alignment]):
            if state & 3 == _BLOCK_OF_ENTRIES and not state & (_FREE | _NOT_WRITTEN):
                yield from _block6(block, _HEADER6 + (order * per_map + index) * alignment, alignment)


def _states(states: memoryview) -> Iterator[tuple[int, int]]:
    for index, byte in enumerate(states):
        yield 2 * index, byte >> 4
        yield 2 * index + 1, byte & 15


def _block6(block: memoryview, start: int, alignment: int) -> Iterator[tuple[bytes, int]]:
    what = "A block of directory entries"
    slots = number("<H", block, start + 4, what)
    if slots > (alignment - _BLOCK_HEADER6) // _ENTRY6 or start + alignment > len(block):
        raise VmfsError(f"{what} is damaged.")
    for slot in range(slots):
        if block[start + 8 + slot // 8] >> slot % 8 & 1:
            continue
        at = start + _BLOCK_HEADER6 + slot * _ENTRY6
        address = number("<I", block, at + 4, what)
        if address:
            yield _name(block[at + 24 : at + 24 + _NAME6]), address


def _name(field: memoryview) -> bytes:
    return bytes(field).split(b"\0", 1)[0]

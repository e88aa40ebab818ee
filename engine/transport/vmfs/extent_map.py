"""From a file to where its bytes lie on the devices."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from engine.errors import VmfsError
from engine.transport.vmfs import addresses
from engine.transport.vmfs.addresses import ALL_ZERO, AddressType
from engine.transport.vmfs.file_descriptor import Addressing, FileDescriptor, FileType
from engine.transport.vmfs.file_system import LEVELS, FileSystem, partly_zeroed

Kind = Literal["data", "hole", "zero"]
_REFUSED_TYPES = {
    FileType.RAW_DEVICE_MAP: "It is a raw device mapping: the disk's bytes are not on the datastore.",
    FileType.DIRECTORY: "It is a directory.",
    FileType.SYMBOLIC_LINK: "It is a symbolic link.",
    FileType.SYSTEM: "It is a system file.",
}


class PhysicalExtent(NamedTuple):
    """`length` bytes of the file from byte `start`. Of kind "data" they lie on device `device` from its byte `offset`;
    a "hole" was never allocated and a "zero" is allocated but never written: both read as zeros, with device -1."""

    start: int
    length: int
    kind: Kind
    device: int = -1
    offset: int = 0


class _Run(NamedTuple):
    start: int
    length: int
    kind: Kind
    at: int
    """In the logical volume; of data only."""


def extent_map(system: FileSystem, file: FileDescriptor) -> list[PhysicalExtent]:
    """All of the file's bytes, in order. VmfsError for what is no plain file, or whose map is not certain."""
    if file.type != FileType.REGULAR:
        raise VmfsError(f"File {file.address:#x} can't be read. {_REFUSED_TYPES[file.type]}")
    if file.addressing == Addressing.RESIDENT:
        raise VmfsError(f"File {file.address:#x} lies in its own descriptor: no disk is that small.")
    runs = list(_joined(_runs(system, file)))
    _check_disjoint(runs)
    found: list[PhysicalExtent] = []
    for run in runs:
        if run.kind != "data":
            found.append(PhysicalExtent(run.start, run.length, run.kind))
            continue
        start = run.start
        for device, offset, length in system.volume.locate(run.at, run.length):
            found.append(PhysicalExtent(start, length, "data", device, offset))
            start += length
    return found


def _runs(system: FileSystem, file: FileDescriptor) -> Iterator[_Run]:
    """One for each address; runs of holes in one."""
    offset = 0
    for count, address in _addresses(system, file):
        length = min(count * file.unit, file.length - offset)
        yield _run(system, file, offset, length, address)
        offset += length


def _run(system: FileSystem, file: FileDescriptor, offset: int, length: int, address: int) -> _Run:
    if not address:
        return _Run(offset, length, "hole", -1)
    if address & 7 == AddressType.SUB_BLOCK:
        return _Run(offset, length, "data", system.sub_block_offset(address))
    block = addresses.file_block(address, system.superblock, system.blocks_per_cluster)
    if block.zeroed == ALL_ZERO:
        return _Run(offset, length, "zero", -1)
    if block.zeroed:
        raise partly_zeroed(address, offset)
    return _Run(offset, length, "data", system.block_offset(block, file, offset))


def _addresses(system: FileSystem, file: FileDescriptor) -> Iterator[tuple[int, int]]:
    """(slots, address), address 0 for that many slots of a hole."""
    levels = LEVELS[file.addressing]
    span = system.superblock.pointers_per_block
    if file.slots > len(file.pointers) * span**levels:
        raise VmfsError(f"File {file.address:#x} is longer than its addresses reach.")
    yield from _below(system, file.pointers, levels, file.slots, set())


def _below(
    system: FileSystem, pointers: Sequence[int], levels: int, slots: int, visited: set[int]
) -> Iterator[tuple[int, int]]:
    """`visited`: a pointer block that comes twice in one file is damage, and could come without end."""
    each = system.superblock.pointers_per_block**levels
    for address in pointers[: -(-slots // each)]:
        count = min(each, slots)
        slots -= count
        if not levels or not address:
            yield count, address
            continue
        if address in visited:
            raise VmfsError(f"The pointer block at {address:#x} comes twice in one file.")
        visited.add(address)
        yield from _below(system, system.pointer_block(address), levels - 1, count, visited)


def _joined(runs: Iterator[_Run]) -> Iterator[_Run]:
    last: _Run | None = None
    for run in runs:
        if last and last.kind == run.kind and (run.kind != "data" or last.at + last.length == run.at):
            last = last._replace(length=last.length + run.length)
            continue
        if last:
            yield last
        last = run
    if last:
        yield last


def _check_disjoint(runs: Sequence[_Run]) -> None:
    end = -1
    for run in sorted((run for run in runs if run.kind == "data"), key=lambda run: run.at):
        if run.at < end:
            raise VmfsError(f"The file has a block twice, at byte {run.start:,}: the volume is damaged.")
        end = run.at + run.length

"""Volumes to read: the lab's writer makes them, whose cases show everything a datastore's files can be made of."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.lab.vmfs.form import BLOCK, LARGE_BLOCK, Version
from engine.lab.vmfs.volume import Volume
from engine.transport.vmfs.volume import FileMap

FLAT = "a/b/vm1-flat.vmdk"
TEXT = b"# Disk DescriptorFile\n" * 20
NVRAM = random.Random("nvram").randbytes(8684)


class ImageDevice:
    """A LUN's image as the reader's device. `reads` counts them; one outside of the image fails the test."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = path.stat().st_size
        self.reads = self.bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        assert offset + length <= self.size, f"a read outside of the device: {length} bytes at {offset}"
        self.reads, self.bytes = self.reads + 1, self.bytes + length
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Case:
    """`fill` adds FLAT to a volume and returns what it must hold."""

    name: str
    fill: Callable[[Volume, random.Random], bytes]
    versions: tuple[Version, ...] = (3, 5, 6)
    size: int = 256 << 20


def make(
    directory: Path, case: Case, version: Version, luns: int, *, partitioned: bool = True
) -> tuple[list[Path], bytes]:
    """(the LUN images, what FLAT must hold)."""
    paths = [directory / f"lun{number}" for number in range(luns)]
    size = max(case.size, luns * (256 << 20))
    volume = Volume.create(paths, version=version, size=size, label="ds1", seed=case.name, partitioned=partitioned)
    if luns > 1:  # so that the file lies on both
        first = volume.luns.group.size // luns // BLOCK
        volume.allocate(volume.add_thin("filler", (first - volume.blocks_given - 20) * BLOCK))
    volume.add_file("a/b/vm1.vmdk", TEXT)
    volume.add_file("a/b/vm1.nvram", NVRAM)
    data = case.fill(volume, random.Random(case.name))
    volume.flush()
    volume.close()
    return paths, data


def contents(devices: Sequence[ImageDevice], found: FileMap) -> bytes:
    parts = []
    for extent in found.extents:
        data = extent.kind == "data"
        parts.append(devices[extent.device].read(extent.offset, extent.length) if data else bytes(extent.length))
    return b"".join(parts)


def _thick(volume: Volume, chance: random.Random) -> bytes:
    data = chance.randbytes(12 * BLOCK)
    volume.add_file(FLAT, data)
    return data


def _fragmented(volume: Volume, chance: random.Random) -> bytes:
    data = chance.randbytes(40 * BLOCK)
    volume.add_file(FLAT, data, shuffle="fragments")
    return data


def _thin(volume: Volume, chance: random.Random) -> bytes:
    data = b"".join(chance.randbytes(BLOCK) if n % 3 else bytes(BLOCK) for n in range(12)) + chance.randbytes(77 * 512)
    volume.add_file(FLAT, data, thin=True, shuffle="thin")
    return data


def _written_thin(volume: Volume, chance: random.Random) -> bytes:
    """As the lab's guest writes it: block by block, in no order."""
    data = bytearray(20 * BLOCK)
    file = volume.add_thin(FLAT, len(data))
    for _ in range(12):
        at, piece = chance.randrange(len(data) - 70000), chance.randbytes(70000)
        data[at : at + len(piece)] = piece
        volume.write(file, at, piece)
    return bytes(data)


def _lazy_zeroed(volume: Volume, chance: random.Random) -> bytes:
    data = bytearray(chance.randbytes(12 * BLOCK))
    for slot in (3, 4, 9):
        data[slot * BLOCK : (slot + 1) * BLOCK] = bytes(BLOCK)
    volume.add_file(FLAT, bytes(data), zeroed=dict.fromkeys((3, 4, 9), 255))
    return bytes(data)


def _pointer_blocks(volume: Volume, chance: random.Random) -> bytes:
    """Thick, so that every reader is right about it; more addresses than a descriptor has."""
    data = b"".join(chance.randbytes(BLOCK) if n % 31 == 0 else bytes(BLOCK) for n in range(340))
    volume.add_file(FLAT, data, shuffle="pointers")
    return data


def _large_blocks(unit: int) -> Callable[[Volume, random.Random], bytes]:
    def fill(volume: Volume, chance: random.Random) -> bytes:
        data = chance.randbytes(3 * BLOCK) + bytes(520 * BLOCK) + chance.randbytes(2 * BLOCK)
        volume.add_large(FLAT, data, unit)
        return data

    return fill


CASES = [
    Case("thick", _thick),
    Case("fragmented", _fragmented),
    Case("thin", _thin),
    Case("written thin", _written_thin),
    Case("lazy zeroed", _lazy_zeroed),
    Case("pointer blocks", _pointer_blocks, size=1 << 30),
    Case("large blocks, an address for each MiB", _large_blocks(BLOCK), (6,), 2 << 30),
    Case("large blocks, an address for each", _large_blocks(LARGE_BLOCK), (6,), 2 << 30),
]

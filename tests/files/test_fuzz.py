"""Damage at random in the metadata of genuine file systems: every file comes, or there is a word for why not."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import ImageError
from engine.extents import DiskSource
from engine.files.entry import FileSystem, Kind
from engine.files.unix_volume import ExtVolume, XfsVolume
from engine.files.walk import Remarks, Step, Walk
from engine.files.windows_volume import FatVolume, NtfsVolume
from tests.files import made
from tests.image.disks import KIB

Open = Callable[[DiskSource, CancelToken], FileSystem]
KINDS: dict[str, tuple[Open, Callable[[Path, Path], Path], list[tuple[int, int]]]] = {
    "ext": (ExtVolume, made.ext4, [(1 * KIB, 2 * KIB), (2 * KIB, 200 * KIB)]),
    "ntfs": (NtfsVolume, made.ntfs, [(0, 100 * KIB)]),
    "fat": (FatVolume, lambda path, source: made.fat(path, source, 16), [(0, 60 * KIB)]),
    "xfs": (XfsVolume, made.xfs, [(0, 4 * KIB), (32 * KIB, 600 * KIB)]),
}
"""How it is opened, made, and where its metadata lie (first byte, length)."""


class Patched:
    """The disk of an image, with other bytes in some places."""

    transport = "file"

    def __init__(self, image: Path) -> None:
        self._file = image.open("rb")
        self.capacity = image.stat().st_size
        self.patches: list[tuple[int, bytes]] = []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._file.seek(offset)
        self._file.readinto(buffer)
        for place, content in self.patches:
            first, last = max(place, offset), min(place + len(content), offset + len(buffer))
            if first < last:
                buffer[first - offset : last - offset] = content[first - place : last - place]

    def allocated(self) -> list[object]:
        return []

    def close(self) -> None:
        self._file.close()


def look(disk: Patched, opened: Open) -> int:
    """Reads everything; how many files there were."""
    system, count = opened(disk, CancelToken()), 0  # type: ignore[arg-type]
    for step, _, entry in Walk(system, system.root(), Remarks()):
        if step is Step.ENTRY and entry.kind is Kind.FILE:
            count += 1
            try:
                for extent in system.data(entry)[:3]:
                    system.read(entry, extent.start, min(extent.length, 100 * KIB))
            except ImageError:
                continue
    return count


def damage(disk: Patched, opened: Open, places: list[tuple[int, int]], seeds: range) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        disk.patches = []
        for _ in range(rng.choice([1, 1, 2, 5, 20])):
            start, length = rng.choice(places)
            size = rng.choice([1, 1, 2, 4, 8, 64])
            content = rng.choice([rng.randbytes(size), b"\xff" * size, bytes(size)])
            disk.patches.append((start + rng.randrange(length), content))
        with suppress(ImageError):
            look(disk, opened)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 1500), marks=pytest.mark.exhaustive)], ids=str)
def test_random_damage(tmp_path: Path, kind: str, seeds: range) -> None:
    opened, make, places = KINDS[kind]
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for number in range(8):
        (source / f"file-{number}").write_bytes(bytes([number]) * number * 3000)
    disk = Patched(make(tmp_path / "image", source))
    assert look(disk, opened) == 8
    damage(disk, opened, places, seeds)
    disk.close()

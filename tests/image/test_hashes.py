"""Grain hashes are those of the source's bytes, whichever way these come: judged by xxhash over the raw disk."""

import random
from array import array
from pathlib import Path
from typing import Any

import pytest
import xxhash

from engine.cancel import CancelToken
from engine.errors import ImageError
from engine.extents import Extent, aligned
from engine.image.descriptor import Parent
from engine.image.pipeline import ImageFormat
from engine.image.sparse_header import GRAIN, TABLE_ENTRIES, UNIT
from engine.image.stream_hashes import StreamHashes
from engine.image.stream_spool import take_in
from tests.image.disks import MIB, MemoryDisk, content, export_all, nobody, random_disk

FORMATS: tuple[ImageFormat, ...] = ("compact", "sparse", "flat")


class Kept(dict[int, int]):
    """Hashes by grain; a consumer for `hashes=`."""

    def __call__(self, unit: int, hashes: "array[int]") -> None:
        assert len(hashes) == TABLE_ENTRIES
        assert not self or unit > max(self) // TABLE_ENTRIES, "units ascend"
        self.update({unit * TABLE_ENTRIES + at: value for at, value in enumerate(hashes) if value})


def truth(disk: MemoryDisk, read: list[Extent]) -> dict[int, int]:
    data, result = content(disk), {}
    for extent in aligned(read, GRAIN, disk.capacity):
        for start in range(extent.start, extent.end, GRAIN):
            grain = data[start : start + GRAIN].ljust(GRAIN, b"\0")
            result[start // GRAIN] = xxhash.xxh3_64(grain).intdigest() if any(grain) else 1
    return result


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_of_what_is_read(tmp_path: Path, seed: int, kind: ImageFormat) -> None:
    disk, kept = random_disk(seed, random.Random(seed).randrange(1, 150_000) * 512, 30), Kept()
    image = export_all(disk, tmp_path / "d.vmdk", kind, hashes=kept)
    assert image.hashed
    assert kept == truth(disk, list(disk.allocated()))


def test_of_a_child(tmp_path: Path) -> None:
    disk, kept = random_disk(4, 100 * MIB, 60), Kept()
    changed = [Extent(512, 512), Extent(UNIT - 512, MIB), Extent(90 * MIB, 5 * MIB)]
    parent = Parent("12345678", "p.vmdk")
    export_all(disk, tmp_path / "d.vmdk", "compact", extents=changed, parent=parent, hashes=kept)
    assert kept == truth(disk, changed)


@pytest.mark.parametrize("kind", FORMATS)
def test_of_a_stream(tmp_path: Path, kind: ImageFormat) -> None:
    disk, kept = random_disk(9, 2 * UNIT + 37 * 512, 40), Kept()
    export_all(disk, tmp_path / "stream.vmdk", "compact")
    data = (tmp_path / "stream.vmdk").read_bytes()
    pieces = [data[at : at + 70_001] for at in range(0, len(data), 70_001)]
    image = take(pieces, tmp_path / "d.vmdk", kind, hashes=kept)
    assert image.hashed
    stored = {grain: value for grain, value in truth(disk, list(disk.allocated())).items() if value != 1}
    assert kept == stored, "grains of zeros are not in the stream"
    assert not take(pieces, tmp_path / "e.vmdk", kind).hashed


def test_a_stream_that_is_not_for_lists() -> None:
    for grains in ([(GRAIN, GRAIN), (0, GRAIN)], [(0, GRAIN), (0, GRAIN)], [(0, GRAIN // 2)]):
        kept = Kept()
        hashes = StreamHashes(kept)
        for offset, size in grains:
            hashes.take(offset, b"x" * size, size)
        hashes.finish()
        assert not hashes.complete


def test_damage_inside_a_grain_of_a_kept_stream_is_noticed(tmp_path: Path) -> None:
    export_all(MemoryDisk(MIB, [(0, b"disk" * 40_000)]), tmp_path / "stream.vmdk", "compact")
    data = bytearray((tmp_path / "stream.vmdk").read_bytes())
    data[GRAIN + 40] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        take([bytes(data)], tmp_path / "d.vmdk", "compact", hashes=Kept())


def take(chunks: Any, target: Path, kind: ImageFormat, **more: Any) -> Any:
    return take_in(chunks, target, format=kind, cancel=CancelToken(), progress=nobody, **more)

"""Damaged volumes: every one ends in a VmfsError or in a map that is possible; never in a crash, an endless loop, or a
read outside of the device. 90 damages and 45 flipped bits in a default run; with the
`endurance` tests 9,000 damages and 1,900 flipped bits, of volumes of all three versions."""

import contextlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from engine.errors import VmfsError
from engine.lab.vmfs.form import BLOCK, Version
from engine.lab.vmfs.volume import Volume
from engine.transport.vmfs.partitions import vmfs_partitions
from engine.transport.vmfs.volume import open_volume
from tests.vmfs.damaged import Damaged, Image, image_of
from tests.vmfs.volumes import FLAT, TEXT

INTERESTING = (0, 1, 2, 3, 5, 7, 0x7F, 0x80, 0xFF, 0x10)


@pytest.fixture(scope="module", params=[3, 5, 6])
def volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """With every structure: pointer blocks of two levels, sub-blocks, resident files, many names, a GPT."""
    version: Version = request.param
    path = tmp_path_factory.mktemp("vmfs") / "lun"
    made = Volume.create([path], version=version, size=256 << 20, label="ds1", seed=version)
    for number in range(20):
        made.add_file(f"vm{number}/vm.vmdk", TEXT)
    file = made.add_thin(FLAT, 3 << 40 if version == 6 else 300 << 30)
    for slot in (0, 1, 5, 1000, 9000):
        made.write(file, slot * BLOCK, b"data")
    made.flush()
    made.close()
    return image_of(path)


def _look(device: Damaged) -> None:
    """As a backup does."""
    try:
        opened = open_volume([device])
        found = opened.extent_map(FLAT)
        opened.read_small("vm7/vm.vmdk")
    except VmfsError:
        return
    at = 0
    for extent in found.extents:
        assert extent.start == at
        assert extent.length > 0
        at += extent.length
        if extent.kind == "data":
            assert extent.device == 0
            assert extent.offset >= 0
            assert extent.offset + extent.length <= device.size
    assert at == found.length


def _live(image: dict[int, bytes], size: int) -> list[tuple[int, int]]:
    """What a backup reads of the undamaged volume."""
    device = Damaged(image, size)
    _look(device)
    return sorted(set(device.ranges))


def _patches(chance: random.Random, live: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """One to four bytes, in structures that are read, more often at their beginning."""
    offset, length = chance.choice(live)
    start = offset + chance.randrange(min(length, chance.choice((64, 512, length))))
    for at in range(start, min(start + chance.choice((1, 1, 2, 4)), offset + length)):
        yield at, chance.choice((chance.randrange(256), chance.choice(INTERESTING)))


def _fuzz(image: dict[int, bytes], size: int, seed: int, rounds: int) -> None:
    chance, live = random.Random(seed), _live(image, size)
    for _ in range(rounds):
        device = Damaged(image, size)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            device.patches.update(_patches(chance, live))
        _look(device)


def test_damaged_metadata(volume: Image) -> None:
    _fuzz(*volume, seed=1, rounds=30)


@pytest.mark.endurance
@pytest.mark.timeout(900)
def test_damaged_metadata_many_times(volume: Image) -> None:
    _fuzz(*volume, seed=2, rounds=3_000)


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.endurance)])
def test_flipped_bits_of_the_superblock_and_the_lvm_header(volume: Image, step: int) -> None:
    image, size = volume
    data = 0x1100000 + (1 << 20)  # the volume's first byte, behind the partition's start
    places = [*range(data + 0x200000, data + 0x200000 + 0x140), *range(2 << 20, (2 << 20) + 0xD2)]
    for turn, at in enumerate(places[::step]):
        bit = turn % 8
        device = Damaged(image, size)
        device.patches[at] = device.read(at, 1)[0] ^ 1 << bit
        _look(device)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=512, max_size=2048), st.booleans())
def test_any_bytes_for_a_partition_table(data: bytes, signed: bool) -> None:
    content = data.ljust(65536, b"\0")
    if signed:
        content = content[:510] + b"\x55\xaa" + b"EFI PART" + content[520:]
    device = Damaged({0: content}, 1 << 30)
    with contextlib.suppress(VmfsError):
        for region in (vmfs_partitions(device) or {}).values():
            assert region.start + region.length <= device.size


def test_a_device_of_nothing_but_zeros_or_of_no_size() -> None:
    for size in (0, 511, 8192, 1 << 30):
        with pytest.raises(VmfsError):
            open_volume([Damaged({}, size)])
    with pytest.raises(VmfsError):
        open_volume([])

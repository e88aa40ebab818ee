"""Lists of grain hashes: what was written reads back, and nothing else is taken for a list."""

import hashlib
import random
import struct
from array import array
from pathlib import Path

import pytest

from engine.errors import ImageError, TargetError
from engine.points.grain_hashes import GRAIN, UNIT_GRAINS, UNLISTED, ZEROS, ChainHashes, GrainHashes, GrainHashWriter

UNIT = GRAIN * UNIT_GRAINS
CAPACITY = 10 * UNIT + 512


def entries(**known: int) -> "array[int]":
    """A unit's entries, `g7=1` for grain 7 of it."""
    unit = array("Q", bytes(8 * UNIT_GRAINS))
    for name, value in known.items():
        unit[int(name[1:])] = value
    return unit


def write(path: Path, units: dict[int, "array[int]"], capacity: int = CAPACITY) -> Path:
    writer = GrainHashWriter(path, capacity)
    for number, each in units.items():
        writer.add(number, each)
    done = writer.finish()
    data = path.read_bytes()
    assert (done.name, done.size, done.sha256) == (path.name, len(data), hashlib.sha256(data).hexdigest())
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    rng = random.Random(3)
    units = {n: array("Q", [rng.getrandbits(64) for _ in range(UNIT_GRAINS)]) for n in (0, 3, 10)}
    hashes = GrainHashes(write(tmp_path / "a.grains", units), CAPACITY)
    assert list(hashes.units()) == [0, 3, 10]
    for number in range(11):
        assert hashes.unit(number) == units.get(number, entries())
    for grain in rng.sample(range(11 * UNIT_GRAINS), 500):
        expected = units[grain // UNIT_GRAINS][grain % UNIT_GRAINS] if grain // UNIT_GRAINS in units else UNLISTED
        assert hashes.of(grain) == expected
    hashes.close()


def test_the_layout_is_as_documented(tmp_path: Path) -> None:
    data = write(tmp_path / "a.grains", {2: entries(g0=ZEROS, g511=0xDEADBEEF)}).read_bytes()
    assert data[:8] == b"VCBGRAIN"
    assert struct.unpack_from("<IIQQQ", data, 8) == (1, 1, 65536, CAPACITY, 10 * 512 + 1)
    assert len(data) == 64 + 4104
    assert struct.unpack_from("<QQ", data, 64) == (2, 1)
    assert struct.unpack_from("<Q", data, 64 + 4096)[0] == 0xDEADBEEF


def test_a_chain_answers_from_its_newest_list_and_ends_in_zeros(tmp_path: Path) -> None:
    full = GrainHashes(write(tmp_path / "0.grains", {0: entries(g1=11, g2=12, g3=13)}), CAPACITY)
    child = GrainHashes(write(tmp_path / "1.grains", {0: entries(g2=22), 4: entries(g0=99)}), CAPACITY)
    newest = GrainHashes(write(tmp_path / "2.grains", {0: entries(g3=ZEROS)}), CAPACITY)
    chain = ChainHashes([newest, child, full])
    assert [chain.of(grain) for grain in (0, 1, 2, 3, 4 * UNIT_GRAINS)] == [ZEROS, 11, 22, ZEROS, 99]
    chain.close()


def test_a_disk_that_nothing_was_read_of(tmp_path: Path) -> None:
    for capacity in (0, 512, CAPACITY):
        hashes = GrainHashes(write(tmp_path / "a.grains", {}, capacity), capacity)
        assert hashes.of(0) == UNLISTED
        hashes.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:40],
        lambda data: b"",
        lambda data: b"VCBGRAIM" + data[8:],
        lambda data: data[:8] + b"\x02" + data[9:],
        lambda data: data + data[64:],
        lambda data: data[:64] + b"\xff" * 8 + data[72:],
    ],
    ids=["cut", "header cut", "empty", "magic", "version", "twice", "unit beyond the disk"],
)
def test_damage_is_told(tmp_path: Path, damage) -> None:
    path = write(tmp_path / "a.grains", {1: entries(g1=5), 2: entries()})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ImageError, match=r"a\.grains"):
        GrainHashes(path, CAPACITY)


def test_a_list_of_another_disk_or_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.grains", {})
    with pytest.raises(ImageError, match="no list"):
        GrainHashes(path, CAPACITY + 512)
    with pytest.raises(ImageError, match="can't be read"):
        GrainHashes(tmp_path / "b.grains", CAPACITY)


def test_an_aborted_list_is_gone_and_the_medium_speaks(tmp_path: Path) -> None:
    writer = GrainHashWriter(tmp_path / "a.grains", CAPACITY)
    writer.abort()
    writer.abort()
    assert not list(tmp_path.iterdir())
    with pytest.raises(TargetError):
        GrainHashWriter(tmp_path / "nowhere" / "a.grains", CAPACITY)


def test_units_come_in_order(tmp_path: Path) -> None:
    writer = GrainHashWriter(tmp_path / "a.grains", CAPACITY)
    writer.add(3, entries())
    for wrong in ((3, entries()), (2, entries()), (4, array("Q", [1]))):
        with pytest.raises(ValueError, match="after unit 3"):
            writer.add(*wrong)
    writer.abort()

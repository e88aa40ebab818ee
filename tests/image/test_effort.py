"""Compression follows what the cores can do: harder while they wait, fast while they are what holds it up."""

import argparse
import inspect
import random
import sys
import threading
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from engine.image.crew import READ_AHEAD
from engine.image.effort import FALL_ABOVE, FAST, LEVELS, WINDOW, Effort, levels, shrinks, stored
from engine.image.sparse_header import GRAIN, UNIT
from engine.image.units import READ
from tests.image.disks import KIB, MemoryDisk, export_all, run
from tests.tools import require_tool

CORES = 2


class Machine:
    """An export as `Effort` sees it: data that would take the fast level `demand` of the cores."""

    def __init__(self, effort: Effort) -> None:
        self.effort, self.now, self.worked, self.read = effort, 0.0, 0.0, 0.0

    def passes(self, windows: int, demand: float) -> list[str]:
        seen: list[str] = []
        for _ in range(windows * 2):
            level = self.effort.level
            self.effort.observe(self.now, self.worked, CORES, int(self.read))
            self.now += WINDOW / 2
            self.worked += min(1.0, demand * level.cost) * CORES * WINDOW / 2
            self.read += 1e6 * min(1.0, 1 / (demand * level.cost))
            seen.append(level.name)
        return seen


def test_the_harder_levels_are_zlibs_where_libdeflate_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deflate", None)
    assert [level.name for level in levels()] == [FAST.name, "zlib 4", "zlib 6"]
    monkeypatch.undo()
    data = bytes(range(256)) * 256
    for level in levels():
        assert zlib.decompress(level.compress(memoryview(data))) == data


def test_busy_cores_keep_the_fast_level() -> None:
    assert set(Machine(Effort()).passes(50, 0.9)) == {FAST.name}


def test_idle_cores_get_the_strongest_level() -> None:
    assert Machine(Effort()).passes(20, 0.01)[-1] == LEVELS[-1].name


def test_a_source_between_two_levels_does_not_swing() -> None:
    """At this demand the level after the one that is right would take nearly all of the cores."""
    demand = 0.9 * FALL_ABOVE / LEVELS[1].cost
    seen = Machine(Effort()).passes(200, demand)
    assert len({before for before, after in pairwise(seen) if before != after}) <= 2
    assert LEVELS[-1].name not in seen


def test_a_source_that_grows_fast_gets_the_fast_level_back() -> None:
    machine = Machine(Effort())
    machine.passes(20, 0.01)
    assert machine.passes(20, 0.9)[-1] == FAST.name


@pytest.mark.parametrize("demand", [0.001, 0.005, 0.01, 0.03, 0.06, 0.09, 0.12, 0.2, 0.5, 0.8])
def test_a_slow_source_costs_no_time(demand: float) -> None:
    """Whatever share of the cores the fast level takes: in 200 seconds at most 3 % less is read than could be."""
    machine = Machine(Effort())
    machine.passes(400, demand)
    assert machine.read >= 0.97 * 400 * 2 * 1e6


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.5, 2.0])
def test_a_source_of_long_answers_is_not_read_by_fewer(seconds: float) -> None:
    """Reads of 2 MiB take `seconds` each, however many there are; a thread that encodes asks for nothing meanwhile."""
    effort, threads, encoding = Effort(), CORES + READ_AHEAD, 2 / 278
    now = worked = read = 0.0
    while now < 300:
        effort.observe(now, worked, CORES, int(read))
        cycle = max(seconds + encoding * effort.level.cost, threads * encoding * effort.level.cost / CORES)
        reads = threads * WINDOW / 2 / cycle
        now, worked, read = now + WINDOW / 2, worked + reads * encoding * effort.level.cost, read + reads * READ
    best = 300 * threads * READ / max(seconds + encoding, threads * encoding / CORES)
    assert read >= 0.92 * best


class SlowDisk(MemoryDisk):
    """Each read takes as long as on a slow link: until the given time has passed on it."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        super().read_into(offset, buffer)
        threading.Event().wait(0.05)


def test_a_slow_source_gives_a_smaller_image_of_the_same_disk(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    text = inspect.getsource(argparse).encode()[: 64 * KIB] + inspect.getsource(inspect).encode()[: 64 * KIB]
    pieces = [(unit * UNIT, text) for unit in range(160)]
    fast, slow = MemoryDisk(160 * UNIT, pieces), SlowDisk(160 * UNIT, pieces)
    quick = export_all(fast, tmp_path / "fast.vmdk", "compact")
    harder = export_all(slow, tmp_path / "slow.vmdk", "compact")
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "slow.vmdk")
    run(qemu_img, "compare", "-f", "vmdk", "-F", "vmdk", tmp_path / "fast.vmdk", tmp_path / "slow.vmdk")
    assert next(iter(quick.levels)) == FAST.name
    assert len(harder.levels) > 1
    assert abs(sum(harder.levels.values()) - 1) < 1e-9
    assert harder.stored < quick.stored


def test_a_flat_image_has_no_level(tmp_path: Path) -> None:
    assert export_all(MemoryDisk(UNIT, [(0, b"x")]), tmp_path / "disk.vmdk", "flat").levels == {}


@pytest.mark.parametrize("size", [1, 65534, 65535, 65536, 3 * 65536])
def test_what_does_not_shrink_is_stored_in_standard_framing(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert zlib.decompress(stored(memoryview(data))) == data


def test_runs_of_random_data_are_stored_and_text_behind_them_is_compressed(tmp_path: Path) -> None:
    """Only the first grain of a run is tried whole; the image is a few bytes a grain larger than its content."""
    qemu_img = require_tool("qemu-img")
    noise, text = random.Random(1).randbytes(8 * GRAIN), (inspect.getsource(argparse).encode() * 4)[: 4 * GRAIN]
    assert not shrinks(memoryview(noise)[:GRAIN])
    assert shrinks(memoryview(text)[:GRAIN])
    whole = noise + text + noise
    raw = tmp_path / "disk.raw"
    raw.write_bytes(whole)
    image = export_all(MemoryDisk(len(whole), [(0, whole)]), tmp_path / "disk.vmdk", "compact")
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "disk.vmdk")
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "disk.vmdk")
    packed = sum(-(-len(FAST.compress(text[at : at + GRAIN])) // 512 + 1) for at in range(0, len(text), GRAIN)) * 512
    assert image.stored < 2 * len(noise) + 16 * 1024 + packed + 100 * KIB

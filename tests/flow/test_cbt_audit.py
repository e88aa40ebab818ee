"""The audit's sample: only what CBT calls unchanged, all of it reachable, and a lie found as often as chance says."""

import random

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled
from engine.extents import Extent, aligned, difference, intersection, total
from engine.flow.allocated_source import AllocatedOnly
from engine.flow.cbt_audit import audit, sample_size
from engine.image.sparse_header import GRAIN
from engine.image.units import ZERO_HASH, grain_hash
from tests.image.disks import MIB, MemoryDisk, content, random_disk


class Known:
    """What a disk's grains hash to."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._data = content(disk)

    def of(self, grain: int) -> int:
        data = self._data[grain * GRAIN : (grain + 1) * GRAIN].ljust(GRAIN, b"\0")
        return grain_hash(data) if any(data) else ZERO_HASH


def run(disk, unchanged, known, *, share=1.0, limit=1 << 40, seed=1):
    return audit(disk, unchanged, known, share=share, limit=limit, cancel=CancelToken(), chance=random.Random(seed))


def test_all_of_it_finds_every_difference_and_nothing_else():
    before = random_disk(5, 40 * MIB + 512, 60)
    now = MemoryDisk(before.capacity, [*before.pieces, (3 * GRAIN + 512, b"lie"), (40 * MIB, b"\7" * 512)])
    unchanged = [Extent(0, 10 * GRAIN), Extent(20 * GRAIN, GRAIN), Extent(40 * MIB - GRAIN, GRAIN + 512)]
    found = run(now, unchanged, Known(before))
    assert found.differing == (3 * GRAIN, 40 * MIB)
    assert found.read == total(unchanged) == total(now.reads)
    assert not difference(aligned(now.reads, 1, now.capacity), unchanged), "only what is called unchanged is read"
    assert run(before, unchanged, Known(before)).differing == ()


def test_every_grain_can_be_chosen():
    disk, known = MemoryDisk(4 * MIB), Known(MemoryDisk(4 * MIB))
    unchanged = [Extent(GRAIN, GRAIN), Extent(5 * GRAIN, 3 * GRAIN), Extent(20 * GRAIN, GRAIN)]
    for seed in range(60):
        run(disk, unchanged, known, share=0.01, seed=seed)
    assert {read.start // GRAIN for read in disk.reads} == {1, 5, 6, 7, 20}


@pytest.mark.parametrize(
    ("grains", "share", "limit", "size"),
    [(0, 1, 1 << 40, 0), (1, 0.005, 1 << 28, 1), (1000, 0.005, 1 << 28, 5), (1001, 0.005, 1 << 28, 6),
     (1 << 24, 0.005, 256 * MIB, 4096), (100, 0, 1 << 28, 0), (100, 1, GRAIN, 1)],
)  # fmt: skip
def test_the_share_is_rounded_up_and_limited(grains, share, limit, size):
    assert sample_size(grains, share, limit) == size


def test_a_lie_is_found_as_often_as_chance_says():
    """1 - (1 - k/N)^n with k/N = 0.05 and n = 32: 80.6 %."""
    before, pieces = MemoryDisk(40 * MIB), [(at * 20 * GRAIN, b"lie") for at in range(32)]
    known = Known(before)
    caught = sum(
        bool(run(MemoryDisk(40 * MIB, pieces), [Extent(0, 40 * MIB)], known, share=0.05, seed=seed).differing)
        for seed in range(200)
    )
    assert 0.70 <= caught / 200 <= 0.90


def test_a_cancel_ends_it():
    cancel = CancelToken()
    cancel.cancel()
    disk = MemoryDisk(MIB)
    with pytest.raises(Cancelled):
        audit(disk, [Extent(0, MIB)], Known(disk), share=1, limit=MIB, cancel=cancel)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_allocated_is_zeros_without_asking(seed):
    disk = random_disk(seed, 8 * MIB, 20)
    allocated = aligned(disk.allocated(), GRAIN, disk.capacity)[::2]
    truth = bytearray(disk.capacity)
    for extent in allocated:
        truth[extent.start : extent.end] = content(disk)[extent.start : extent.end]
    disk.reads.clear()
    source, rng = AllocatedOnly(disk, allocated), random.Random(seed)
    asked = 0
    for _ in range(50):
        offset = rng.randrange(0, disk.capacity - 512, 512)
        buffer = bytearray(rng.randrange(512, min(2 * MIB, disk.capacity - offset) + 1, 512))
        source.read_into(offset, memoryview(buffer))
        assert buffer == truth[offset : offset + len(buffer)]
        asked += len(buffer)
    assert all(intersection([read], allocated) == [read] for read in disk.reads)
    assert source.unread == asked - total(disk.reads)


@pytest.mark.parametrize("seed", range(20))
def test_difference_against_sets(seed):
    rng = random.Random(seed)

    def some() -> list[Extent]:
        points = sorted(rng.sample(range(200), 2 * rng.randrange(8)))
        return [Extent(a, b - a) for a, b in zip(points[::2], points[1::2], strict=True)]

    left, right = some(), some()
    expected = {n for e in left for n in range(e.start, e.end)} - {n for e in right for n in range(e.start, e.end)}
    found = difference(left, right)
    assert {n for e in found for n in range(e.start, e.end)} == expected
    assert total(found) == len(expected)

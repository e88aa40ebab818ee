"""Disks: chains of layers against an independent byte array, block maps against sets, files against qemu-img."""

import json
import random
import subprocess
import threading
from pathlib import Path

import pytest

from engine.lab.bitmap import PAGE, BlockMap
from engine.lab.disks import READERS_PATIENCE, Disk, MergeBlocked, Place
from engine.lab.layers import Layer
from tests.lab.model import BLOCK, MIB, bad_day, end, make_vm, model
from tests.tools import require_tool


class Store:
    """What a disk wants of a datastore."""

    def __init__(self, root: Path) -> None:
        self.root, self.props = root, {"name": "ds1"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(Store(tmp_path), "web01")


@pytest.mark.parametrize("seed", range(5))
def test_a_block_map_is_a_set(seed: int) -> None:
    source, blocks, truth = random.Random(seed), BlockMap(), set[int]()
    for _ in range(60):
        first = source.randrange(3 * PAGE)
        stop = first + source.choice([1, 3, 100, PAGE + 5])
        if source.random() < 0.7:
            blocks.add(first, stop)
            truth |= set(range(first, stop))
        else:
            blocks.discard(first, stop)
            truth -= set(range(first, stop))
    low, high = sorted(source.sample(range(3 * PAGE), 2))
    assert [n for first, stop in blocks.runs() for n in range(first, stop)] == sorted(truth)
    assert [n for a, b in blocks.runs(low, high) for n in range(a, b)] == sorted(n for n in truth if low <= n < high)
    assert all(a[1] < b[0] for a, b in zip(list(blocks.runs())[:-1], list(blocks.runs())[1:], strict=True)), "maximal"
    assert len(blocks) == len(truth)
    assert all((n in blocks) == (n in truth) for n in range(low, min(high, low + 500)))
    assert list(BlockMap.from_text(blocks.to_text()).runs()) == list(blocks.runs())


def test_a_block_map_of_a_tebibyte_costs_what_is_set() -> None:
    blocks = BlockMap()
    blocks.add(1 << 24, (1 << 24) + 2)
    assert list(blocks.runs()) == [(1 << 24, (1 << 24) + 2)]
    assert len(blocks.to_text()) < 200


@pytest.mark.parametrize("capacity", [5 * MIB, 3 * MIB + 512])
@pytest.mark.parametrize("seed", range(4))
def test_any_history_reads_like_a_byte_array(place: Place, capacity: int, seed: int) -> None:
    """Random writes, snapshots, reverts (branches) and removals in any order; every image stays what it was."""
    source, disk = random.Random(seed), Disk(place, "web01", capacity)
    now = bytearray(capacity)
    frozen: list[tuple[Layer, bytes]] = []
    for _ in range(120):
        action = source.choice(["write"] * 5 + ["freeze", "remove", "revert", "read"])
        if action == "write":
            offset, data = bad_day(source, capacity)
            disk.write(offset, data)
            now[offset : offset + len(data)] = data
        elif action == "freeze" and len(frozen) < 8:
            frozen.append((disk.freeze()[0], bytes(now)))
        elif action == "remove" and frozen:
            frozen.pop(source.randrange(len(frozen)))
            disk.tidy([level for level, _ in frozen])
        elif action == "revert" and frozen:
            level, image = source.choice(frozen)
            disk.branch(level)
            now = bytearray(image)
            disk.tidy([level for level, _ in frozen])
        else:
            offset = source.randrange(capacity)
            length = source.randrange(capacity - offset + 1)
            assert disk.read(offset, length) == now[offset : offset + length]
    check_images(disk, [*frozen, (None, bytes(now))])
    disk.tidy([])
    assert disk.read(0, capacity) == now
    assert len(disk.layers) == 1
    assert [path.name for path in place.path.iterdir()] == ["web01-flat.vmdk"]


def check_images(disk: Disk, images: list[tuple[Layer | None, bytes]]) -> None:
    for level, image in images:
        assert disk.read(0, disk.capacity, level) == image
        covered = bytearray(disk.capacity)
        end = 0
        for offset, length in disk.allocated(level):
            assert offset >= end, "ascending, apart"
            assert offset % BLOCK == 0
            end = offset + length
            covered[offset:end] = image[offset:end]
        assert covered == image, "what is not allocated is zero"


def test_reads_go_on_while_a_delta_is_merged_and_the_guest_writes(place: Place) -> None:
    """The top is merged down while readers and a writer work: nobody sees a wrong byte."""
    source, disk = random.Random(3), Disk(place, "web01", 24 * MIB)
    first = source.randbytes(disk.capacity // 2)
    disk.write(0, first)
    disk.freeze()
    second = source.randbytes(12 * MIB)
    disk.write(6 * MIB, second)
    image = bytearray(disk.read(0, disk.capacity))
    stop, wrong = threading.Event(), []

    def reader() -> None:
        while not stop.is_set():
            if disk.read(0, 16 * MIB) != image[: 16 * MIB]:
                wrong.append("read")

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    written = []

    def write_meanwhile(done: int, total: int) -> None:
        offset = 17 * MIB + len(written) * 1000
        disk.write(offset, b"guest" * 100)
        written.append(offset)

    disk.tidy([], write_meanwhile)
    stop.set()
    for thread in threads:
        thread.join()
    for offset in written:
        image[offset : offset + 500] = b"guest" * 100
    assert not wrong
    assert len(written) > 5
    assert disk.read(0, disk.capacity) == image
    assert len(disk.layers) == 1


def test_a_merge_that_is_stopped_goes_on_later(place: Place) -> None:
    disk = Disk(place, "web01", 8 * MIB)
    disk.write(0, b"base" * 1000)
    disk.freeze()
    disk.write(1 * MIB, random.Random(1).randbytes(4 * MIB))
    image = disk.read(0, disk.capacity)

    def stop(done: int, total: int) -> None:
        if done >= 2 * MIB:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        disk.tidy([], stop)
    assert disk.read(0, disk.capacity) == image
    assert disk.loose_ends([])
    disk.write(2 * MIB, b"between")
    disk.tidy([])
    assert disk.read(0, disk.capacity) == image[: 2 * MIB] + b"between" + image[2 * MIB + 7 :]


def test_an_open_handle_keeps_its_image(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.lab.disks.READERS_PATIENCE", 0.05)
    assert READERS_PATIENCE > 1
    disk = Disk(place, "web01", 4 * MIB)
    disk.write(0, b"first")
    level, _ = disk.freeze()
    disk.write(0, b"after")
    handle = disk.open(level)
    with pytest.raises(MergeBlocked):
        disk.tidy([])
    assert handle.read(0, 5) == b"first"
    handle.close()
    disk.tidy([])
    assert disk.read(0, 5) == b"after"


def test_a_handle_follows_its_image_through_merges_below_it(place: Place) -> None:
    disk = Disk(place, "web01", 4 * MIB)
    disk.write(0, b"one")
    disk.freeze()
    disk.write(MIB, b"two")
    second, _ = disk.freeze()
    disk.write(0, b"xxx")
    with disk.open(second) as handle:
        disk.tidy([second])  # the first snapshot is removed: its delta goes down into the base
        assert handle.read(0, 3) + handle.read(MIB, 3) == b"onetwo"
        assert disk.file(second) == "[ds1] web01/web01.vmdk"


def test_a_deleted_disk_fails_readers(place: Place) -> None:
    disk = Disk(place, "web01", MIB)
    disk.write(0, b"data")
    with disk.open() as handle:
        disk.destroy()
        with pytest.raises(FileNotFoundError):
            handle.read(0, 4)
    assert not list(place.path.iterdir())


def test_the_snapshot_of_a_tebibyte_is_quick_and_sparse(place: Place) -> None:
    disk = Disk(place, "huge", 1 << 40)
    disk.write((1 << 40) - 10, b"0123456789")
    level, _ = disk.freeze()
    disk.write(1 << 39, b"x")
    assert disk.allocated(level) == [((1 << 40) - BLOCK, BLOCK)]
    assert disk.allocated() == [(1 << 39, BLOCK), ((1 << 40) - BLOCK, BLOCK)]
    assert sum(path.stat().st_blocks * 512 for path in place.path.iterdir()) < MIB


def test_reads_and_writes_outside_of_the_disk_are_refused(place: Place) -> None:
    disk = Disk(place, "web01", MIB)
    for bad in (lambda: disk.write(MIB - 1, b"xx"), lambda: disk.read(MIB, 1), lambda: disk.read(-1, 2)):
        with pytest.raises(ValueError, match="outside"):
            bad()
    with pytest.raises(ValueError, match="multiple of 512"):
        Disk(place, "odd", 1000)


def test_provisioning_shows_in_what_is_allocated(place: Place) -> None:
    thin, lazy, eager = (Disk(place, kind, MIB, provisioning=kind) for kind in ("thin", "lazy", "eager"))
    assert [disk.bytes_allocated(disk.top) for disk in (thin, lazy, eager)] == [0, MIB, MIB]
    assert thin.allocated() == lazy.allocated() == []
    assert eager.allocated() == [(0, MIB)]


def test_base_files_are_what_qemu_img_reads(tmp_path: Path) -> None:
    """The descriptor and the flat extent that /folder serves are a VMDK for others, too."""
    qemu_img = require_tool("qemu-img")
    vsphere = model(tmp_path)
    vm = make_vm(vsphere)
    vm.write(2000, 1_234_567, b"contents" * 5000)
    vm.save()
    path = vm.home.path / "web01.vmdk"
    info = json.loads(subprocess.run([qemu_img, "info", "--output=json", path], capture_output=True, check=True).stdout)
    assert info["virtual-size"] == 8 * MIB
    assert info["format-specific"]["data"]["create-type"] == "vmfs"
    raw = tmp_path / "raw"
    subprocess.run([qemu_img, "convert", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes() == vm.read(2000, 0, 8 * MIB)
    end(vsphere)

"""Merging points and making one whole: each point that stays holds what it held, as qemu-img reads it."""

import json
import os
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import Cancelled, ImageError, PolicyError, TargetFull, VerifyError
from engine.flow.locks import ROOT_LOCK
from engine.flow.merge import Merge, Merged, merge_points, parents_merge, settle_interrupted, whole
from engine.flow.point_check import PointChecks
from engine.image.chain import descriptor_of, open_disk
from engine.points import catalog, manifest as manifests, proof, replacement
from engine.points.proof import Depth
from engine.points.removal import finish_removals
from engine.reporter import silent
from engine.state_directory import StateDirectory
from tests.image.disks import KIB, MIB, MemoryDisk, content, random_disk, run
from tests.points.made import flip, point
from tests.tools import require_tool

SMALL = 3 * MIB + 512


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def chain(root: Path, length: int, *, kind: Any = "compact", capacity: int = SMALL, seed: int = 1) -> list[Path]:
    """A full point and its children; each changes some places, brings some zeros, and changes some of both again."""
    rng = random.Random(seed)
    points: list[Path] = []
    for day in range(length):
        pieces = [(at * 64 * KIB, bytes(64 * KIB) if rng.random() < 0.3 else rng.randbytes(700)) for at in
                  sorted(rng.sample(range(capacity // (64 * KIB)), 5))]  # fmt: skip
        pieces.append((capacity - 512, bytes([day]) * 512))
        source = MemoryDisk(capacity, pieces) if points else random_disk(seed, capacity, 8)
        parent = points[-1] if points else None
        points.append(point(root, day, parent=parent, kind="compact" if parent else kind, source=source))
    return points


def held(directory: Path) -> bytes:
    disk = open_disk(directory / "scsi0-0.vmdk")
    try:
        return content(disk)
    finally:
        disk.close()


def raw_of(directory: Path, target: Path) -> Path:
    """The disk as qemu-img reads it."""
    run(require_tool("qemu-img"), "convert", "-f", "vmdk", "-O", "raw", directory / "scsi0-0.vmdk", target)
    return target


def merge(root: Path, state: StateDirectory, wanted: Callable[[catalog.Catalogue, catalog.Point], Merge], at: Path,
          cancel: CancelToken | None = None, **settings: Any) -> Merged:  # fmt: skip
    catalogue = catalog.look(root, state.root)
    options = Settings.of(**{"BACKUPROOT": str(root), "KEEP_FREE": "0", **settings})
    asked = wanted(catalogue, catalogue.by_directory[at])
    return merge_points(asked, options, root, state, report=silent(), cancel=cancel or CancelToken())


def assert_sound(root: Path, state: StateDirectory, *directories: Path) -> None:
    catalogue = catalog.look(root, state.root)
    assert {each.directory for each in catalogue.points} == set(directories)
    assert not catalogue.troubles
    assert not catalogue.notices
    checks = PointChecks(Depth.CHAIN, CancelToken(), silent())
    for directory in directories:
        assert catalogue.flaw(catalogue.by_directory[directory]) == ""
        assert [str(found) for found in checks.check(directory).findings] == []


@pytest.mark.parametrize("kind", ["compact", "sparse", "flat"])
def test_a_point_takes_its_full_parent_in(root: Path, state: StateDirectory, tmp_path: Path, kind: str) -> None:
    full, first, second = chain(root, 3, kind=kind)
    before = [raw_of(each, tmp_path / f"{each.name}.raw") for each in (first, second)]
    cid = descriptor_of(first / "scsi0-0.vmdk").cid
    done = merge(root, state, parents_merge, first)
    assert done.absorbed == [full]
    assert not full.exists()
    told = manifests.read(first)
    assert (told.disk[0].kind, told.disk[0].parent, told.disk[0].format) == ("full", "", "compact")
    assert told.merged == [full.name]
    assert descriptor_of(first / "scsi0-0.vmdk").cid == cid
    for each, raw in zip((first, second), before, strict=True):
        image = each / "scsi0-0.vmdk"
        run(require_tool("qemu-img"), "check", "-f", "vmdk", image)
        run(require_tool("qemu-img"), "compare", "-f", "vmdk", "-F", "raw", image, raw)
    record = proof.read(first)
    assert record is not None
    assert record.passed is not None
    assert record.passed.depth is Depth.GRAINS
    assert_sound(root, state, first, second)
    assert [path.name for path in root.iterdir() if path.name != ROOT_LOCK] == ["points"]


def test_a_point_takes_an_incremental_parent_in(root: Path, state: StateDirectory) -> None:
    full, *others = chain(root, 4)
    kept = [full, *others[1:]]
    before = [held(each) for each in kept]
    merge(root, state, parents_merge, others[1])
    assert [held(each) for each in kept] == before
    told = manifests.read(others[1]).disk[0]
    assert (told.kind, told.parent) == ("incremental", full.name)
    assert_sound(root, state, *kept)


def test_the_newest_point_becomes_whole_and_nothing_goes(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    points = chain(root, 4)
    before = [held(each) for each in points]
    raw = raw_of(points[-1], tmp_path / "before.raw")
    done = merge(root, state, whole, points[-1])
    assert done.absorbed == []
    assert manifests.read(points[-1]).disk[0].chain == 1
    run(require_tool("qemu-img"), "compare", "-f", "vmdk", "-F", "raw", points[-1] / "scsi0-0.vmdk", raw)
    assert [held(each) for each in points] == before
    assert_sound(root, state, *points)
    with pytest.raises(PolicyError, match="whole already"):
        merge(root, state, whole, points[-1])


@pytest.mark.parametrize("length", [2, 10, pytest.param(30, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("capacity", [SMALL, pytest.param((2 << 40) + 512, marks=pytest.mark.endurance)])
def test_a_chain_is_merged_to_one_point(
    root: Path, state: StateDirectory, tmp_path: Path, length: int, capacity: int
) -> None:
    points = chain(root, length, capacity=capacity) if capacity == SMALL else far_chain(root, length, capacity)
    qemu_img, last = require_tool("qemu-img"), points[-1] / "scsi0-0.vmdk"
    for each in points:
        run(qemu_img, "check", "-f", "vmdk", each / "scsi0-0.vmdk")
    raw = raw_of(points[-1], tmp_path / "before.raw")
    for older, newer in pairwise(points):
        merge(root, state, parents_merge, newer)
        assert not older.exists()
    run(qemu_img, "check", "-f", "vmdk", last)
    run(qemu_img, "compare", "-f", "vmdk", "-F", "raw", last, raw)
    assert manifests.read(points[-1]).merged == sorted(each.name for each in points[:-1])
    catalogue = catalog.look(root, state.root)
    assert [each.directory for each in catalogue.points] == [points[-1]]


def far_chain(root: Path, length: int, capacity: int) -> list[Path]:
    points: list[Path] = []
    for day in range(length):
        pieces = [(at, bytes([day + 1]) * 512) for at in (0, (day + 1) << 30, capacity - 512)]
        points.append(point(root, day, parent=points[-1] if points else None, source=MemoryDisk(capacity, pieces)))
    return points


def test_what_another_point_needs_does_not_go(root: Path, state: StateDirectory) -> None:
    full, first = chain(root, 2)
    other = point(root, 5, parent=full, source=MemoryDisk(SMALL, [(0, b"x" * 512)]))
    with pytest.raises(PolicyError, match=f"{other.name} was made on it too"):
        merge(root, state, parents_merge, first)
    with pytest.raises(PolicyError, match="nothing to merge"):
        merge(root, state, parents_merge, full)
    assert_sound(root, state, full, first, other)


@pytest.mark.parametrize("harm", ["image", "full", "cancel"])
def test_a_merge_that_fails_leaves_everything_as_it_was(root: Path, state: StateDirectory, harm: str) -> None:
    full = point(root, 0, source=MemoryDisk(SMALL, [(0, random.Random(1).randbytes(MIB))]))
    child = point(root, 1, parent=full, source=MemoryDisk(SMALL, [(0, b"x" * 512)]))
    cancel, settings = CancelToken(), {}
    if harm == "image":  # the grain is copied as it is; the proof against the source's hash finds it
        flip(full / "scsi0-0.vmdk", 500_000)
    elif harm == "full":
        settings = {"KEEP_FREE": "99%"}
    else:
        cancel.cancel()
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises((VerifyError, ImageError, TargetFull, Cancelled)):
        merge(root, state, parents_merge, child, cancel, **settings)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


class Killed:
    """Kills this process at the n-th call that changes a file system."""

    NAMES = ("rename", "unlink", "rmdir", "mkdir", "link", "fsync", "pwrite", "ftruncate", "write")

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0
        for name in self.NAMES:
            setattr(os, name, self._counted(getattr(os, name)))
        exchange = replacement._exchange
        replacement._exchange = self._counted(exchange)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call


def killed_at(number: int, act: Callable[[], object]) -> int | None:
    """Runs `act` in a child that dies at its change number `number`; the number of all, when it lived to the end."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            seam = Killed(number)
            act()
            seam.at = 0
            os.write(write, json.dumps(seam.calls).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else None


@pytest.mark.parametrize(
    ("exchange", "step"),
    [(True, 6), *(pytest.param(*each, marks=pytest.mark.endurance) for each in ((True, 1), (False, 1)))],
)
def test_sigkill_at_any_change_loses_no_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool, step: int
) -> None:
    """With the file system's exchange of two names, and with the two renames of those that have none."""
    if not exchange:
        monkeypatch.setattr(replacement, "_exchange", lambda one, other: False)
    number, ends = 0, set()
    lived = None
    while lived is None:
        number += step
        here = tmp_path / str(number)
        root, state = here / "root", StateDirectory(here / "state")
        root.mkdir(parents=True)
        full, first, second = chain(root, 3, capacity=512 * KIB + 512, seed=3)
        before = {each: held(each) for each in (full, first, second)}
        lived = killed_at(number, lambda root=root, state=state, first=first: merge(root, state, parents_merge, first))
        if exchange:
            assert {each: held(each) for each in (first, second)} == {each: before[each] for each in (first, second)}
        assert settle_interrupted(root, state, silent()) == []
        finish_removals(root)
        left = (first, second) if not full.exists() else (full, first, second)
        ends.add(len(left))
        assert {each: held(each) for each in left} == {each: before[each] for each in left}
        assert_sound(root, state, *left)
        assert [path.name for path in root.iterdir() if path.name != ROOT_LOCK] == ["points"]
    assert ends == {2, 3}
    assert number > 20

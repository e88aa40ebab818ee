"""Removing a point: only a point, only what its manifest lists, and never a half one, wherever it is cut off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import PolicyError, TargetError
from engine.points import proof as proofs, removal
from engine.points.catalog import look
from engine.points.manifest import FILE_NAME
from engine.points.naming import POINTS
from engine.points.proof import Depth
from engine.points.removal import finish_removals, remove_point, tombstones
from tests.points.made import home, small_point


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_point_goes_and_its_neighbours_stay(root: Path) -> None:
    stays, goes = small_point(root, 0), small_point(root, 1)
    proofs.record(goes, Depth.FILES, [])
    before = [path for path in tree(root) if goes.name not in path]
    remove_point(root, goes)
    assert tree(root) == before
    assert stays.is_dir()


def inside(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("where", ["", "points", "points/web01-vm-1", "points/a/b/c", "../x/y", "points/../points/x"])
def test_nothing_but_a_point_is_removed(root: Path, where: str) -> None:
    point = small_point(root, 0)
    before = tree(root)
    with pytest.raises(PolicyError, match="is not a restore point"):
        remove_point(root, root / where)
    with pytest.raises(PolicyError, match="is not a restore point"):
        remove_point(root, Path("/etc"))
    assert tree(root) == before
    assert point.is_dir()


@pytest.mark.parametrize("stranger", ["file", "directory", "symlink", "listed symlink", "listed directory"])
def test_a_stranger_inside_stops_the_whole_removal(root: Path, tmp_path: Path, stranger: str) -> None:
    point = small_point(root, 0)
    outside = tmp_path / "outside"
    outside.write_text("precious")
    name = "vm.vmx" if stranger.startswith("listed") else "diary.txt"
    (point / name).unlink(missing_ok=True)
    if stranger.endswith("directory"):
        (point / name).mkdir()
    elif stranger.endswith("symlink"):
        (point / name).symlink_to(outside)
    else:
        (point / name).write_text("not ours")
    before = tree(root)
    with pytest.raises(PolicyError, match=name):
        remove_point(root, point)
    assert tree(root) == before
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("level", ["points", "vm", "point"])
def test_symlinks_on_the_way_are_not_followed(root: Path, tmp_path: Path, level: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    point = small_point(elsewhere, 0)
    real = {"points": elsewhere / POINTS, "vm": point.parent, "point": point}[level]
    link = root / real.relative_to(elsewhere)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(real)
    with pytest.raises(TargetError):
        remove_point(root, root / point.relative_to(elsewhere))
    assert len(list(point.iterdir())) == 3


@pytest.mark.parametrize("manifest", [None, b"", b"\xff", b"job = 1\n"])
def test_without_a_manifest_nothing_is_ours(root: Path, manifest: bytes | None) -> None:
    point = small_point(root, 0)
    (point / FILE_NAME).unlink()
    if manifest is not None:
        (point / FILE_NAME).write_bytes(manifest)
    before = tree(root)
    with pytest.raises(PolicyError, match="no manifest"):
        remove_point(root, point)
    assert tree(root) == before


def test_a_manifest_that_lists_paths_reaches_nothing(root: Path, tmp_path: Path) -> None:
    precious = root / "precious"
    precious.write_text("precious")
    point = small_point(root, 0)
    text = (point / FILE_NAME).read_text()
    (point / FILE_NAME).write_text(text.replace('"vm.vmx"', '"../../../precious"'))
    with pytest.raises(PolicyError, match=r"vm\.vmx"):
        remove_point(root, point)
    (point / "vm.vmx").unlink()
    remove_point(root, point)
    assert precious.read_text() == "precious"


CUT = """
import os, signal, sys
from pathlib import Path
from engine.points.removal import remove_point
left = int(sys.argv[3])
def deadly(real):
    def call(*args, **more):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*args, **more)
    return call
for name in ("rename", "unlink", "rmdir", "fsync"):
    setattr(os, name, deadly(getattr(os, name)))
remove_point(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_killed_at_any_step_no_half_point_looks_whole(root: Path, tmp_path: Path) -> None:
    """SIGKILL before each system call that changes anything, one after the other, until none is left."""
    parent = small_point(root, 0)
    for step in range(100):
        child = small_point(root, 1, parent=parent)
        proofs.record(child, Depth.FILES, [])
        files = inside(child)
        command = [sys.executable, "-c", CUT, str(root), str(child), str(step)]
        code = subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode
        if code == 0:
            break
        assert code == -9
        assert not child.exists() or inside(child) == files
        found = look(root, tmp_path / "state")
        assert [found.flaw(point) for point in found.points] == [""] * len(found.points)
        assert {point.directory for point in found.points} == {parent} | ({child} if child.exists() else set())
        gone, errors = finish_removals(root)
        assert not errors
        assert tombstones(root) == []
        assert child.exists() or len(gone) <= 1
        if child.exists():
            remove_point(root, child)
    else:
        pytest.fail("the removal never came to its end")
    assert step > 6
    assert inside(home(root)) == [parent.name]


def test_a_tombstone_is_in_nobodys_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same point made, half removed, made again and removed again."""
    point = small_point(root, 0)
    real = os.unlink

    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(removal.os, "unlink", refuse)
    with pytest.raises(TargetError, match="not permitted"):
        remove_point(root, point)
    gone, errors = finish_removals(root)
    assert (gone, len(errors)) == ([], 1)
    monkeypatch.setattr(removal.os, "unlink", real)
    assert not point.exists()
    assert len(tombstones(root)) == 1
    remove_point(root, small_point(root, 0))
    assert tombstones(root) == []
    assert tree(root) == ["points", "points/web01-vm-1"]


def test_a_strangers_tombstone_stays(root: Path) -> None:
    place = root / f"{removal.TOMBSTONE_PREFIX}web01-vm-1-20261120T020000Z"
    place.mkdir()
    (place / "diary.txt").write_text("x")
    (root / f"{removal.TOMBSTONE_PREFIX}file").write_text("x")
    gone, errors = finish_removals(root)
    assert gone == []
    assert len(errors) == 2
    assert (place / "diary.txt").exists()

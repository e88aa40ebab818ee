"""The catalogue says what the manifests say, whatever became of its file; and it notices what changed without it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.points import catalog, proof as proofs
from engine.points.catalog import look
from engine.points.manifest import FILE_NAME
from engine.points.proof import Depth
from tests.points.made import flip, home, names, small_point


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def cache_file(state: Path) -> Path:
    return next((state / "catalog").glob("*.sqlite"))


def test_an_empty_backuproot(root: Path, state: Path) -> None:
    assert look(root, state).points == ()


def test_points_chains_and_who_needs_whom(root: Path, state: Path) -> None:
    full = small_point(root, 0)
    second = small_point(root, 1, parent=full)
    third = small_point(root, 2, parent=second)
    other = small_point(root, 0, "vm-2", name="db")
    found = look(root, state)
    assert {point.directory for point in found.points} == {full, second, third, other}
    newest = found.by_directory[third]
    assert names([link.directory for link in found.chain(newest)]) == names([third, second, full])
    assert [p.name for p in found.needed_by(found.by_directory[full])] == names([second, third])
    assert (newest.kind, found.by_directory[full].kind) == ("incremental", "full")
    assert [found.flaw(point) for point in found.points] == [""] * 4
    assert len(found.of_vm(("vc-1", "vm-1"))) == 3


def test_what_was_seen_is_not_read_again(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = [small_point(root, day) for day in range(5)]
    first = look(root, state)
    read: list[Path] = []
    real = catalog.manifests.read
    monkeypatch.setattr(catalog.manifests, "read", lambda directory: read.append(directory) or real(directory))
    assert look(root, state) == first
    assert read == []
    proofs.record(directories[2], Depth.FILES, [])
    look(root, state)
    assert read == [directories[2]]


def test_a_point_that_vanished_or_changed_is_noticed_once(root: Path, state: Path) -> None:
    gone, changed, removed = (small_point(root, day) for day in range(3))
    look(root, state)
    shutil.rmtree(gone)
    shutil.rmtree(removed)
    catalog.forget(root, state, [removed])
    text = (changed / FILE_NAME).read_text()
    (changed / FILE_NAME).write_text(text.replace("nbdssl", "nbd"))
    notices = look(root, state).notices
    assert len(notices) == 2
    assert any(str(gone) in notice and "is gone" in notice for notice in notices)
    assert any(str(changed) in notice and "not the one" in notice for notice in notices)
    assert look(root, state).notices == ()


@pytest.mark.parametrize("damage", ["flip", "cut", "text", "version", "directory", "no rights"])
def test_whatever_is_wrong_with_the_cache_the_manifests_speak(root: Path, state: Path, damage: str) -> None:
    small_point(root, 0)
    whole = look(root, state)
    path = cache_file(state)
    if damage == "flip":
        for position in range(0, path.stat().st_size, 97):
            flip(path, position, position % 8)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("no database at all, but some text\n" * 200)
    elif damage == "version":
        data = bytearray(path.read_bytes())
        data[60:64] = (99).to_bytes(4, "big")
        path.write_bytes(data)
    elif damage == "directory":
        path.unlink()
        path.mkdir()
    else:
        shutil.rmtree(state)
        state.write_text("a file where the state directory should be")
    assert look(root, state).points == whole.points


def test_what_is_no_point_is_a_trouble_and_not_a_crash(root: Path, state: Path) -> None:
    good = small_point(root, 0)
    (home(root) / "20261101T000000Z").mkdir()
    broken = small_point(root, 1)
    flip(broken / FILE_NAME, 0, 7)
    (home(root) / "link").symlink_to(good)
    (home(root) / "file").write_text("x")
    (home(root) / ".hidden").mkdir()
    found = look(root, state)
    assert [point.directory for point in found.points] == [good]
    assert sorted(path.name for path in found.troubles) == sorted(["20261101T000000Z", broken.name, "link", "file"])


def test_when_a_point_counts_as_proven(root: Path, state: Path) -> None:
    full = small_point(root, 0)
    child = small_point(root, 1, parent=full)

    def proven() -> list[datetime | None]:
        found = look(root, state)
        return [None if found.flaw(point) else point.proven for point in found.points]

    created = [point.manifest.created for point in look(root, state).points]
    assert proven() == created
    at = datetime(2026, 12, 1, tzinfo=UTC)
    proofs.record(child, Depth.CHAIN, [], at=at)
    assert proven() == [created[0], at]
    proofs.record(full, Depth.FILES, ["scsi0-0.vmdk is missing."], at=at)
    assert proven() == [None, None]
    assert "which it needs: scsi0-0.vmdk is missing." in look(root, state).flaw(look(root, state).points[1])
    proofs.record(full, Depth.FILES, [], at=at)
    assert proven() == [at, at]
    flip(full / proofs.FILE_NAME, 20)
    assert proven() == [None, None]


def test_a_manifest_other_than_the_proven_one_counts_for_nothing(root: Path, state: Path) -> None:
    directory = small_point(root, 0)
    proofs.record(directory, Depth.FILES, [])
    text = (directory / FILE_NAME).read_text()
    (directory / FILE_NAME).write_text(text.replace("Hard disk 1", "Hard disk 2"))
    found = look(root, state)
    assert "not the one that was proven" in found.flaw(found.points[0])


def test_a_missing_or_exchanged_parent_is_told(root: Path, state: Path) -> None:
    full = small_point(root, 0)
    child = small_point(root, 1, parent=full)
    text = (full / FILE_NAME).read_text()
    (full / FILE_NAME).write_text(text.replace('cid = "00000000"', 'cid = "12345678"'))
    found = look(root, state)
    assert "another image" in found.flaw(found.by_directory[child])
    shutil.rmtree(full)
    found = look(root, state)
    assert "is not there" in found.flaw(found.by_directory[child])

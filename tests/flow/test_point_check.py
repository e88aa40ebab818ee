"""Looking at points again: whole ones pass at every depth, and no damage to any file of one goes unseen."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled
from engine.events import DiskEnded, DiskStarted, Event
from engine.flow.point_check import Checked, PointChecks
from engine.loglevel import LogLevel
from engine.points import manifest as manifests, proof as proofs
from engine.points.manifest import FileEntry
from engine.points.proof import Depth
from engine.reporter import Reporter, Volume, silent
from tests.points.made import flip, point, small_point

DEPTHS = [Depth.MANIFEST, Depth.FILES, Depth.GRAINS, Depth.CHAIN]


def check(directory: Path, depth: Depth = Depth.CHAIN) -> Checked:
    return PointChecks(depth, CancelToken(), silent()).check(directory)


def texts(checked: Checked) -> str:
    return "\n".join(str(finding) for finding in checked.findings)


def rewrite(directory: Path, change: Callable[[dict[str, FileEntry]], None]) -> None:
    """Another manifest with other entries, as someone with knowledge and bad intent would write it."""
    manifest = manifests.read(directory)
    entries = {entry.name: entry for entry in manifest.file}
    change(entries)
    (directory / manifests.FILE_NAME).unlink()
    msgspec.structs.replace(manifest, file=list(entries.values())).write(directory)


@pytest.fixture(params=["compact", "sparse", "flat"])
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    full = point(tmp_path, 0, kind=request.param)
    child = point(tmp_path, 1, parent=full)
    return [full, child, point(tmp_path, 2, parent=child)]


@pytest.mark.parametrize("depth", DEPTHS)
def test_whole_points_pass_and_the_date_is_recorded(chain: list[Path], depth: Depth) -> None:
    checks = PointChecks(depth, CancelToken(), silent())
    for directory in chain:
        checked = checks.check(directory)
        assert (texts(checked), checked.notes, checked.recorded) == ("", [], True)
        proof = proofs.read(directory)
        assert proof is not None
        assert proof.failed is None
        assert (proof.passed is None) if depth is Depth.MANIFEST else (proof.passed and proof.passed.depth == depth)


def test_a_flipped_bit_in_any_file_of_a_point_is_found(chain: list[Path]) -> None:
    """In every file, manifest and proof included, at 12 places each; the place where it is found is named."""
    rng = random.Random(5)
    child = chain[1]
    proofs.record(child, Depth.GRAINS, [])
    for path in sorted(child.iterdir()):
        whole = path.read_bytes()
        proof = (child / proofs.FILE_NAME).read_bytes()
        for _ in range(12):
            flip(path, rng.randrange(len(whole)), rng.randrange(8))
            checked = check(child, Depth.FILES)
            assert checked.findings, path.name
            assert path.name in texts(checked) or path.name == manifests.FILE_NAME
            (child / proofs.FILE_NAME).write_bytes(proof)
            path.write_bytes(whole)
    assert not check(child).findings


def test_a_flipped_bit_in_any_file_of_a_parent_is_found_from_its_child(chain: list[Path]) -> None:
    rng = random.Random(6)
    full, _, newest = chain
    for path in sorted(full.iterdir()):
        if path.suffix not in (".vmdk", ".grains"):
            continue
        whole = path.read_bytes()
        flip(path, rng.randrange(len(whole)))
        checked = check(newest)
        assert {finding.point for finding in checked.findings} == {full}
        assert path.name in texts(checked)
        proof = proofs.read(full)
        assert proof is not None
        assert proof.failed is not None
        path.write_bytes(whole)
    assert not check(newest).findings
    proof = proofs.read(full)
    assert proof is not None
    assert proof.failed is None


def test_every_missing_file_is_told_in_one_look(chain: list[Path]) -> None:
    full = chain[0]
    names = [path.name for path in full.iterdir() if path.name != manifests.FILE_NAME]
    for name in names:
        (full / name).unlink()
    for depth in DEPTHS:
        found = texts(check(full, depth))
        assert all(f"{name} is missing" in found for name in names)
    (full / manifests.FILE_NAME).unlink()
    assert "holds no manifest.toml" in texts(check(full))


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_missing_parent_is_told_at_every_depth(chain: list[Path], depth: Depth) -> None:
    chain[0].rename(chain[0].with_name("moved"))
    assert chain[0].name in texts(check(chain[1], depth))
    assert check(chain[2], depth).findings


def test_an_image_exchanged_together_with_its_hash_is_found_by_its_grains(tmp_path: Path) -> None:
    """Somebody puts another disk in the place of the image, and its SHA-256 into the manifest."""
    good, other = point(tmp_path, 0), point(tmp_path, 1)
    image = (other / "scsi0-0.vmdk").read_bytes()
    (good / "scsi0-0.vmdk").write_bytes(image)
    entry = next(entry for entry in manifests.read(other).file if entry.name == "scsi0-0.vmdk")
    rewrite(good, lambda entries: entries.update({entry.name: entry}))
    assert not check(good, Depth.FILES).findings
    assert "not what came from the source" in texts(check(good, Depth.GRAINS))


def test_a_length_a_symlink_a_fifo_and_a_path_in_the_place_of_a_file(tmp_path: Path) -> None:
    directory = small_point(tmp_path, 0)
    vmx = directory / "vm.vmx"
    vmx.write_bytes(vmx.read_bytes() + b"x")
    assert "were written" in texts(check(directory, Depth.MANIFEST))
    for make in (lambda: vmx.symlink_to("scsi0-0.vmdk"), vmx.mkdir):
        vmx.unlink()
        make()
        assert "not a regular file" in texts(check(directory, Depth.FILES))
    vmx.rmdir()
    os.mkfifo(vmx)
    assert "not a regular file" in texts(check(directory, Depth.FILES))
    rewrite(directory, lambda entries: entries.update(x=FileEntry(name="../../passwd", size=0, sha256="")))
    assert "no name of a file" in texts(check(directory, Depth.FILES))


def test_a_stranger_is_a_note_and_no_list_of_grains_too(tmp_path: Path) -> None:
    directory = small_point(tmp_path, 0)
    (directory / "diary.txt").write_text("x")
    checked = check(directory, Depth.GRAINS)
    assert not checked.findings
    assert checked.notes == [
        "Not of this point: diary.txt.",
        "scsi0:0 has no list of grain hashes: proven by SHA-256 alone.",
    ]


def test_cancel_ends_the_look_and_records_nothing(tmp_path: Path) -> None:
    directory = point(tmp_path, 0)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        PointChecks(Depth.GRAINS, cancel, silent()).check(directory)
    assert proofs.read(directory) is None


def test_a_shared_parent_is_read_once(chain: list[Path]) -> None:
    events: list[Event] = []
    checks = PointChecks(Depth.CHAIN, CancelToken(), Reporter(events.append, Volume(LogLevel.STEP)))
    for directory in chain:
        checks.check(directory)
    assert len([event for event in events if isinstance(event, DiskStarted)]) == sum(
        len(
            [
                path
                for path in directory.glob("*.vmdk")
                if "flat" in path.name or not (directory / "scsi0-0-flat.vmdk").exists()
            ]
        )
        for directory in chain
    )
    assert len([event for event in events if isinstance(event, DiskEnded)]) == len(chain)

"""proof.toml: what it keeps of several looks, and that no damage to it or to the manifest goes unseen."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.errors import ImageError, TargetError
from engine.points import proof as proofs
from engine.points.proof import Depth, Failed, Passed, Proof
from tests.points.made import flip, small_point

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def test_a_record_reads_back(tmp_path: Path) -> None:
    directory = small_point(tmp_path, 0)
    assert proofs.read(directory) is None
    proofs.record(directory, Depth.FILES, [], at=AT)
    proof = proofs.read(directory)
    assert proof is not None
    assert proof.passed == Passed(at=AT, depth=Depth.FILES)
    assert proof.failed is None
    assert proof.manifest == proofs.manifest_digest(directory)
    assert (directory / proofs.FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert not (directory / proofs.NEW_NAME).exists()


def test_every_bit_of_it_is_guarded(tmp_path: Path) -> None:
    directory = small_point(tmp_path, 0)
    proofs.record(directory, Depth.GRAINS, ["vm.vmx is missing."], at=AT)
    path = directory / proofs.FILE_NAME
    whole = path.read_bytes()
    for position in range(len(whole)):
        flip(path, position, position % 8)
        with pytest.raises(ImageError, match=r"proof\.toml"):
            proofs.read(directory)
        path.write_bytes(whole)
    assert proofs.read(directory) is not None


@pytest.mark.parametrize(
    ("failed", "passed", "stays"),
    [("files", "manifest", True), ("files", "files", False), ("grains", "files", True), ("grains", "chain", False)],
)
def test_a_failure_is_lifted_only_by_a_look_as_deep(failed: str, passed: str, stays: bool) -> None:
    proof = Proof(manifest="m").followed_by(Depth(failed), ["damage"], AT)
    assert proof.failed == Failed(at=AT, depth=Depth(failed), findings=["damage"])
    after = proof.followed_by(Depth(passed), [], AT)
    assert (after.failed is not None) is stays
    assert (after.passed is None) is (passed == "manifest")


def test_no_manifest_no_proof_and_a_refusing_medium(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"manifest\.toml"):
        proofs.record(tmp_path, Depth.FILES, [])
    directory = small_point(tmp_path, 0)
    (directory / proofs.NEW_NAME).mkdir()
    with pytest.raises(TargetError, match="can't be recorded"):
        proofs.record(directory, Depth.FILES, [])


def test_a_symlink_is_no_proof(tmp_path: Path) -> None:
    one, other = small_point(tmp_path, 0), small_point(tmp_path, 1)
    proofs.record(one, Depth.FILES, [])
    (other / proofs.FILE_NAME).symlink_to(one / proofs.FILE_NAME)
    with pytest.raises(ImageError):
        proofs.read(other)

import pytest

from engine.errors import PolicyError, TargetError
from engine.points import mount_point as mounts
from engine.points.mount_point import Marker, State


def marker(**changes):
    fields = {
        "job": "j1", "proxy": "p1", "vcenter": "vc1", "vm": "vm-1", "vm_name": "web01", "snapshot_policy": "automatic",
        "contents": ["scsi0-0.vmdk", "vm.vmx"],
    }  # fmt: skip
    return Marker(**{**fields, **changes})


IDENTITY = {"proxy": "p1", "vcenter": "vc1", "vm": "vm-1"}


@pytest.fixture
def root(tmp_path):
    return mounts.backuproot(tmp_path)


def test_backuproot_must_exist(tmp_path):
    with pytest.raises(TargetError, match="can't be used"):
        mounts.backuproot(tmp_path / "missing")


def test_backuproot_must_be_a_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="not a directory"):
        mounts.backuproot(tmp_path / "file")


def test_nothing_there(root):
    assert mounts.inspect(root / "m", **IDENTITY).state is State.ABSENT


def test_ours_is_recognised_and_removed(root):
    path = root / "m"
    mounts.create(path, marker())
    (path / "scsi0-0.vmdk").write_bytes(b"x")
    found = mounts.inspect(path, **IDENTITY)
    assert found.state is State.OURS
    assert found.marker == marker()
    mounts.remove(path, marker(), root)
    assert not path.exists()


@pytest.mark.parametrize("other", [{"proxy": "p2"}, {"vcenter": "vc2"}, {"vm": "vm-2"}])
def test_another_proxy_vcenter_or_vm_is_a_stranger(root, other):
    mounts.create(root / "m", marker(**other))
    assert mounts.inspect(root / "m", **IDENTITY).state is State.STRANGER


@pytest.mark.parametrize("content", [b"", b"not toml [", b"job = 1\n", b"\xff\xfe"])
def test_a_marker_that_cannot_be_read_proves_nothing(root, content):
    (root / "m").mkdir()
    (root / "m" / mounts.MARKER).write_bytes(content)
    assert mounts.inspect(root / "m", **IDENTITY).state is State.STRANGER


def test_a_symlink_is_never_ours_and_its_target_stays(root):
    target = root / "precious"
    mounts.create(target, marker())
    (root / "m").symlink_to(target)
    assert mounts.inspect(root / "m", **IDENTITY).state is State.SYMLINK
    with pytest.raises(TargetError):
        mounts.remove(root / "m", marker(), root)
    assert (target / mounts.MARKER).exists()


def test_a_marker_behind_a_symlink_proves_nothing(root):
    mounts.create(root / "real", marker())
    (root / "m").mkdir()
    (root / "m" / mounts.MARKER).symlink_to(root / "real" / mounts.MARKER)
    assert mounts.inspect(root / "m", **IDENTITY).state is State.STRANGER


def test_a_strangers_file_inside_stops_the_whole_removal(root):
    path = root / "m"
    mounts.create(path, marker())
    (path / "vm.vmx").write_text("ours")
    (path / "diary.txt").write_text("not ours")
    with pytest.raises(PolicyError, match=r"diary\.txt"):
        mounts.remove(path, marker(), root)
    assert sorted(entry.name for entry in path.iterdir()) == ["diary.txt", mounts.MARKER, "vm.vmx"]


def test_a_symlink_under_an_expected_name_stops_the_removal(root):
    path = root / "m"
    mounts.create(path, marker())
    outside = root / "outside"
    outside.write_text("precious")
    (path / "vm.vmx").symlink_to(outside)
    with pytest.raises(PolicyError, match=r"vm\.vmx"):
        mounts.remove(path, marker(), root)
    assert outside.read_text() == "precious"


def test_nothing_outside_backuproot_is_deleted(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "m"
    mounts.create(elsewhere, marker())
    with pytest.raises(PolicyError, match="does not lie in BACKUPROOT"):
        mounts.remove(elsewhere, marker(), root)
    assert elsewhere.exists()


def test_creating_over_something_fails(root):
    (root / "m").mkdir()
    with pytest.raises(TargetError, match="can't be created"):
        mounts.create(root / "m", marker())

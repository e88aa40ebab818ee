"""Backups over san from an NFS datastore: a made-up mountinfo calls the lab's directory its read-only mount."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import TransportError
from engine.events import DiskStarted
from engine.flow.san_trust import SanTrusts
from engine.flow.san_unsuitable import refuse
from engine.lab import Lab
from engine.lab.vm_files import make_files
from engine.state_directory import StateDirectory
from engine.transport.san.nfs_mount import Export, NfsSource, look_up
from engine.vsphere.datastores import Datastore
from tests.flow.checks import assert_nothing_left, compare_with_frozen
from tests.flow.conftest import Proxy, _proxy


def line(point: Path, source: str, options: str = "ro", root: str = "/") -> str:
    device = point.stat().st_dev if point.exists() else 0
    shown = str(point).replace(" ", "\\040")
    number = f"{os.major(device)}:{os.minor(device)}"
    return f"99 1 {number} {root} {shown} {options},relatime shared:1 - nfs4 {source} rw,hard\n"


@pytest.fixture
def nfs(tmp_path, monkeypatch):
    """archive01 on tokyo-nfs01, with files and contents."""
    monkeypatch.setattr("engine.transport.san.nfs_mount.MOUNTINFO", tmp_path / "mountinfo")
    with Lab.start(tmp_path / "lab", seed="demo", record=True) as lab:
        proxy = _proxy(lab, tmp_path, monkeypatch)
        vm = proxy.vm("archive01")
        vm.write(2000, 5 << 20, b"lies on an NFS server" * 4096)
        make_files(vm)
        mounted(proxy)
        yield proxy


def mounted(proxy: Proxy, options: str = "ro", source: str = "NFS.Lab:/export/tokyo-nfs01/") -> None:
    root = proxy.vm("archive01").home.datastore.root
    (proxy.root.parent / "mountinfo").write_text(line(root, source, options))


def over_san(proxy: Proxy):
    return proxy.backup("name:archive01", TRANSPORT_MODE="san")


def flat(proxy: Proxy):
    return proxy.vm("archive01").home.path / "archive01-flat.vmdk"


def test_a_whole_backup_is_what_the_snapshot_froze(nfs):
    outcome = over_san(nfs)
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"san"}
    compare_with_frozen(nfs.lab, outcome)
    assert_nothing_left(nfs, "archive01")
    assert f"san (NFS mount {nfs.vm('archive01').home.datastore.root})" in nfs.log
    assert "compared with nbdssl on this datastore's first use: all equal" in nfs.log


def test_a_mount_for_writing_and_none_are_refused(nfs):
    mounted(nfs, "rw")
    outcome = over_san(nfs)
    assert "for writing" in str(outcome.error)
    assert outcome.snapshot == ""
    mounted(nfs, source="other.lab:/export/tokyo-nfs01")
    outcome = over_san(nfs)
    assert "mount -t nfs -o ro,nosuid,nodev,noexec nfs.lab:/export/tokyo-nfs01 /mnt/tokyo-nfs01" in str(outcome.error)
    assert outcome.snapshot == ""


def test_a_symbolic_link_on_the_path(nfs):
    home = nfs.vm("archive01").home.path
    home.rename(home.with_name("elsewhere"))
    home.symlink_to("elsewhere")
    assert "symbolic link" in str(over_san(nfs).error)


def test_a_file_of_another_size(nfs):
    os.truncate(flat(nfs), flat(nfs).stat().st_size + 4096)
    assert "2,147,483,648 bytes, its file" in str(over_san(nfs).error)


def test_a_file_system_without_o_direct_is_told(nfs, monkeypatch):
    monkeypatch.setattr("engine.transport.block_device._open", lambda path: (os.open(path, os.O_RDONLY), False))
    outcome = over_san(nfs)
    assert outcome.error is None
    compare_with_frozen(nfs.lab, outcome)
    assert "through the page cache: its file system knows no O_DIRECT" in nfs.log


def test_a_file_that_changes_while_it_is_read(nfs):
    def touch(event) -> None:
        if isinstance(event, DiskStarted):
            os.utime(flat(nfs), ns=(0, 0))

    nfs.on_event.append(touch)
    outcome = over_san(nfs)
    assert "moved or changed on its datastore" in str(outcome.error)
    assert not outcome.point
    assert_nothing_left(nfs, "archive01")


@pytest.mark.parametrize("what", [{"backing": "sesparse"}, {"backing": "rdm-virtual"}, {"delta": True}])
def test_what_is_no_flat_disk(nfs, what):
    plan = nfs.plan("name:archive01", TRANSPORT_MODE="san")
    assert plan.obstacle is None
    store = Datastore("a", "NFS", remote_hosts=("nfs.lab",), remote_path="/export/tokyo-nfs01")
    refuse(plan.vm, plan.disks[0].disk, store)
    with pytest.raises(TransportError, match=r"not a flat disk|raw device mapping"):
        refuse(plan.vm, replace(plan.disks[0].disk, **what), store)


def test_other_contents_disable_the_datastore(nfs, monkeypatch):
    honest = NfsSource.read_into

    def wrong(self, offset, buffer):
        honest(self, offset, buffer)
        buffer[len(buffer) // 2] ^= 1

    monkeypatch.setattr(NfsSource, "read_into", wrong)
    outcome = over_san(nfs)
    assert "between the NFS mount and nbdssl" in str(outcome.error)
    assert not outcome.point
    monkeypatch.setattr(NfsSource, "read_into", honest)
    assert "san is disabled for tokyo-nfs01" in str(over_san(nfs).error)
    SanTrusts(StateDirectory.default()).trust_again("tokyo-nfs01")
    assert over_san(nfs).error is None


@pytest.mark.parametrize(
    ("hosts", "path", "source", "found"),
    [
        (("fd00::1",), "/a", "[FD00::1]:/a", True),
        (("one", "Two"), "/a b//", "two:/a\\040b", True),
        (("one",), "/a", "one:/a/b", False),
        (("one",), "/a", "one.lab:/a", False),
    ],
)
def test_names_of_exports(tmp_path, hosts, path, source, found):
    (tmp_path / "mountinfo").write_text(line(Path("/mnt/a b"), source))
    mount, why = look_up(Export("a b", hosts, path), tmp_path / "mountinfo")
    assert (mount is not None) == found == (not why)


def test_what_hides_a_mount_and_parts_of_one_are_not_it(tmp_path):
    hidden = line(Path("/mnt/a"), "one:/a") + line(Path("/mnt/a"), "two:/b")
    for text in (hidden, line(Path("/mnt/a"), "one:/a", root="/part")):
        (tmp_path / "mountinfo").write_text(text)
        assert look_up(Export("a", ("one",), "/a"), tmp_path / "mountinfo")[0] is None

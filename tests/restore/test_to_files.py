"""A point's disks as local files: what any tool reads from them is what was frozen, and failures leave nothing."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.errors import ConfigError, ImageError, TargetError, TargetFull, VerifyError
from engine.events import DiskEnded, DiskProgress, DiskStarted, Result, ResultState
from engine.flow.restore_to_files import restore_files
from engine.image.direct_output import target_error
from engine.image.placed_output import PlacedOutput
from engine.points.restore_files import find_point
from tests.restore.checks import assert_ledgers_closed, frozen, point_of, same
from tests.tools import require_tool

KINDS = {"raw": "raw", "vmdk": "vmdk", "qcow2": "qcow2"}


def restored(proxy, point, to, kind: Any = "raw", **options):
    return restore_files(point, to, kind, proxy.report, proxy.cancel, threads=2, **options)


@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_format_holds_what_was_frozen(proxy, tmp_path, kind, export_format):
    require_tool("qemu-img")
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    outcome = restored(proxy, point, tmp_path / "new" / "out", kind)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    files = sorted((tmp_path / "new" / "out").iterdir())
    assert [file.name for file in files] == [f"scsi0-0.{kind}", f"scsi0-1.{kind}"]
    for file, original, disk in zip(files, frozen(proxy, point), outcome.disks, strict=True):
        same(file, KINDS[kind], original)
        assert disk.target == str(file)
        assert disk.read > 0
    assert_ledgers_closed()
    assert isinstance(proxy.events[-1], Result)
    for kind_of_event in (DiskStarted, DiskProgress, DiskEnded):
        assert any(isinstance(event, kind_of_event) for event in proxy.events)


def test_raw_stays_sparse(proxy, tmp_path):
    point = point_of(proxy)
    outcome = restored(proxy, point, tmp_path / "out")
    for disk in outcome.disks:
        status = Path(disk.target).stat()
        assert status.st_size == disk.capacity
        assert status.st_blocks * 512 <= disk.stored + (1 << 20) < disk.capacity


def test_a_compact_disk_is_copied_byte_for_byte(proxy, tmp_path):
    point = point_of(proxy)
    restored(proxy, point, tmp_path / "out", "vmdk")
    for disk in point.manifest.disk:
        assert (tmp_path / "out" / disk.files[0]).read_bytes() == (point.directory / disk.files[0]).read_bytes()


@pytest.mark.parametrize("name", ["scsi0:1", "hard disk 2"])
def test_one_disk_alone(proxy, tmp_path, name):
    outcome = restored(proxy, point_of(proxy), tmp_path / "out", disks=[name])
    assert [disk.name for disk in outcome.disks] == ["scsi0:1"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scsi0-1.raw"]


def test_a_disk_that_is_not_there_is_answered_with_those_that_are(proxy, tmp_path):
    outcome = restored(proxy, point_of(proxy), tmp_path / "out", disks=["scsi0:9"])
    assert isinstance(outcome.error, ConfigError)
    assert "scsi0:0 (Hard disk 1), scsi0:1 (Hard disk 2)" in outcome.error.hint
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(proxy, tmp_path):
    mine = tmp_path / "scsi0-1.raw"
    mine.write_text("mine")
    outcome = restored(proxy, point_of(proxy), tmp_path)
    assert isinstance(outcome.error, TargetError)
    assert "scsi0-1.raw" in outcome.error.sentence
    assert mine.read_text() == "mine"
    assert not (tmp_path / "scsi0-0.raw").exists()


def test_a_name_that_is_taken_meanwhile_is_not_taken_over(proxy, tmp_path):
    out = tmp_path / "out"

    def occupy(event):
        if isinstance(event, DiskEnded):
            (out / "scsi0-1.raw").write_text("mine")

    point = point_of(proxy)
    proxy.on_event.append(occupy)
    outcome = restored(proxy, point, out)
    assert isinstance(outcome.error, TargetError)
    assert [path.name for path in out.iterdir()] == ["scsi0-1.raw"]
    assert (out / "scsi0-1.raw").read_text() == "mine"
    assert_ledgers_closed()


@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
def test_a_damaged_point_is_not_restored(proxy, tmp_path, export_format):
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    data = point.directory / point.manifest.disk[0].files[-1]
    with data.open("r+b") as file:
        file.seek(data.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    outcome = restored(proxy, point, tmp_path / "out")
    assert isinstance(outcome.error, VerifyError)
    assert "damaged" in outcome.error.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["raw", "vmdk", "qcow2"])
@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
def test_a_cancel_leaves_nothing(proxy, tmp_path, kind, export_format):
    if kind == "qcow2":
        require_tool("qemu-img")
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    cancel = CancelToken()
    proxy.on_event.append(lambda event: cancel.cancel() if isinstance(event, DiskStarted) else None)
    outcome = restore_files(point, tmp_path / "a" / "b", kind, proxy.report, cancel)
    assert outcome.state is ResultState.CANCELLED
    assert not (tmp_path / "a").exists()
    assert_ledgers_closed()


def test_no_space_is_told_before_anything_is_written(proxy, tmp_path, monkeypatch):
    point = point_of(proxy)
    real = os.statvfs

    def full(path):
        status = list(real(path))
        status[4] = 10  # f_bavail
        return os.statvfs_result(status)

    monkeypatch.setattr(os, "statvfs", full)
    outcome = restored(proxy, point, tmp_path / "out")
    assert isinstance(outcome.error, TargetFull)
    assert not (tmp_path / "out").exists()


def test_space_that_runs_out_meanwhile_leaves_nothing(proxy, tmp_path, monkeypatch):
    point = point_of(proxy)

    def refuse(self, offset, data):
        raise target_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self.path)

    monkeypatch.setattr(PlacedOutput, "put", refuse)
    outcome = restored(proxy, point, tmp_path / "out")
    assert isinstance(outcome.error, TargetFull)
    assert not (tmp_path / "out").exists()
    assert_ledgers_closed()


def test_a_target_that_keeps_something_else_is_found(proxy, tmp_path, monkeypatch):
    """A write that the medium garbled: reading back finds it."""
    point = point_of(proxy)
    write = PlacedOutput.put

    def garble(self, offset, data):
        data[100] ^= 1
        write(self, offset, data)

    monkeypatch.setattr(PlacedOutput, "put", garble)
    outcome = restored(proxy, point, tmp_path / "out")
    assert isinstance(outcome.error, VerifyError)
    assert not (tmp_path / "out").exists()


class TestFinding:
    def test_by_directory_by_its_place_and_not_at_all(self, proxy):
        point = point_of(proxy)
        short = f"{point.directory.parent.name}/{point.directory.name}"
        assert find_point(short, proxy.root) == point
        with pytest.raises(ConfigError) as raised:
            find_point(point.directory.parent.name, proxy.root)
        assert str(point.directory) in raised.value.hint

    def test_a_manifest_that_is_none(self, tmp_path):
        (tmp_path / "manifest.toml").write_text("x = ")
        with pytest.raises(ImageError):
            find_point(str(tmp_path), tmp_path)

"""What an export does when a part of it fails or the operator says stop: the right error, no files, no threads."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectionLost, ImageError, TargetError, TargetFull, VcbError
from engine.image import stream_optimized
from engine.image.direct_output import keep_free
from engine.image.pipeline import ImageFormat
from engine.image.written import Progress
from tests.image.disks import GIB, MIB, TIB, MemoryDisk, export_all, no_thread_left

FORMATS: tuple[ImageFormat, ...] = ("compact", "sparse", "flat")
PATTERN = os.urandom(MIB)


def big_disk() -> MemoryDisk:
    return MemoryDisk(256 * MIB, [(at * MIB, PATTERN) for at in range(256)])


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with no_thread_left():
        yield
    assert list(tmp_path.iterdir()) == []


def failing_pwrite(monkeypatch: pytest.MonkeyPatch, number: int, after: int) -> None:
    """os.pwrite that fails once `after` bytes are written, as a full file system does."""
    real, left = os.pwrite, [after]

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if left[0] < len(data):
            raise OSError(number, os.strerror(number))
        left[0] -= len(data)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("refusal", [(errno.ENOSPC, TargetFull), (errno.EDQUOT, TargetFull), (errno.EIO, TargetError)])
@pytest.mark.parametrize("after", [0, 40 * MIB])
def test_target_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ImageFormat, refusal: tuple[int, type[VcbError]], after: int
) -> None:
    number, error = refusal
    failing_pwrite(monkeypatch, number, after)
    with pytest.raises(error) as caught:
        export_all(big_disk(), tmp_path / "disk.vmdk", kind)
    assert caught.type is error
    assert caught.value.fault == errno.errorcode[number]
    assert "disk" in caught.value.sentence


@pytest.mark.parametrize("kind", FORMATS)
def test_fsync_tells_that_the_target_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ImageFormat
) -> None:
    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TargetFull):
        export_all(MemoryDisk(MIB, [(0, b"x" * 512)]), tmp_path / "disk.vmdk", kind)


def test_the_floor_of_free_space_ends_the_export(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize
    with pytest.raises(TargetFull, match="must stay free"):
        export_all(big_disk(), tmp_path / "disk.vmdk", "compact", reserve=keep_free(tmp_path, free + 100 * GIB))


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be written") as caught:
        export_all(big_disk(), tmp_path / "missing" / "disk.vmdk", "compact")
    assert caught.value.fault == "ENOENT"


class BreakingDisk(MemoryDisk):
    """Fails at the read with this number (from 0)."""

    def __init__(self, at: int) -> None:
        super().__init__(256 * MIB, big_disk().pieces)
        self._at = at

    def read_into(self, offset: int, buffer: memoryview) -> None:
        super().read_into(offset, buffer)
        if len(self.reads) > self._at:
            raise ConnectionLost("The NFC connection dropped.")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("at", [0, 1, 17, 63])
def test_the_source_breaks(tmp_path: Path, kind: ImageFormat, at: int) -> None:
    with pytest.raises(ConnectionLost, match="NFC connection dropped"):
        export_all(BreakingDisk(at), tmp_path / "disk.vmdk", kind)


def test_cancelled_before_it_began(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    source = big_disk()
    with pytest.raises(Cancelled):
        export_all(source, tmp_path / "disk.vmdk", "compact", cancel=token)
    assert not source.reads


class WaitingDisk(MemoryDisk):
    """Every read waits for `release`; `reading` tells that one has begun. It does not see a cancel."""

    def __init__(self) -> None:
        super().__init__(256 * MIB, big_disk().pieces)
        self.reading = threading.Event()
        self.release = threading.Event()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reading.set()
        self.release.wait()
        super().read_into(offset, buffer)


@pytest.mark.parametrize("kind", FORMATS)
def test_cancel_in_mid_read(tmp_path: Path, kind: ImageFormat) -> None:
    token, source = CancelToken(), WaitingDisk()

    def operator() -> None:
        source.reading.wait()
        token.cancel()
        source.release.set()

    thread = threading.Thread(target=operator)
    thread.start()
    with pytest.raises(Cancelled):
        export_all(source, tmp_path / "disk.vmdk", kind, threads=2, cancel=token)
    thread.join()
    assert len(source.reads) <= 4  # what each thread was in


@pytest.mark.parametrize("kind", FORMATS)
def test_cancel_in_mid_export(tmp_path: Path, kind: ImageFormat) -> None:
    token, source = CancelToken(), big_disk()
    read_into = source.read_into

    def cancelling(offset: int, buffer: memoryview) -> None:
        read_into(offset, buffer)
        if offset >= 100 * MIB:
            token.cancel()

    source.read_into = cancelling
    with pytest.raises(Cancelled):
        export_all(source, tmp_path / "disk.vmdk", kind, cancel=token)


def test_a_source_that_breaks_because_of_the_cancel(tmp_path: Path) -> None:
    """A cancel closes connections; the error that this gives must not hide the operator's word."""
    token, source = CancelToken(), big_disk()

    def closed(offset: int, buffer: memoryview) -> None:
        token.cancel()
        raise ConnectionLost("The socket was closed.")

    source.read_into = closed
    with pytest.raises(Cancelled):
        export_all(source, tmp_path / "disk.vmdk", "compact", cancel=token)


def test_cancel_while_a_long_hole_is_hashed(tmp_path: Path) -> None:
    """Of 12 TiB it takes seconds; the first progress report stops it."""
    token = CancelToken()
    with pytest.raises(Cancelled):
        export_all(
            MemoryDisk(12 * TIB), tmp_path / "disk.vmdk", "flat",
            cancel=token, progress=lambda _: token.cancel(),
        )  # fmt: skip


def test_a_broken_progress_callback_ends_the_export(tmp_path: Path) -> None:
    def progress(state: Progress) -> None:
        raise RuntimeError("the watcher broke")

    with pytest.raises(RuntimeError, match="the watcher broke"):
        export_all(big_disk(), tmp_path / "disk.vmdk", "compact", progress=progress)


def test_compact_ends_at_2_tib_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the format's limit moved down to 64 MiB."""
    monkeypatch.setattr(stream_optimized, "MAX_SECTOR", 64 * MIB // 512)
    with pytest.raises(ImageError, match="2 TiB") as caught:
        export_all(big_disk(), tmp_path / "disk.vmdk", "compact")
    assert "flat" in caught.value.hint

"""Raw images of odd disks, compared by qemu-img; threads, holes, and refusals."""

import threading

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, TransportError, VerifyError
from engine.image.raw_file import verify_raw, write_raw
from engine.image.recompress import recompress
from tests.image.disks import GIB, KIB, MIB, TIB, MemoryDisk, random_disk, run
from tests.tools import require_tool


def written(disk, target, threads=2, cancel=None):
    return write_raw(
        disk, disk.allocated(), target, threads=threads, cancel=cancel or CancelToken(), progress=lambda state: None
    )


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("raw-file")]


@pytest.mark.parametrize("capacity", [0, 512, 64 * KIB - 512, 64 * KIB, 3 * MIB + 512, 65 * MIB + 1536, 2 * TIB + 512])
def test_every_capacity(tmp_path, capacity):
    pieces = [(max(0, capacity - 1536), b"end" * 512)][: bool(capacity >= 1536)]
    pieces += [(0, b"begin" * 100 + bytes(12))] if capacity >= 4096 else []
    disk = MemoryDisk(capacity, pieces)
    raw = written(disk, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").stat().st_size == capacity
    assert (tmp_path / "out.raw").stat().st_blocks * 512 <= 256 * KIB
    assert verify_raw(raw, threads=2, cancel=CancelToken(), progress=lambda done: None) == raw.read
    if capacity:
        original = disk.save(tmp_path / "original.raw")
        run(require_tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", original, tmp_path / "out.raw")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threads", [1, 5])
def test_random_disks(tmp_path, seed, threads):
    disk = random_disk(seed, GIB // 4 + 512 * seed, 60)
    raw = written(disk, tmp_path / "out.raw", threads)
    original = disk.save(tmp_path / "original.raw")
    run(require_tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", original, tmp_path / "out.raw")
    verify_raw(raw, threads=threads, cancel=CancelToken(), progress=lambda done: None)
    image = bytearray()
    size = recompress(
        disk, disk.allocated(), image.extend, name="out.vmdk", threads=threads, cancel=CancelToken(),
        progress=lambda read: None,
    )  # fmt: skip
    assert size == len(image)
    (tmp_path / "out.vmdk").write_bytes(image)
    run(require_tool("qemu-img"), "check", "-f", "vmdk", tmp_path / "out.vmdk")
    run(require_tool("qemu-img"), "compare", "-f", "raw", "-F", "vmdk", original, tmp_path / "out.vmdk")
    assert threads_left() == []


def test_a_changed_byte_is_found(tmp_path):
    raw = written(MemoryDisk(MIB, [(70_000, b"x" * 100)]), tmp_path / "out.raw")
    with (tmp_path / "out.raw").open("r+b") as file:
        file.seek(70_050)
        file.write(b"y")
    with pytest.raises(VerifyError, match="not what was written"):
        verify_raw(raw, threads=2, cancel=CancelToken(), progress=lambda done: None)


def test_an_existing_file_is_never_touched(tmp_path):
    (tmp_path / "out.raw").write_text("mine")
    with pytest.raises(Exception, match="File exists"):
        written(MemoryDisk(MIB, [(0, b"x" * 512)]), tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_text() == "mine"


class BrokenDisk(MemoryDisk):
    def __init__(self, cancel=None) -> None:
        super().__init__(64 * MIB, [(0, b"x" * (32 * MIB))])
        self.cancel = cancel

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset >= 8 * MIB:
            if self.cancel:
                self.cancel.cancel()
            else:
                raise TransportError("It broke.")
        super().read_into(offset, buffer)


@pytest.mark.parametrize("stopped", [False, True])
def test_an_error_or_a_cancel_leaves_neither_file_nor_thread(tmp_path, stopped):
    cancel = CancelToken()
    with pytest.raises(Cancelled if stopped else TransportError):
        written(BrokenDisk(cancel if stopped else None), tmp_path / "out.raw", cancel=cancel)
    assert list(tmp_path.iterdir()) == []
    assert threads_left() == []

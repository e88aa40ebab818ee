"""The output file: same bytes and digest whatever the pieces, with and without O_DIRECT."""

import errno
import hashlib
import os
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.block_hash import BLOCK, BlockHash
from engine.errors import Cancelled, TargetError, TargetFull
from engine.image import direct_output
from engine.image.direct_output import BUFFER, BUFFERS, DirectOutput
from tests.image.disks import MIB, TIB, no_thread_left, sha256_of


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, BUFFER, 3 * BUFFER + 12_345])
def test_any_size(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with no_thread_left():
        output = DirectOutput(tmp_path / "file")
        for at in range(0, size, 100_001):
            output.write(data[at : at + 100_001])
        assert output.position == size
        written = output.close()
    assert (tmp_path / "file").read_bytes() == data
    assert (written.name, written.size, written.sha256) == ("file", size, hashlib.sha256(data).hexdigest())


def test_holes_are_holes_and_hashed_as_zeros(tmp_path: Path) -> None:
    output = DirectOutput(tmp_path / "file", blocks=BlockHash())
    output.skip(20 * MIB)
    output.write(b"x" * 4096)
    output.skip(4096)
    output.write(b"y" * 100)
    output.skip(MIB)
    written = output.close()
    truth = bytes(20 * MIB) + b"x" * 4096 + bytes(4096) + b"y" * 100 + bytes(MIB)
    assert (tmp_path / "file").read_bytes() == truth
    assert (written.sha256, written.blocks) == (sha256_of(truth, BLOCK), BLOCK)
    assert output.stored == 4196
    assert (tmp_path / "file").stat().st_blocks * 512 < MIB


class Gate:
    """A pulse that opens at its third beat, and what waits for that."""

    def __init__(self) -> None:
        self.beats = 0
        self.open = threading.Event()

    def pulse(self) -> None:
        self.beats += 1
        if self.beats == 3:
            self.open.set()


def test_the_pulse_beats_while_the_caller_waits_for_a_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real = Gate(), os.pwrite

    def pwrite(fd: int, data: Any, offset: int) -> int:
        assert gate.open.wait(60)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    data = random.Random(3).randbytes((BUFFERS + 1) * BUFFER)
    output = DirectOutput(tmp_path / "file", pulse=gate.pulse)
    output.write(data)
    assert gate.beats >= 3
    assert output.close().sha256 == hashlib.sha256(data).hexdigest()


def test_a_hole_that_takes_long_to_hash_can_be_given_up(tmp_path: Path) -> None:
    """Neither `skip` nor what follows it waits for the hash, `close` does, and an `abort` ends it."""

    def stop() -> None:
        raise Cancelled("Stop.")

    with no_thread_left():
        output = DirectOutput(tmp_path / "file", pulse=stop, blocks=BlockHash())
        output.write(b"x" * 4096)
        output.skip(62 * TIB)
        output.write(b"y" * 4096)
        assert output.position == 62 * TIB + 8192
        with pytest.raises(Cancelled):
            output.close()
        output.abort()
    assert not (tmp_path / "file").exists()


def test_a_write_error_ends_the_hash_of_a_long_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with no_thread_left():
        output = DirectOutput(tmp_path / "file", blocks=BlockHash())
        output.write(b"x" * 4096)
        with pytest.raises(TargetFull):  # noqa: PT012 - whichever of the two the error reaches
            output.skip(62 * TIB)
            output.close()
        output.abort()


class BrokenHash(BlockHash):
    """Takes one part, and fails at the next."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def update(self, data: bytes | memoryview) -> None:
        self.taken += 1
        if self.taken == 2:
            raise MemoryError

    def zeros(self, length: int) -> None:
        self.update(b"")


@pytest.mark.parametrize("hole", [False, True])
def test_an_error_of_the_hash_reaches_the_caller(tmp_path: Path, hole: bool) -> None:
    with no_thread_left():
        output = DirectOutput(tmp_path / "file", blocks=BrokenHash())
        with pytest.raises(MemoryError):  # noqa: PT012 - whichever of them the error reaches
            output.write(bytes(BUFFER))
            if hole:
                output.skip(62 * TIB)
            output.write(bytes(2 * BUFFERS * BUFFER))
            output.close()
        output.abort()
    assert not (tmp_path / "file").exists()


def test_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("image-output"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with no_thread_left(), pytest.raises(RuntimeError):
        DirectOutput(tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older and longer")
    output = DirectOutput(tmp_path / "file")
    output.write(b"new")
    output.close()
    assert (tmp_path / "file").read_bytes() == b"new"


def refuse_direct(monkeypatch: pytest.MonkeyPatch, at_open: bool) -> list[bool]:
    """A file system without O_DIRECT: some say so at open, some at the first write. Notes how each write went."""
    real_open, real_write, direct = os.open, os.pwrite, []

    def fake_open(path: Any, flags: int, mode: int = 0o777) -> int:
        if at_open and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT")
        return real_open(path, flags & ~os.O_DIRECT, mode)

    def fake_write(fd: int, data: Any, offset: int) -> int:
        if not at_open and not direct:
            direct.append(True)
            raise OSError(errno.EINVAL, "not aligned enough")
        direct.append(False)
        return real_write(fd, data, offset)

    monkeypatch.setattr(os, "open", fake_open)
    monkeypatch.setattr(os, "pwrite", fake_write)
    return direct


@pytest.mark.parametrize("at_open", [True, False])
def test_file_systems_without_direct_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_open: bool) -> None:
    direct = refuse_direct(monkeypatch, at_open)
    output = DirectOutput(tmp_path / "file")
    data = random.Random(1).randbytes(2 * BUFFER + 77)
    output.write(data)
    assert output.close().sha256 == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "file").read_bytes() == data
    assert direct.count(True) == (0 if at_open else 1)


def test_a_real_tmpfs() -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("/dev/shm is not writable here")
    path = shm / f"vcb-test-{os.getpid()}"
    try:
        output = DirectOutput(path)
        output.write(b"x" * 5000)
        assert output.close().sha256 == hashlib.sha256(b"x" * 5000).hexdigest()
    finally:
        path.unlink(missing_ok=True)


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:4096], offset))
    output = DirectOutput(tmp_path / "file")
    data = random.Random(2).randbytes(300_000)
    output.write(data)
    output.close()
    assert (tmp_path / "file").read_bytes() == data


def test_an_error_reaches_the_caller_once_and_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with no_thread_left():
        output = DirectOutput(tmp_path / "file")
        with pytest.raises(TargetFull):
            output.write(bytes(10 * BUFFER))
        with pytest.raises(TargetFull):
            output.close()
        output.abort()
        output.abort()
    assert not (tmp_path / "file").exists()


def test_the_process_limit_on_file_size(tmp_path: Path) -> None:
    """A real EFBIG from the kernel, in a process of its own."""
    code = f"""
import resource, sys
from pathlib import Path
from engine.errors import TargetError
from engine.image.direct_output import DirectOutput
resource.setrlimit(resource.RLIMIT_FSIZE, ({8 * MIB}, {8 * MIB}))
output = DirectOutput(Path(sys.argv[1]))
try:
    for _ in range(10):
        output.write(bytes({4 * MIB}))
    output.close()
except TargetError as error:
    print(error.fault, error.code)
    output.abort()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["EFBIG", "target"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 8 * MIB
    assert not (tmp_path / "file").exists()


def test_keep_free_looks_at_the_file_system(tmp_path: Path) -> None:
    direct_output.keep_free(tmp_path, 0)(4096)
    with pytest.raises(TargetFull):
        direct_output.keep_free(tmp_path, 1 << 60)(4096)
    with pytest.raises(TargetError):
        direct_output.keep_free(tmp_path / "missing", 0)(4096)

"""A file written at any place: by several threads, with and without O_DIRECT, and gone after a failure."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TargetError, TargetFull
from engine.image.placed_output import PlacedOutput
from engine.page_memory import private_memory
from tests.image.disks import MIB
from tests.image.test_direct_output import refuse_direct


def block(value: int, size: int = 64 << 10) -> memoryview:
    memory = private_memory(size)
    memory[:] = bytes([value]) * size
    return memory


def test_what_was_put_lies_there_and_all_else_is_a_hole(tmp_path: Path) -> None:
    output = PlacedOutput(tmp_path / "file", 40 * MIB + 512)
    places = [39 * MIB, 0, 7 * MIB, 40 * MIB]
    threads = [threading.Thread(target=output.put, args=(at, block(1 + at // MIB))) for at in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.close()
    truth = bytearray(40 * MIB + 512)
    for at in places:
        size = min(64 << 10, len(truth) - at)
        truth[at : at + size] = bytes([1 + at // MIB]) * size
    assert (tmp_path / "file").read_bytes() == truth
    assert output.stored == 3 * (64 << 10) + 512
    assert (tmp_path / "file").stat().st_blocks * 512 < MIB
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at_open", [True, False])
@pytest.mark.parametrize("exclusive", [True, False])
def test_file_systems_without_direct_io(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_open: bool, exclusive: bool
) -> None:
    direct = refuse_direct(monkeypatch, at_open)
    output = PlacedOutput(tmp_path / "file", MIB, exclusive=exclusive)
    output.put(4096, block(7))
    output.close()
    assert (tmp_path / "file").read_bytes()[4096 : 4096 + (64 << 10)] == bytes([7]) * (64 << 10)
    assert direct.count(True) == (0 if at_open else 1)


def test_an_older_file_is_replaced_or_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older")
    with pytest.raises(TargetError, match="File exists"):
        PlacedOutput(tmp_path / "file", 4096, exclusive=True)
    assert (tmp_path / "file").read_bytes() == b"older"
    PlacedOutput(tmp_path / "file", 4096).close()
    assert (tmp_path / "file").read_bytes() == bytes(4096)


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, TargetFull), (errno.EIO, TargetError)])
def test_an_error_of_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type) -> None:
    def fail(fd: int, data: Any, offset: int) -> int:
        raise OSError(number, os.strerror(number))

    output = PlacedOutput(tmp_path / "file", MIB)
    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(kind):
        output.put(0, block(1))
    assert output.stored == 0
    output.abort()
    output.abort()
    assert not (tmp_path / "file").exists()


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:4096], offset))
    output = PlacedOutput(tmp_path / "file", MIB)
    output.put(0, block(3))
    output.close()
    assert (tmp_path / "file").read_bytes() == bytes([3]) * (64 << 10) + bytes(MIB - (64 << 10))


def test_the_floor_is_asked_for_before_a_block_is_written(tmp_path: Path) -> None:
    def full(size: int) -> None:
        assert size == 64 << 10
        raise TargetFull("The floor is reached.")

    output = PlacedOutput(tmp_path / "file", MIB, reserve=full)
    with pytest.raises(TargetFull):
        output.put(0, block(1))
    assert (tmp_path / "file").stat().st_blocks == 0
    output.abort()


def test_a_file_larger_than_its_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        PlacedOutput(tmp_path / "file", 1 << 62)
    assert not (tmp_path / "file").exists()

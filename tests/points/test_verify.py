import hashlib
import os
import random

import pytest

from engine.block_hash import BLOCK
from engine.cancel import CancelToken
from engine.errors import Cancelled, VerifyError
from engine.points.manifest import FileEntry
from engine.points.verify import verify_files
from tests.image.disks import MIB, sha256_of


def entry(path, data):
    path.write_bytes(data)
    return FileEntry(name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4096, 4 << 20, (4 << 20) + 7])
def test_whole_files_pass(tmp_path, size):
    sums = []
    file = entry(tmp_path / "a", bytes(range(256)) * (size // 256) + b"z" * (size % 256))
    assert verify_files(tmp_path, [file], CancelToken(), sums.append) == size
    assert sums == sorted(sums)


def test_a_flipped_bit_is_found(tmp_path):
    file = entry(tmp_path / "a", b"x" * 100_000)
    data = bytearray((tmp_path / "a").read_bytes())
    data[54_321] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(VerifyError, match="a is not what was written"):
        verify_files(tmp_path, [file], CancelToken())


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_length_is_found(tmp_path, change):
    file = entry(tmp_path / "a", b"x" * 5000)
    (tmp_path / "a").write_bytes(b"x" * (5000 + change))
    with pytest.raises(VerifyError):
        verify_files(tmp_path, [file], CancelToken())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VerifyError, match="gone is missing"):
        verify_files(tmp_path, [FileEntry(name="gone", size=1, sha256="")], CancelToken())


def test_cancel(tmp_path):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        verify_files(tmp_path, [entry(tmp_path / "a", b"x")], cancel)


class Seen:
    """What a reader is shown of a file, put together again."""

    def __init__(self):
        self.content, self.holes, self.finished = bytearray(), [], False

    def take(self, data):
        self.content += data

    def hole(self, length):
        assert len(self.content) % BLOCK == 0
        self.holes.append((len(self.content), length))
        self.content += bytes(length)

    def finish(self):
        self.finished = True


def thin(path, size, pieces):
    """A file of `size` bytes with these (offset, bytes) in it; its entry, hashed by blocks."""
    with path.open("wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
        os.fsync(file.fileno())
    return FileEntry(name=path.name, size=size, sha256=sha256_of(path.read_bytes(), BLOCK), blocks=BLOCK)


PIECES = [(5 * MIB + 4096, b"a" * 4096), (9 * MIB - 512, random.Random(1).randbytes(3 * MIB)), (40 * MIB, b"end")]


@pytest.mark.parametrize("size", [41 * MIB, 45 * MIB + 512])
@pytest.mark.parametrize("pieces", [PIECES, PIECES[:2], [], [(0, b"x"), *PIECES]])
def test_holes_of_a_file_of_blocks_are_not_read(tmp_path, monkeypatch, size, pieces):
    file, seen, read = thin(tmp_path / "a", size, pieces), Seen(), []
    real = os.preadv

    def preadv(fd, buffers, offset):
        read.append(real(fd, buffers, offset))
        return read[-1]

    monkeypatch.setattr(os, "preadv", preadv)
    assert verify_files(tmp_path, [file], CancelToken(), readers={"a": seen}) == size
    assert seen.content == (tmp_path / "a").read_bytes()
    assert seen.finished
    assert sum(read) <= 4 * MIB
    assert all(start % BLOCK == 0 and (length % BLOCK == 0 or start + length == size) for start, length in seen.holes)


@pytest.mark.parametrize("place", [0, 5 * MIB, 10 * MIB, 41 * MIB + 511])
def test_a_changed_byte_of_a_file_of_blocks_is_found_in_data_and_holes(tmp_path, place):
    file = thin(tmp_path / "a", 41 * MIB + 512, PIECES)
    with (tmp_path / "a").open("r+b") as damaged:
        damaged.seek(place)
        byte = damaged.read(1)
        damaged.seek(place)
        damaged.write(bytes([byte[0] ^ 1]))
    with pytest.raises(VerifyError, match="a is not what was written"):
        verify_files(tmp_path, [file], CancelToken())


def test_data_that_became_a_hole_are_found(tmp_path):
    file = thin(tmp_path / "a", 41 * MIB, PIECES)
    thin(tmp_path / "a", 41 * MIB, PIECES[:1])
    with pytest.raises(VerifyError, match="a is not what was written"):
        verify_files(tmp_path, [file], CancelToken())


def test_a_file_system_that_knows_no_holes(tmp_path, monkeypatch):
    file, seen = thin(tmp_path / "a", 41 * MIB, PIECES), Seen()

    def lseek(fd, at, how):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "lseek", lseek)
    assert verify_files(tmp_path, [file], CancelToken(), readers={"a": seen}) == 41 * MIB
    assert seen.holes == []


def test_blocks_of_another_size_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(VerifyError, match="blocks of 4,096 bytes"):
        verify_files(tmp_path, [FileEntry(name="a", size=1, sha256="", blocks=4096)], CancelToken())

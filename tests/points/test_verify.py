import hashlib

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, VerifyError
from engine.points.manifest import FileEntry
from engine.points.verify import verify_files


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

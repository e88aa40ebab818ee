"""What only NTFS has: compressed files, reparse points, streams, its own files."""

import os
import struct
from pathlib import Path

import pytest

from tests.drill.made import blank, point_of, tool
from tests.files.made import mounted, vcb

SYMLINK, JUNCTION, DEDUPLICATED = 0xA000000C, 0xA0000003, 0x80000013
"""Reparse tags (MS-FSCC 2.1.2.1)."""


def reparse(path: Path, tag: int) -> None:
    """A reparse point to C:\\Users, or one whose content only Windows finds."""
    target, shown = r"\??\C:\Users".encode("utf-16le"), r"C:\Users".encode("utf-16le")
    lengths = struct.pack("<HHHH", 0, len(target), len(target) + 2, len(shown))
    flags = bytes(4) if tag == SYMLINK else b""
    data = b"12345678" if tag == DEDUPLICATED else lengths + flags + target + b"\0\0" + shown + b"\0\0"
    os.setxattr(path, "system.ntfs_reparse_data", struct.pack("<IHH", tag, len(data), 0) + data)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """All of it compressed by NTFS, where it is larger than a record."""
    path = tmp_path / "volume"
    tool("mkfs.ntfs", "-F", "-Q", "-q", "-C", blank(path, 24 << 20))
    return path


def test_compressed_files_and_reparse_points(
    root: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {
        "text": b"compress me please " * 50_000,
        "mixed": b"a line of text\n" * 9_000 + bytes(300_000) + os.urandom(200_000) + b"end",
    }
    with mounted(image, tmp_path / "mount", "ntfs") as at:
        for name, content in contents.items():
            (at / name).write_bytes(content)
        for name, tag in (("symlink", SYMLINK), ("cloud", DEDUPLICATED)):
            (at / name).touch()
            reparse(at / name, tag)
        (at / "junction").mkdir()
        reparse(at / "junction", JUNCTION)
    assert sum(map(len, contents.values())) > 1 << 20
    point = point_of(root, 0, image)
    code, done, told = vcb(capsys, "get", point, "0", "--to", tmp_path / "out")
    assert code == 3, told
    assert {row["path"] for row in done["exceptions"]} == {"junction", "cloud"}
    assert "its content lies elsewhere" in told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*contents, "symlink"}
    for name, content in contents.items():
        assert (tmp_path / "out" / name).read_bytes() == content
    assert "Users" in os.readlink(tmp_path / "out" / "symlink")  # noqa: PTH115 - not to be understood as a path
    code, listed, _ = vcb(capsys, "ls", point, "0")
    assert code == 3
    assert {row["name"]: row["kind"] for row in listed["entries"]} == {
        "text": "file", "mixed": "file", "symlink": "symlink", "cloud": "file", "junction": "directory",
    }  # fmt: skip

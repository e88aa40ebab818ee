"""A disk with the mix of a real guest: this machine's files on 4 KiB boundaries, random data, written zeros, holes."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
_TREES = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include")
_LAYOUT = (("files", 24), ("random", 4), ("zeros", 4), ("hole", 32))
"""MiB of each kind, over and over: half of the disk is allocated, three quarters of that installed software."""


def sample_disk(path: Path, capacity: int) -> Path:
    """Writes the sparse raw file; the same machine gives the same content."""
    rng = random.Random(capacity)
    files = _files()
    with path.open("wb") as disk:
        disk.truncate(capacity)
        at = 0
        while at < capacity:
            for kind, size in _LAYOUT:
                disk.seek(at)
                for _ in range(size if kind != "hole" and at < capacity else 0):
                    disk.write(
                        next(files) if kind == "files" else rng.randbytes(MIB) if kind == "random" else bytes(MIB)
                    )
                at += size * MIB
        disk.truncate(capacity)
    return path


def _files() -> Iterator[bytes]:
    """The machine's files end to end as pieces of 1 MiB, each file padded to 4 KiB as a file system would."""
    piece = bytearray()
    while True:
        found = False
        for tree in _TREES:
            for directory, folders, names in os.walk(tree):
                folders.sort()
                for name in sorted(names):
                    path = Path(directory, name)
                    if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                        continue
                    content = path.read_bytes()
                    found = found or bool(content)
                    piece += content.ljust(-(-len(content) // 4096) * 4096, b"\0")
                    while len(piece) >= MIB:
                        yield bytes(piece[:MIB])
                        del piece[:MIB]
        if not found:
            raise RuntimeError(f"None of {', '.join(_TREES)} has a readable file to fill the disk with.")

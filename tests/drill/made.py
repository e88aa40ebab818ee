"""Disks with real partition tables and real file systems, made by the platform's own programs, as restore points."""

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.image.flat import RawDisk
from tests.image.disks import KIB, MIB
from tests.points.made import point
from tests.tools import require_tool

ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}


def tool(name: str, *arguments: str | Path, given: str = "") -> bytes:
    require_tool(name)
    command = [name, *map(str, arguments)]
    done = subprocess.run(command, input=given.encode(), capture_output=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, f"{command}: {done.stdout!r}{done.stderr!r}"
    return done.stdout


def blank(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def files(home: Path) -> Path:
    """A small tree of files."""
    rng = random.Random(5)
    (home / "deep" / "er").mkdir(parents=True)
    for number in range(20):
        (home / "deep" / f"file-{number}").write_bytes(rng.randbytes(rng.randrange(1, 40 * KIB)))
    return home


def ext4(path: Path) -> Path:
    tool("mkfs.ext4", "-q", "-F", "-d", files(path.with_suffix(".files")), blank(path, 12 * MIB))
    return path


def xfs(path: Path) -> Path:
    tool("mkfs.xfs", "-q", "-f", blank(path, 300 * MIB))
    return path


def ntfs(path: Path) -> Path:
    tool("mkfs.ntfs", "-F", "-Q", "-q", blank(path, 12 * MIB))
    source = path.with_suffix(".txt")
    source.write_bytes(random.Random(6).randbytes(100 * KIB))
    tool("ntfscp", "-f", path, source, "hello.bin")
    return path


def fat(path: Path) -> Path:
    tool("mkfs.fat", "-F", "16", blank(path, 12 * MIB))
    return path


def swap(path: Path) -> Path:
    tool("mkswap", "-q", blank(path, 2 * MIB))
    return path


FILE_SYSTEMS: dict[str, Callable[[Path], Path]] = {"ext": ext4, "xfs": xfs, "ntfs": ntfs, "fat": fat, "swap": swap}


def spoil(path: Path, offset: int, length: int) -> Path:
    """Random bytes in place of what was there."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(7).randbytes(length))
    return path


DAMAGE: dict[str, Callable[[Path], Path]] = {
    "ext": lambda path: spoil(path, 40 * KIB, 60 * KIB),
    "xfs": lambda path: spoil(path, 512, 3 * 512),
    "ntfs": lambda path: spoil(path, 16 * KIB, 16 * KIB),
    "fat": lambda path: spoil(path, 4 * 512 + 5, 40),
}
"""What lies there: inodes; the headers of free space and inodes; the first records of $MFT; the first FAT."""


def on_disk(path: Path, volumes: Sequence[Path], script: str = "label: gpt\n", kinds: Sequence[str] = ()) -> Path:
    """A disk with one partition for each volume, from 1 MiB on, in this order."""
    at, lines = MIB, script
    for number, volume in enumerate(volumes):
        size = volume.stat().st_size
        kind = f", type={kinds[number]}" if kinds else ""
        lines += f"start={at // 512}, size={size // 512}{kind}\n"
        at += size
    tool("sfdisk", "-q", blank(path, at + MIB), given=lines)
    at = MIB
    with path.open("r+b") as disk:
        for volume in volumes:
            source = RawDisk(volume)
            for extent in source.allocated():
                buffer = bytearray(extent.length)
                source.read_into(extent.start, memoryview(buffer))
                disk.seek(at + extent.start)
                disk.write(buffer)
            source.close()
            at += volume.stat().st_size
    return path


def point_of(root: Path, day: int, disk: Path, *, parent: Path | None = None) -> Path:
    """A restore point whose one disk is this raw image."""
    source = RawDisk(disk)
    try:
        return point(root, day, parent=parent, source=source)
    finally:
        source.close()

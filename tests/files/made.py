"""Trees of files, and genuine file systems that hold them, made by the platform's own programs."""

import hashlib
import json
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.drill.made import ENVIRONMENT, blank, tool
from tests.image.disks import KIB, MIB
from tests.tools import require_tool
from tui.cli.app import main

MOMENT = 1_100_000_000_987_654_321
"""Nanoseconds since the epoch: 2004-11-09."""


class Found(NamedTuple):
    kind: int
    mode: int
    seconds: int
    content: str
    """SHA-256 of a file, target of a symlink."""


def tree(home: Path) -> Path:
    """Files of several sizes, deep directories, hard and symbolic links, a sparse file, and names of all sorts."""
    rng = random.Random(5)
    (home / "deep" / "er" / "leaf").mkdir(parents=True)
    for number in range(20):
        (home / "deep" / f"file-{number}").write_bytes(rng.randbytes(rng.randrange(1, 40 * KIB)))
    (home / "deep" / "er" / "leaf" / "big").write_bytes(rng.randbytes(MIB + 12_345))
    (home / "empty").touch()
    (home / "übung 日本").write_text("u")
    (home / "small").write_text("small")
    (home / "small").chmod(0o4640)
    (home / "deep" / "er").chmod(0o555)
    for path in (home / "small", home / "deep" / "er"):
        os.utime(path, ns=(MOMENT, MOMENT))
    return home


def linked(home: Path) -> Path:
    """What only file systems of Unix hold."""
    os.link(home / "small", home / "same")
    for name, target in (("link", "small"), ("out", "/etc"), ("up", "../../../../etc/passwd"), ("long", "x" * 200)):
        (home / name).symlink_to(target)
    (home / "new\nline\x1b[31m").write_text("escape")
    os.mkfifo(home / "pipe")
    return holed(home)


def holed(home: Path) -> Path:
    with (home / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (10 * MIB, 40 * MIB):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(100 * KIB))
    return home


def seen(home: Path, *, modes: bool = True, times: bool = True) -> dict[str, Found]:
    """What lies below a directory, by its path there."""
    found: dict[str, Found] = {}
    for path in sorted(home.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = ""
        if kind == stat.S_IFREG:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif kind == stat.S_IFLNK:
            content = str(path.readlink())
        mode = status.st_mode & 0o777 if modes and kind != stat.S_IFLNK else 0
        seconds = status.st_mtime_ns // 10**9 if times and kind == stat.S_IFREG else 0
        found[str(path.relative_to(home))] = Found(kind, mode, seconds, content)
    return found


def ext4(path: Path, source: Path, *options: str) -> Path:
    tool("mkfs.ext4", "-q", "-F", *options, "-d", source, blank(path, 24 * MIB))
    return path


def fat(path: Path, source: Path, bits: int = 32) -> Path:
    """mcopy -m keeps the times, in the zone of the environment."""
    tool("mkfs.fat", "-F", str(bits), "-n", "BOOT", blank(path, 40 * MIB if bits == 32 else 12 * MIB))
    require_tool("mcopy")
    command = ["mcopy", "-s", "-m", "-Q", "-i", str(path), *map(str, sorted(source.iterdir())), "::/"]
    subprocess.run(command, check=True, capture_output=True, env={**ENVIRONMENT, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
    return path


def xfs(path: Path, source: Path) -> Path:
    """By a prototype file (mkfs.xfs(8)): it knows modes, but no times, no holes and no names with blanks."""
    lines = ["/", "0 0", "d--755 0 0", *_prototype(source), "$", ""]
    prototype = path.with_suffix(".proto")
    prototype.write_text("\n".join(lines))
    tool("mkfs.xfs", "-q", "-f", "-p", prototype, blank(path, 300 * MIB))
    return path


def _prototype(directory: Path) -> Iterator[str]:
    for path in sorted(directory.iterdir()):
        status = path.lstat()
        mode = f"{status.st_mode & 0o777:03o} 0 0"
        setuid = "u" if status.st_mode & stat.S_ISUID else "-"
        if " " in path.name or "\n" in path.name:
            continue
        if path.is_symlink():
            yield f"{path.name} l--{mode} {path.readlink()}"
        elif path.is_dir():
            yield f"{path.name} d--{mode}"
            yield from _prototype(path)
            yield "$"
        elif path.is_file():
            yield f"{path.name} -{setuid}-{mode} {path}"
        else:
            yield f"{path.name} p--{mode}"


def ntfs(path: Path, source: Path) -> Path:
    """The files of one directory, without a mount; ntfscp keeps no times."""
    tool("mkfs.ntfs", "-F", "-Q", "-q", "-L", "System", blank(path, 24 * MIB))
    for file in sorted(source.iterdir()):
        if file.is_file():
            tool("ntfscp", "-f", path, file, file.name)
    return path


@contextmanager
def mounted(image: Path, at: Path, kind: str) -> Iterator[Path]:
    """The file system, writable; skips where this machine mounts nothing."""
    at.mkdir(exist_ok=True)
    command = ["ntfs-3g", image, at] if kind == "ntfs" else ["mount", "-o", "loop", image, at]
    try:
        tool(*map(str, command))
    except AssertionError as error:
        pytest.skip(f"this machine mounts nothing: {error}")
    try:
        yield at
    finally:
        tool("umount", at)


def copied(source: Path, target: Path) -> None:
    """With holes, times and links."""
    subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", target], check=True, capture_output=True)


def physical_volumes(home: Path, count: int, script: Callable[[str], list[list[str]]]) -> list[Path]:
    """Disks of one volume group vg0 as lvm2's own programs make them. `script` gets the first device; each of its
    commands is one of lvm's. Skips where there are no loop devices."""
    for needed in ("lvm", "losetup"):
        require_tool(needed)
    images = [blank(home / f"physical-{number}", 64 * MIB) for number in range(count)]
    devices: list[str] = []
    try:
        try:
            devices += [tool("losetup", "-f", "--show", image).decode().strip() for image in images]
        except AssertionError as error:
            pytest.skip(f"this machine gives no loop device: {error}")
        allowed = ", ".join(f'"a|^{device}$|"' for device in devices)
        config = f'devices {{ use_devicesfile=0 filter=[{allowed}, "r|.*|"] }} backup {{ backup=0 archive=0 }}'
        common = ["-q", "--driverloaded", "n", "--config", config]
        tool("lvm", "pvcreate", "-ff", "-y", *common, *devices)
        tool("lvm", "vgcreate", *common, "-s", "1m", "vg0", *devices)
        for command in script(devices[0]):
            tool("lvm", *command, *common)
    finally:
        for device in devices:
            tool("losetup", "-d", device)
    return images


def vcb(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, the machine's line, and what people read."""
    capsys.readouterr()
    code = main(["files", *map(str, arguments), "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err

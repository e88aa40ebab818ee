"""The power fails: of what the job wrote, only that is left which it had synced. Two file systems are played, at each
call that changes something: one that loses every unsynced name and byte, and one that keeps names and loses bytes."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.flow import ledger
from engine.flow.ledger import Kind
from engine.flow.point_check import PointChecks
from engine.points import catalog
from engine.points.proof import Depth
from engine.reporter import silent
from tests.faults.cells import Cell, Trouble
from tests.faults.os_seam import MUTATING, Seam
from tests.faults.recording import Recording, watched
from tests.faults.scene import Scene

_SYNCS = ("fsync", "fdatasync")


class Medium:
    """What is safe: the bytes of files and the names in directories, by inode, as of their last sync."""

    def __init__(self, *roots: Path) -> None:
        self._files: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._kept: dict[int, int] = {}
        for root in roots:
            for path in (root, *root.rglob("*")):
                self.sync(path)

    def sync(self, target: Path | int) -> None:
        """An inode that is held open here is given to no other file."""
        fd = os.open(target if isinstance(target, Path) else f"/proc/self/fd/{target}", os.O_RDONLY)
        status = os.fstat(fd)
        inode = status.st_ino
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(fd) as entries:
                self._names[inode] = {entry.name: entry.inode() for entry in entries}
        else:
            self._files[inode] = _content(fd)
        if inode in self._kept:
            os.close(fd)
        else:
            self._kept[inode] = fd

    def close(self) -> None:
        for fd in self._kept.values():
            os.close(fd)

    def survivors(self, root: Path, target: Path, *, names_survive: bool) -> None:
        """Makes in `target` what is left of `root`."""
        self._copy(root.stat().st_ino, root, target, names_survive=names_survive)

    def _copy(self, inode: int, path: Path, target: Path, *, names_survive: bool) -> None:
        target.mkdir()
        names = self._names.get(inode, {})
        if names_survive:
            names = {entry.name: entry.stat(follow_symlinks=False).st_ino for entry in os.scandir(path)}
        for name, child in names.items():
            if child in self._names or (names_survive and (path / name).is_dir()):
                self._copy(child, path / name, target / name, names_survive=names_survive)
            else:
                (target / name).write_bytes(self._files.get(child, b""))


class Outages:
    """A context around a job: at each of its changes in `stage`, what a loss of power would leave is looked at."""

    def __init__(self, scene: Scene, stage: str, *, names_survive: bool) -> None:
        self._scene, self._stage, self._names_survive = scene, stage, names_survive
        self._medium = Medium(scene.root, scene.state)
        self._seam = Seam(watched(scene), self._called)
        self.looks = 0

    def __enter__(self) -> "Outages":
        self._seam.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self._seam.__exit__(*how)
        self._medium.close()

    def _called(self, where: str, name: str, number: int, target: Any) -> None:
        if name in MUTATING and self._scene.stage == self._stage:
            self.looks += 1
            found = [f"power lost at {name} {number} in {where}: {what}" for what in self._look()]
            self._scene.problems += found[:3]
        if name in _SYNCS:
            self._medium.sync(target)

    def _look(self) -> Iterator[str]:
        scene, after = self._scene, self._scene.directory / "after"
        try:
            after.mkdir()
            for name, root in watched(scene).items():
                self._medium.survivors(root, after / name, names_survive=self._names_survive)
            yield from _problems(scene, after / "root", after / "state")
        finally:
            shutil.rmtree(after)


def outages(transport: str, recorded: Recording) -> Iterator[Cell]:
    for stage in recorded.stages:
        if not any(met.stage == stage and met.name in MUTATING for met in recorded.calls):
            continue
        for names_survive, what in ((False, "names and bytes"), (True, "bytes")):

            def patched(scene: Scene, stage: str = stage, names_survive: bool = names_survive) -> Outages:
                return Outages(scene, stage, names_survive=names_survive)

            yield Cell("power loss", stage, transport, f"unsynced {what} are lost", Trouble(patched=patched))


def _problems(scene: Scene, root: Path, state: Path) -> Iterator[str]:
    for name in scene.before:
        if not (root / name).exists():
            yield f"{name} is gone"
    seen = catalog.look(root, scene.directory / "catalog")
    yield from (f"a point that can't be read is listed: {path.name}: {why}" for path, why in seen.troubles.items())
    checks = PointChecks(Depth.FILES, CancelToken(), silent())
    for point in seen.points:
        yield from (f"{point.name} is listed and damaged: {found}" for found in checks.check(point.directory).findings)
    told = [entry for path in (state / "jobs").glob("*/ledger.jsonl") for entry in ledger.read(path) if entry.open]
    if scene.left_in_vcenter() and not any(entry.kind in (Kind.SNAPSHOT, Kind.LEASE) for entry in told):
        yield f"no ledger tells of the {scene.left_in_vcenter()[0]}"
    directories = {Path(entry.details["path"]).name for entry in told if entry.kind is Kind.DIRECTORY}
    for path in root.glob("fullvm-*"):
        if path.name not in directories:
            yield f"no ledger tells of {path.name}"


def _content(fd: int) -> bytes:
    parts, offset = [], 0
    while part := os.pread(fd, 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)

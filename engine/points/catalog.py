"""The restore points under BACKUPROOT, with what they hold, need and were proven to be.

The truth is in the manifests. What has been read of them is kept in an SQLite file of the state directory (WAL, which
network file systems under a BACKUPROOT do not carry), so that ten thousand points need no ten thousand readings. It is
a cache: whatever is wrong with it, it is made anew. It also remembers what was there, so that a point that vanished
or a manifest that changed is noticed.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from engine.errors import ImageError
from engine.points import drills, manifest as manifests, proof as proofs, replacement
from engine.points.catalog_cache import CatalogCache, Seen
from engine.points.drills import Drill
from engine.points.manifest import DiskEntry, Manifest
from engine.points.naming import POINTS
from engine.points.proof import Depth, Proof
from engine.points.removal import tombstones


@dataclass(frozen=True)
class Point:
    """One restore point as its manifest and its proof tell it."""

    directory: Path
    manifest: Manifest
    proof: Proof | None
    unproven: str = ""
    """Why its proof.toml is worth nothing; "" when it is fine, or when there is none."""

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def identity(self) -> tuple[str, str]:
        """Which VM of which vCenter; a renamed one stays the same."""
        return self.manifest.vcenter.instance_uuid, self.manifest.vm.moref

    @property
    def parents(self) -> frozenset[Path]:
        """The points, beside this one, without which it can't be read."""
        return frozenset(self.directory.with_name(disk.parent) for disk in self.manifest.disk if disk.parent)

    @property
    def kind(self) -> str:
        """full, incremental, "mixed" when its disks differ, "" when it has none."""
        kinds = {disk.kind for disk in self.manifest.disk}
        return "mixed" if len(kinds) > 1 else next(iter(kinds), "")

    @property
    def stored(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.manifest.file)

    @property
    def proven(self) -> datetime | None:
        """When it was last proven; None once a look found damage. A point gets its name only after its first proof, so
        one without a record was proven when it was made."""
        if self.flaw:
            return None
        return self.proof.passed.at if self.proof and self.proof.passed else self.manifest.created

    @property
    def depth(self) -> Depth:
        return self.proof.passed.depth if self.proof and self.proof.passed else Depth.FILES

    @property
    def flaw(self) -> str:
        """What is known to be wrong with the point itself."""
        if self.unproven:
            return self.unproven
        failed = self.proof.failed if self.proof else None
        return f"{failed.findings[0]} (found {failed.at:%Y-%m-%d})" if failed else ""


@dataclass(frozen=True)
class Catalogue:
    """`points` oldest first. `troubles` are directories that ought to be points and can't be read; `notices` what
    became different since the last look."""

    root: Path
    points: tuple[Point, ...]
    troubles: dict[Path, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    tombstones: tuple[Path, ...] = ()
    interrupted: tuple[Path, ...] = ()
    """Merges that are at work or were cut off."""
    drills: dict[tuple[str, str], tuple[Drill, ...]] = field(default_factory=dict)
    """By VM, oldest first; also of points that are gone since."""

    @cached_property
    def by_directory(self) -> dict[Path, Point]:
        return {point.directory: point for point in self.points}

    def of_vm(self, identity: tuple[str, str]) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.identity == identity)

    def last_drill(self, identity: tuple[str, str]) -> Drill | None:
        return next(reversed(self.drills.get(identity, ())), None)

    def drill(self, point: Point) -> Drill | None:
        """The last one of this point."""
        drilled = reversed(self.drills.get(point.identity, ()))
        return next((drill for drill in drilled if drill.point == point.name), None)

    def chain(self, point: Point) -> tuple[Point, ...]:
        """The point and all that it needs, newest first, as far as they are there."""
        found = {point.directory: point}
        todo = [point]
        while todo:
            for directory in todo.pop().parents - found.keys():
                if (parent := self.by_directory.get(directory)) is not None:
                    found[directory] = parent
                    todo.append(parent)
        return tuple(sorted(found.values(), key=lambda each: (each.manifest.created, each.name), reverse=True))

    def flaw(self, point: Point) -> str:
        """Why the point can't be relied on: damage found in it or in what it needs, or a missing parent; else ""."""
        for link in self.chain(point):
            where = "" if link is point else f"{link.name}, which it needs: "
            if link.flaw:
                return where + link.flaw
            for disk in link.manifest.disk:
                if wrong := self._broken(link, disk):
                    return where + wrong
        return ""

    def needed_by(self, point: Point) -> tuple[Point, ...]:
        """The points that can't be read without this one."""
        return tuple(other for other in self.points if other is not point and point in self.chain(other))

    def _broken(self, point: Point, disk: DiskEntry) -> str:
        if disk.kind == "full":
            return ""
        parent = self.by_directory.get(point.directory.with_name(disk.parent)) if disk.parent else None
        if parent is None:
            return f"{disk.name} needs the point {disk.parent or 'of no name'}, which is not there"
        if all(other.key != disk.key or other.cid != disk.parent_cid for other in parent.manifest.disk):
            return f"{disk.name} needs another image than the one in {disk.parent}"
        return ""


def look(root: Path, state: Path) -> Catalogue:
    """The points under `root` (BACKUPROOT, resolved) as they are now. `state`: the proxy's state directory.

    Only manifests and proofs that changed since the last look are read. Never raises for what lies there; a BACKUPROOT
    without points has an empty catalogue.
    """
    with CatalogCache.open(state / "catalog", root) as cache:
        known = cache.read()
        reader = _Reader(known)
        points = [point for directory in _directories(root / POINTS) if (point := reader.read(directory)) is not None]
        reader.notice_vanished()
        cache.write(reader.seen)
    points.sort(key=lambda point: (point.manifest.created, point.name))
    left = tuple(tombstones(root)) if root.is_dir() else ()
    interrupted = tuple(sorted(root.glob(f"{replacement.PREFIX}*")))
    drilled = drills.read(state, (point.identity for point in points))
    return Catalogue(root, tuple(points), reader.troubles, tuple(reader.notices), left, interrupted, drilled)


def forget(root: Path, state: Path, removed: Iterable[Path]) -> None:
    """These points were removed on purpose: the next look does not miss them."""
    with CatalogCache.open(state / "catalog", root) as cache:
        cache.drop([str(path) for path in removed])


def _directories(home: Path) -> Iterator[Path]:
    """What should be points: BACKUPROOT/points/<vm>/<time>."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for vm in sorted(home.iterdir()):
            if vm.is_dir() and not vm.is_symlink():
                yield from (path for path in sorted(vm.iterdir()) if not path.name.startswith("."))


class _Reader:
    """Reads what is new or changed, takes the rest from what was seen before, and notes the differences."""

    def __init__(self, known: dict[str, Seen]) -> None:
        self._known = known
        self.seen: dict[str, Seen] = {}
        self.troubles: dict[Path, str] = {}
        self.notices: list[str] = []

    def read(self, directory: Path) -> Point | None:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            self.troubles[directory] = "it is not a directory"
            return None
        before = self._known.get(str(directory))
        stamp = _stamp(directory)
        if before is not None and before.stamp == stamp:
            seen = before
        else:
            try:
                seen = _read(directory, stamp)
            except ImageError as error:
                self.troubles[directory] = error.sentence
                self.seen |= {str(directory): before} if before else {}
                return None
        if before is not None and before.digest != seen.digest:
            self.notices.append(f"The manifest of {directory} is not the one that was there at the last look.")
        self.seen[str(directory)] = seen
        return Point(directory, seen.manifest, seen.proof, seen.unproven)

    def notice_vanished(self) -> None:
        self.notices += [
            f"The point {path} is gone, and vcb did not remove it."
            for path in self._known
            if path not in self.seen and Path(path) not in self.troubles
        ]


def _read(directory: Path, stamp: str) -> Seen:
    manifest = manifests.read(directory)
    digest = proofs.manifest_digest(directory)
    proof, unproven = None, ""
    try:
        proof = proofs.read(directory)
        if proof is not None and proof.manifest != digest:
            proof, unproven = None, f"{manifests.FILE_NAME} is not the one that was proven"
    except ImageError as error:
        unproven = error.sentence.rstrip(".")
    return Seen(stamp=stamp, digest=digest, manifest=manifest, proof=proof, unproven=unproven)


def _stamp(directory: Path) -> str:
    """What differs once the manifest or the proof was touched."""
    parts: list[str] = []
    for name in (manifests.FILE_NAME, proofs.FILE_NAME):
        try:
            found = os.lstat(directory / name)
            parts.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}")
        except OSError:
            parts.append("none")
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()

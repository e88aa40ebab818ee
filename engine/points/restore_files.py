"""Restore points as something to restore from: finding one, choosing its disks, and a place for the files.

Files are written into a directory of the run's own inside the destination and get their names only when all of them
are proven. A name that is taken is never taken over: neither at the beginning nor, should it appear meanwhile, later.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigError, ImageError, TargetError, VerifyError
from engine.points import manifest as manifests
from engine.points.manifest import DiskEntry, FileEntry, Manifest
from engine.points.mount_point import fsync_directory
from engine.points.naming import POINTS

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Point:
    """One restore point: where it lies and what its manifest says."""

    directory: Path
    manifest: Manifest

    def image(self, disk: DiskEntry) -> Path:
        """The file to open for a disk."""
        return self.directory / disk.files[0]


def find_point(text: str, backuproot: Path) -> Point:
    """A point by its directory, or by `<vm directory>/<time>` below BACKUPROOT/points.

    Raises `ConfigError` when there is none, listing the points of that VM; `ImageError` for a manifest that can't be
    read.
    """
    named = Path(text)
    home = backuproot / POINTS
    candidates = [named] if named.is_absolute() else [named, home / named]
    for directory in candidates:
        if (directory / manifests.FILE_NAME).is_file():
            return Point(directory.resolve(), manifests.read(directory))
    raise ConfigError(f"There is no restore point {text}.", hint=_others(candidates, home))


def _others(candidates: Sequence[Path], home: Path) -> str:
    """The points that may have been meant: those of the VM directory that was named, else all."""
    places = [place for place in candidates if place.is_dir()] or [home]
    found = sorted(
        str(manifest.parent)
        for place in places
        for manifest in (*place.glob("*/manifest.toml"), *place.glob("*/*/manifest.toml"))
    )
    if not found:
        return "Name the directory of a point, as vcb backup printed it."
    more = f" and {len(found) - _SHOWN} older" if len(found) > _SHOWN else ""
    return "There are: " + ", ".join(reversed(found[-_SHOWN:])) + more + "."


def chosen_disks(point: Point, names: Sequence[str]) -> tuple[DiskEntry, ...]:
    """The disks of these names (scsi0:1) or labels (Hard disk 2); all of them for no name. Raises `ConfigError` for a
    name that fits none, saying when the run had skipped that disk."""
    disks = tuple(point.manifest.disk)
    if not names:
        return disks
    wanted = {name.casefold() for name in names}
    known = {name.casefold() for disk in disks for name in (disk.name, disk.label)}
    unknown = sorted(name for name in names if name.casefold() not in known)
    if unknown:
        has = ", ".join(f"{disk.name} ({disk.label})" for disk in disks) or "no disk"
        skipped = [s for s in point.manifest.skipped if {s.name.casefold(), s.label.casefold()} & wanted]
        why = "".join(f" {s.name} was skipped by that backup: {s.reason}" for s in skipped)
        raise ConfigError(f"The point does not hold {', '.join(unknown)}.{why}", hint=f"It has {has}.")
    return tuple(disk for disk in disks if {disk.name.casefold(), disk.label.casefold()} & wanted)


def entries_of(images: Sequence[Path]) -> dict[Path, list[FileEntry]]:
    """By directory, what the manifests say of these images (a chain's links) and of the files that belong to them.
    Raises `VerifyError` for a file that no manifest lists."""
    found: dict[Path, list[FileEntry]] = {}
    read: dict[Path, Manifest] = {}
    for image in images:
        directory = image.parent
        manifest = read.get(directory) or read.setdefault(directory, manifests.read(directory))
        disk = next((disk for disk in manifest.disk if image.name in disk.files), None)
        if disk is None:
            raise VerifyError(f"{image} is in no manifest: nothing tells whether it is what was written.")
        found.setdefault(directory, []).extend(entry for entry in manifest.file if entry.name in disk.files)
    return found


class Destination:
    """A directory for restored files. `work` is where they grow; `publish` gives them their names, all or none."""

    def __init__(self, directory: Path, names: Sequence[str], job: str) -> None:
        self.directory = directory
        self.names = tuple(names)
        self.work = directory / f".vcb-restore-{job}"
        self._made: list[Path] = []

    def check(self) -> None:
        """Raises `TargetError` when one of the names is taken, or the directory is something else."""
        if self.directory.exists() and not self.directory.is_dir():
            raise TargetError(f"{self.directory} is not a directory.")
        taken = [name for name in self.names if os.path.lexists(self.directory / name)]
        if taken:
            raise TargetError(
                f"{self.directory} already holds {', '.join(taken)}; nothing is overwritten.",
                hint="Name another directory, or move those files away.",
            )

    def make(self) -> None:
        """Makes what is missing of the directory, and the working directory inside it."""
        try:
            missing = [place for place in (self.directory, *self.directory.parents) if not place.exists()]
            for place in (*reversed(missing), self.work):
                place.mkdir(mode=0o700)
                self._made.append(place)
        except OSError as error:
            self.discard()
            raise TargetError(
                f"{error.filename} can't be created: {error.strerror}.", fault=type(error).__name__
            ) from None

    def publish(self) -> tuple[Path, ...]:
        """The files under their names. Raises `TargetError` when a name was taken meanwhile; then none is there."""
        named: list[Path] = []
        try:
            for name in self.names:
                _name(self.work / name, self.directory / name)
                named.append(self.directory / name)
            fsync_directory(self.directory)
        except OSError as error:
            for path in named:
                path.unlink(missing_ok=True)
            taken = isinstance(error, FileExistsError)
            why = "exists meanwhile" if taken else f"can't be made: {error.strerror}"
            raise TargetError(f"{error.filename2 or error.filename} {why}.", fault=type(error).__name__) from None
        self._empty()
        return tuple(named)

    def discard(self) -> None:
        """Removes what is unfinished, and every directory that was made for it and is empty. Raises `TargetError`."""
        try:
            self._empty()
            for place in reversed(self._made):
                if place.exists() and not any(place.iterdir()):  # what others put there meanwhile stays
                    place.rmdir()
        except OSError as error:
            raise TargetError(
                f"{error.filename} can't be removed: {error.strerror}.", fault=type(error).__name__
            ) from None

    def _empty(self) -> None:
        """The working directory is the run's own: its name carries the job's."""
        if self.work not in self._made:
            return
        for path in self.work.iterdir():
            path.unlink()
        self.work.rmdir()
        self._made.remove(self.work)


def _name(path: Path, name: Path) -> None:
    """Like a rename, but a name that is taken is an error. File systems without links (FAT, some shares) leave a
    moment between the look and the renaming."""
    try:
        os.link(path, name, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(name):
            raise FileExistsError(17, "exists", str(path), None, str(name)) from None
        path.rename(name)
    else:
        path.unlink()


def require_disks(point: Point) -> None:
    """Raises `ImageError` for a point without any disk."""
    if not point.manifest.disk:
        raise ImageError(f"{point.directory} holds no disk: the VM had none.")

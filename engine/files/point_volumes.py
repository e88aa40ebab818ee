"""What of a restore point can be looked into: the partitions and logical volumes of its disks, and paths in them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from engine.cancel import CancelToken
from engine.errors import ConfigError, ImageError
from engine.extents import DiskSource, Extent
from engine.files import lvm
from engine.files.entry import Entry, FileSystem, Kind
from engine.files.region import Region
from engine.files.unix_volume import ExtVolume, XfsVolume
from engine.files.windows_volume import FatVolume, NtfsVolume
from engine.image.chain import open_disk
from engine.image.partition_table import PartitionTable, read_partition_table
from engine.image.volumes import EXT, FAT, NTFS, TITLES, UNKNOWN, XFS, signed
from engine.points.manifest import DiskEntry
from engine.points.restore_files import Point

_LVM = "lvm"
_READERS: dict[str, Callable[[DiskSource, CancelToken], FileSystem]] = {
    EXT: ExtVolume,
    XFS: XfsVolume,
    NTFS: NtfsVolume,
    FAT: FatVolume,
}


@dataclass(frozen=True, slots=True)
class Volume:
    """`name` begins the path of whatever lies in it: DISK/PARTITION (0 for a disk without partitions), or GROUP/VOLUME
    of LVM. `why` says the reason when no files can be had from it, as the end of a sentence."""

    name: str
    kind: str
    size: int
    content: DiskSource | None
    why: str = ""

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    def open(self, cancel: CancelToken) -> FileSystem:
        """Its file system. Raises `ImageError` when it is damaged or none that can be read; `ConfigError` without the
        readers."""
        if self.content is None or self.why:
            raise ImageError(
                f"{self.name} holds no files that vcb can read: {self.why}.", hint="vcb serve gives the disk."
            )
        return _READERS[self.kind](self.content, cancel)


@dataclass(slots=True)
class LookedAt:
    """One disk. `findings` are damage, `notes` are none, as in `PartitionTable`."""

    name: str
    label: str
    capacity: int
    scheme: str = ""
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class PointVolumes:
    """The disks of a point, opened, and their volumes. Closed as a context manager."""

    def __init__(self, point: Point, disks: Sequence[DiskEntry]) -> None:
        """A disk that can't be read has a finding and no volumes. Never raises for what lies on a disk."""
        self.disks: list[LookedAt] = []
        self.volumes: list[Volume] = []
        self.findings: list[str] = []
        self._open = ExitStack()
        self._names = tuple(disk.name for disk in disks)
        physical: list[lvm.PhysicalVolume] = []
        try:
            for disk in disks:
                self._look(point, disk, physical)
        except BaseException:
            self._open.close()
            raise
        groups = lvm.volume_groups(physical)
        self.findings += groups.findings
        for found in groups.volumes:
            self.volumes.append(self._volume(f"{found.group}/{found.name}", found.size, found.disk, found.why))

    def __enter__(self) -> "PointVolumes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    def find(self, path: str) -> tuple[Volume, tuple[str, ...]]:
        """The volume that a path begins with, and the names behind it. With one disk alone its name may be left out.
        Raises `ConfigError` when it begins with none, `ImageError` when a disk can't be read."""
        names = tuple(name for name in path.split("/") if name not in ("", "."))
        candidates = [names, (self._names[0], *names)] if len(self._names) == 1 else [names]
        for each in candidates:
            for volume in self.volumes:
                if "/".join(each[:2]) == volume.name:
                    return volume, each[2:]
        for disk in self.disks:
            if disk.findings and not any(volume.name.startswith(f"{disk.name}/") for volume in self.volumes):
                raise ImageError(disk.findings[0])
        there = ", ".join(volume.name for volume in self.volumes) or "none"
        raise ConfigError(
            f"The point has no volume {'/'.join(names[:2]) or path!r}.",
            hint=f"A path begins with one of these: {there}.",
        )

    def _look(self, point: Point, disk: DiskEntry, physical: list[lvm.PhysicalVolume]) -> None:
        looked = LookedAt(disk.name, disk.label, disk.capacity)
        self.disks.append(looked)
        try:
            image = open_disk(point.image(disk))
            self._open.callback(image.close)
            table = read_partition_table(image)
            looked.scheme, looked.findings, looked.notes = table.scheme, table.findings, table.notes
            for number, place in self._places(image, table):
                name = f"{disk.name}/{number}"
                if signed(image, place) != _LVM:
                    self.volumes.append(self._volume(name, place.length, Region(image, place)))
                    continue
                self.volumes.append(
                    Volume(name, _LVM, place.length, None, "its logical volumes are volumes of their own")
                )
                try:
                    physical.append(lvm.physical_volume(Region(image, place)))
                except ImageError as error:
                    self.findings.append(f"{name}: {error.sentence}")
        except ImageError as error:
            looked.findings.append(error.sentence)

    @staticmethod
    def _places(image: DiskSource, table: PartitionTable) -> Iterator[tuple[int, Extent]]:
        if not table.scheme:
            if image.capacity:
                yield 0, Extent(0, image.capacity)
            return
        for each in table.partitions:
            if each.place.length and each.place.end <= image.capacity:
                yield each.number, each.place

    @staticmethod
    def _volume(name: str, size: int, content: DiskSource | None, why: str = "") -> Volume:
        kind = UNKNOWN
        try:
            kind = signed(content, Extent(0, size)) if content is not None else UNKNOWN
        except ImageError as error:
            why = error.sentence.rstrip(".")
        if not why and kind not in _READERS:
            why = f"vcb reads no files from {TITLES[kind]}"
        return Volume(name, kind, size, content, why)


def entry_at(system: FileSystem, names: Sequence[str]) -> Entry:
    """What lies at a path in a file system. Raises `ConfigError` when there is nothing, or a symlink on the way: where
    those lead is the guest's affair."""
    entry = system.root()
    for depth, name in enumerate(names):
        where = "/".join(names[:depth]) or "the volume"
        if entry.kind is Kind.SYMLINK:
            raise ConfigError(
                f"{where} is a symlink to {entry.target}.", hint="Name the place itself: none is followed."
            )
        if entry.kind is not Kind.DIRECTORY:
            raise ConfigError(f"{where} is no directory.", hint="vcb files ls shows what is there.")
        entry = _child(system, entry, name, where)
    return entry


def _child(system: FileSystem, directory: Entry, name: str, where: str) -> Entry:
    similar = None
    for child in system.children(directory):
        if child.name == name:
            return child
        if system.ignores_case and child.name.casefold() == name.casefold():
            similar = child
    if similar is None:
        raise ConfigError(f"There is no {name} in {where}.", hint="vcb files ls shows what is there.")
    return similar

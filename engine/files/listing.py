"""What there is to see in a point: its volumes, or a directory in one of them, as values and in JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.cancel import CancelToken
from engine.errors import ConfigError, VcbError
from engine.events import ResultState
from engine.files.entry import Entry, Kind
from engine.files.point_volumes import LookedAt, PointVolumes, Volume, entry_at


@dataclass(frozen=True, slots=True)
class SeenVolume:
    """`error` is what opening its file system came to; None for one that was opened, or that vcb does not read."""

    volume: Volume
    label: str = ""
    error: VcbError | None = None

    @property
    def readable(self) -> bool:
        return not self.volume.why and self.error is None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.volume.name,
            "kind": self.volume.kind,
            "title": self.volume.title,
            "size": self.volume.size,
            "label": self.label,
            "readable": self.readable,
            "reason": self.volume.why,
            "error": self.error.to_json() if self.error else None,
        }


@dataclass(frozen=True, slots=True)
class VolumeList:
    """`findings` are sentences on damage that is not one volume's."""

    disks: Sequence[LookedAt]
    volumes: Sequence[SeenVolume]
    findings: Sequence[str]

    @property
    def state(self) -> ResultState:
        return (
            ResultState.EXCEPTIONS if self.findings or any(each.error for each in self.volumes) else ResultState.SUCCESS
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "result": self.state.value,
            "exit_code": self.state.exit_code,
            "disks": [disk.to_json() for disk in self.disks],
            "volumes": [each.to_json() for each in self.volumes],
            "findings": list(self.findings),
        }


@dataclass(frozen=True, slots=True)
class FileList:
    """`entries` by name; of a directory that ends in damage those before it, and the `error`."""

    volume: Volume
    path: str
    entries: Sequence[Entry]
    remarks: Sequence[str]
    error: VcbError | None = None

    @property
    def state(self) -> ResultState:
        bad = self.error or any(entry.unreadable for entry in self.entries)
        return ResultState.EXCEPTIONS if bad else ResultState.SUCCESS

    def to_json(self) -> dict[str, Any]:
        return {
            "result": self.state.value,
            "exit_code": self.state.exit_code,
            "volume": self.volume.name,
            "path": self.path,
            "entries": [entry.to_json() for entry in self.entries],
            "remarks": list(self.remarks),
            "error": self.error.to_json() if self.error else None,
        }


def list_volumes(volumes: PointVolumes, cancel: CancelToken) -> VolumeList:
    """Each volume is opened once. Raises `ConfigError` without the readers, `Cancelled`."""
    findings = [text for disk in volumes.disks for text in disk.findings] + volumes.findings
    return VolumeList(volumes.disks, [_seen(volume, cancel) for volume in volumes.volumes], findings)


def list_files(volumes: PointVolumes, path: str, cancel: CancelToken) -> FileList:
    """What lies at a path: of a directory its entries, else the one. Raises `ConfigError` when there is nothing,
    `ImageError` when none of it can be read, `Cancelled`."""
    volume, names = volumes.find(path)
    system = volume.open(cancel)
    entry = entry_at(system, names)
    if entry.kind is not Kind.DIRECTORY:
        return FileList(volume, "/".join(names), [entry], system.remarks)
    found: list[Entry] = []
    damage = None
    try:
        for each in system.children(entry):
            cancel.check()
            found.append(each)
    except VcbError as error:
        if not found or error.exit_code != 1:
            raise
        damage = error
    found.sort(key=lambda each: each.name)
    return FileList(volume, "/".join(names), found, system.remarks, damage)


def _seen(volume: Volume, cancel: CancelToken) -> SeenVolume:
    if volume.why:
        return SeenVolume(volume)
    try:
        return SeenVolume(volume, volume.open(cancel).label)
    except ConfigError:
        raise
    except VcbError as error:
        cancel.check()
        return SeenVolume(volume, error=error)

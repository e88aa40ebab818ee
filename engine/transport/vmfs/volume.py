"""A VMFS datastore read from its devices: own reader of VMFS-3, 5 and 6, read-only.

Facts: the open readers of the format (dissect.vmfs, vmfs-tools, vmfs6-tools), which agree with this one byte for byte
in tests/vmfs, except where they are known to be wrong. Where they disagree what an address means, this one refuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import VmfsError
from engine.transport.vmfs.directory import lookup
from engine.transport.vmfs.extent_map import PhysicalExtent, extent_map
from engine.transport.vmfs.fields import Device
from engine.transport.vmfs.file_system import FileSystem
from engine.transport.vmfs.lvm import LogicalVolume
from engine.transport.vmfs.partitions import vmfs_partition

_SMALL_FILE = 1 << 20


@dataclass(frozen=True)
class FileMap:
    """Where a file lies. `fingerprint` differs when the file was changed, grew or moved."""

    length: int
    extents: tuple[PhysicalExtent, ...]
    fingerprint: tuple[int, ...]


class Volume:
    """Not kept up to date: open it again to see what changed. Not for several threads."""

    def __init__(self, system: FileSystem) -> None:
        self._system = system

    @property
    def uuid(self) -> str:
        """As HostVmfsVolume.uuid."""
        return self._system.superblock.uuid

    @property
    def label(self) -> str:
        return self._system.superblock.label

    @property
    def version(self) -> int:
        """3, 5 or 6."""
        return self._system.superblock.version

    def extent_map(self, path: str) -> FileMap:
        """Of `vm1/vm1-flat.vmdk`, a path from the datastore's root. VmfsError for what can't be told with certainty."""
        file = lookup(self._system, path)
        return FileMap(file.length, tuple(extent_map(self._system, file)), file.fingerprint())

    def read_small(self, path: str) -> bytes:
        """The whole of a descriptor or configuration file (up to 1 MiB)."""
        file = lookup(self._system, path)
        if file.length > _SMALL_FILE:
            raise VmfsError(f"{path} has {file.length:,} bytes: not a small file.")
        return self._system.contents(file, 0, file.length)


def open_volume(devices: Sequence[Device], partitions: Sequence[int | None] | None = None) -> Volume:
    """All devices of one datastore, in any order; `partitions`: the partition number on each (None: its only VMFS one).

    Reads a few kilobytes. VmfsError when they are not all of one volume, or damaged; TransportError from the devices.
    """
    numbers = partitions or [None] * len(devices)
    regions = [vmfs_partition(device, wanted) for device, wanted in zip(devices, numbers, strict=True)]
    return Volume(FileSystem(LogicalVolume(regions)))

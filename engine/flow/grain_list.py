"""The list of grain hashes that is written beside a disk while it is exported."""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.points.grain_hashes import GrainHashWriter
from engine.points.manifest import FileEntry
from engine.points.naming import grains_file
from engine.vsphere.disks import Disk


class GrainList:
    """`add` takes the hashes of a unit; after `settle`, `entry` is the finished file, None when there is none."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.entry: FileEntry | None = None
        self._writer = GrainHashWriter(directory / grains_file(disk.name), disk.capacity)

    def add(self, unit: int, hashes: "array[int]") -> None:
        self._writer.add(unit, hashes)

    def settle(self, *, complete: bool) -> None:
        """The disk has come. Not `complete`: its hashes are not worth keeping, and the list goes."""
        if complete:
            self.entry = self._writer.finish()
        else:
            self._writer.abort()

    def discard(self) -> None:
        self._writer.abort()


@contextmanager
def grain_list(directory: Path, disk: Disk) -> Iterator[GrainList]:
    """A list that goes when the export fails."""
    grains = GrainList(directory, disk)
    try:
        yield grains
    except BaseException:
        grains.discard()
        raise

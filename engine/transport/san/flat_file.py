"""Which file of a datastore holds a disk's bytes: its descriptor says so, and what can't be read there."""

import re
from dataclasses import dataclass
from typing import Protocol

from engine.errors import TransportError

_EXTENT = re.compile(r'^(?:RW|RDONLY)\s+(\d+)\s+(\w+)\s+"([^"]+)"', re.MULTILINE)
_REFUSED = {
    "VMFSSPARSE": "it is a delta of another disk (the VM has a snapshot of its own)",
    "SESPARSE": "it is a delta of another disk (the VM has a snapshot of its own)",
    "VMFSRDM": "it is a raw device mapping",
    "VMFSRAW": "it is a raw device mapping",
}
INSTEAD = "Read this VM's disks over nbdssl."


class Files(Protocol):
    """A datastore's files: a VMFS volume, or an NFS mount."""

    def read_small(self, path: str) -> bytes: ...


@dataclass(frozen=True)
class FlatFile:
    """`path` is relative to the datastore's root; `capacity` in bytes."""

    path: str
    capacity: int


def flat_file(volume: Files, disk_file: str) -> FlatFile:
    """From `[ds] vm1/vm1.vmdk`. VmfsError when the volume has no such file; TransportError for what is no flat disk."""
    path = disk_file.partition("] ")[2]
    text = volume.read_small(path).decode("utf-8", "replace")
    extents = _EXTENT.findall(text)
    if len(extents) != 1:
        raise TransportError(f"{disk_file} names {len(extents)} extents, not one.", hint=INSTEAD)
    sectors, kind, name = extents[0]
    if kind != "VMFS":
        reason = _REFUSED.get(kind, f"its extent is of type {kind}")
        raise TransportError(f"{disk_file} can't be read over san: {reason}.", hint=INSTEAD)
    if not name.isprintable():
        raise TransportError(f"{disk_file} names {name!a} as its extent, which is no file name.", hint=INSTEAD)
    if "/" in name:
        raise TransportError(f"{disk_file} names {name} as its extent, in another directory.", hint=INSTEAD)
    directory = path.rpartition("/")[0]
    return FlatFile(f"{directory}/{name}" if directory else name, int(sectors) * 512)

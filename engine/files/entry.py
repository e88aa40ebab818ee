"""What a file system of a guest holds, in one form for all kinds of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from engine.extents import Extent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    DEVICE = "device"
    PIPE = "pipe"
    SOCKET = "socket"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is the guest's, and may be anything. `mode` has the permission bits alone; times are nanoseconds since the
    epoch; `target` is that of a symlink. `identity` is the same for all names of one file, of which there are `links`
    (1 where the file system does not tell)."""

    name: str
    kind: Kind
    size: int = 0
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    modified: int = 0
    accessed: int = 0
    target: str = ""
    identity: int = 0
    links: int = 1
    unreadable: str = ""
    """Why its content can't be had, as the end of a sentence; "" when it can."""
    remark: str = ""
    """What of it is not in this form, as a sentence."""
    handle: Any = None
    """The reader's own."""

    @property
    def moment(self) -> datetime:
        """When it was modified; the epoch for a time beyond all calendars."""
        try:
            return _EPOCH + timedelta(microseconds=self.modified // 1000)
        except OverflowError:
            return _EPOCH

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind.value,
            "size": self.size,
            "mode": f"{self.mode:04o}",
            "owner": self.owner,
            "group": self.group,
            "links": self.links,
            "modified": self.moment.isoformat(),
            "target": self.target,
            "unreadable": self.unreadable,
            "remark": self.remark,
        }


class FileSystem(Protocol):
    """One file system, opened. Every method raises `ImageError` where it is damaged, and what the disk raises."""

    label: str
    ignores_case: bool
    remarks: tuple[str, ...]
    """Sentences on what an operator must know of everything that comes out of it."""

    def root(self) -> Entry: ...

    def children(self, directory: Entry) -> Iterator[Entry]:
        """Without `.` and `..`, in the order of the disk. One that can't be read is there all the same: of the kind
        unknown, with the reason."""
        ...

    def read(self, file: Entry, offset: int, length: int) -> bytes:
        """Exactly so many bytes, which lie inside the file."""
        ...

    def data(self, file: Entry) -> Sequence[Extent]:
        """Where the file has data, ascending and disjoint, inside its size; all else reads as zeros."""
        ...

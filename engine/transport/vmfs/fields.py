"""Reading little-endian fields out of a block that may be damaged, and what the reader asks of a device."""

import struct
from typing import Any, Protocol

from engine.errors import VmfsError


class Device(Protocol):
    """A block device, or a file that holds its image. Read-only."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises TransportError."""
        ...


def unpack(layout: str, block: bytes | memoryview, offset: int, what: str) -> tuple[Any, ...]:
    """struct.unpack_from, and a VmfsError that names `what` when the block is too short."""
    try:
        return struct.unpack_from(layout, block, offset)
    except struct.error as error:
        raise VmfsError(f"{what} is cut short.") from error


def number(layout: str, block: bytes | memoryview, offset: int, what: str) -> int:
    return unpack(layout, block, offset, what)[0]


def uuid_text(raw: bytes) -> str:
    """16 bytes as `HostVmfsVolume.uuid` and `blkid` write them: 5f1e7b2a-0c3d4e5f-6a7b-8c9d0e1f2a3b."""
    low, high, middle = struct.unpack_from("<IIH", raw)
    return f"{low:08x}-{high:08x}-{middle:04x}-{raw[10:16].hex()}"

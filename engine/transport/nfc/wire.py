"""The messages of the NFC protocol: layouts and numbers only, no input or output.

Source of every fact here: what OpenVixDiskLib published about ESXi 8.0 (docs/nfc_auth.md, nfc_open.md, nfc_read.md),
as collected in the project's facts page on NFC. Integers are little-endian, offsets and lengths are bytes.
"""

import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from engine.errors import TransportError
from engine.extents import Extent

CLASSIC_SIZE = 264
PROTOCOL_VERSION = 11
CLIENT_NAME = b"vcb-console"
OPERATION_ID = b"backup"
SESSION_FEATURES = 3
"""Interruption and switch: what VDDK asks for."""

AIO_MAGIC = 0xA100DA7A
FILE_TYPE_DISK = 2
OPEN_READ_ONLY = 0x1E
OPEN_READ_WRITE = 0x1A
OPCODE_READ = 1
OPCODE_WRITE = 0

BUFFER_DEFAULT = 65536
BUFFER_LARGEST = 2 * 1024 * 1024
"""ESXi 8 accepted 64 KiB and 2 MiB, and refused 16 MiB."""

ERROR_SIZE_LIMIT = 4096
"""Longest payload believed of an error reply; its layout is not published."""


class Classic(IntEnum):
    """First uint32 of the 264-byte messages before the AIO session."""

    SESSION_COMPLETE = 4
    SESSION_PARAMS = 33
    SESSION_PARAMS_REPLY = 36
    HANDSHAKE = 43
    VERSION = 51
    AIO_SESSION_OPEN = 52
    CONNECTION_DATA = 54
    SESSION_FEATURES = 55


class Aio(IntEnum):
    """Second uint32 of the AIO header."""

    ERROR = 1
    OPEN_SESSION = 2
    CLOSE_SESSION = 3
    OPEN_FILE = 4
    CLOSE_FILE = 5
    IO = 7
    SET_SOCK_OPTS = 9
    QUERY_ALLOCATED_BLOCKS = 13
    SET_RES_POOL = 22


HEADER = struct.Struct("<4I")
"""magic, type, payload size (without the extra), operation id."""

FRAGMENT = struct.Struct("<QQQ5I")
"""0, opcode, offset of the request, its total length, place inside it, uncompressed length, size of the extra, 0."""

QUERY_REPLY_SIZE = 48
IO_SIZE = FRAGMENT.size

_IO_REQUEST = struct.Struct("<4Q3I")
_OPEN_SESSION = struct.Struct("<4I")
_OPEN_FILE = struct.Struct("<I12xII36x")
_OPEN_FILE_REPLY = struct.Struct("<8xQI8xQ24x")
"""Handle at 8, type at 16, capacity at 28; flags, sector size and geometry, which stand there too, are not needed."""

_QUERY = struct.Struct("<6Q")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

OPEN_FILE_SIZE = _OPEN_FILE_REPLY.size


def malformed(what: str) -> TransportError:
    """An answer that breaks the protocol: nothing after it on that connection can be believed."""
    return TransportError(
        f"The host's NFC server gave an answer that makes no sense: {what}.",
        fault="NfcProtocolError",
        hint="Try the https transport, and report this with the log at LOGLEVEL 6.",
    )


def classic(kind: Classic, content: bytes = b"") -> bytes:
    """One 264-byte message, `content` from offset 4."""
    return (_U32.pack(kind) + content).ljust(CLASSIC_SIZE, b"\0")


def classic_kind(message: bytes | bytearray) -> int:
    return _U32.unpack_from(message)[0]


def classic_version(message: bytes | bytearray) -> int:
    """The version in a `Classic.VERSION` message."""
    return _U32.unpack_from(message, 4)[0]


def aio(kind: Aio, operation: int, payload: bytes, extra: bytes = b"") -> bytes:
    """Header, payload and the extra that the header's size does not count."""
    return HEADER.pack(AIO_MAGIC, kind, len(payload), operation) + payload + extra


def open_session(buffer: int, count: int) -> bytes:
    return _OPEN_SESSION.pack(0, buffer, count, 0)


def open_file(path: bytes, *, writable: bool = False) -> bytes:
    return _OPEN_FILE.pack(len(path), FILE_TYPE_DISK, OPEN_READ_WRITE if writable else OPEN_READ_ONLY)


def close_file(handle: int) -> bytes:
    return _U64.pack(handle)


def words(*values: int) -> bytes:
    """As uint32."""
    return struct.pack(f"<{len(values)}I", *values)


def read_request(handle: int, offset: int, length: int) -> bytes:
    """A read without compression; VDDK puts the length in all three places."""
    return _IO_REQUEST.pack(handle, OPCODE_READ, offset, length, length, length, 0)


def write_fragment(handle: int, offset: int, length: int) -> bytes:
    """A write of `length` bytes in one fragment, uncompressed; the bytes are the message's extra."""
    return FRAGMENT.pack(handle, OPCODE_WRITE, offset, length, 0, length, length, 0)


class OpenedFile(NamedTuple):
    """What OPEN_FILE answers; `capacity` in bytes."""

    handle: int
    capacity: int


def opened_file(payload: bytes) -> OpenedFile:
    """Raises TransportError for a file that isn't a readable disk."""
    handle, kind, capacity = _OPEN_FILE_REPLY.unpack(payload)
    if kind != FILE_TYPE_DISK:
        raise malformed(f"the opened file has type {kind}, not {FILE_TYPE_DISK} (disk)")
    if capacity <= 0 or capacity % 512 or capacity >= 1 << 63:
        raise malformed(f"a disk of {capacity} bytes")
    return OpenedFile(handle, capacity)


def query_allocated(handle: int, chunk: int, start: int, count: int) -> bytes:
    """`chunk` and `start` in bytes, `start` a multiple of `chunk`; `count` chunks."""
    return _QUERY.pack(handle, 0, chunk, start, count, 0)


def query_count(payload: bytes) -> int:
    """The chunk count that a QUERY_ALLOCATED_BLOCKS reply echoes."""
    return _U64.unpack_from(payload, 32)[0]


def bitmap_size(count: int) -> int:
    """Bytes of the bitmap for `count` chunks: one bit each, padded to 4 bytes."""
    return -(-count // 32) * 4


def bitmap_extents(bitmap: bytes, *, count: int, start: int, chunk: int) -> Iterator[Extent]:
    """Runs of set bits (least significant first) as extents; bits beyond `count` are padding and ignored."""
    bits = int.from_bytes(bitmap, "little") & ((1 << count) - 1)
    for run in re.finditer("1+", format(bits, "b")[::-1]):
        yield Extent(start + run.start() * chunk, (run.end() - run.start()) * chunk)


class Refusal(TransportError):
    """An error reply: the operation was understood and refused, and the connection goes on."""


_ERRORS = {
    1: "the operation failed",
    2: "the host is out of memory",
    3: "an argument was refused",
    4: "the file was not found",
    5: "the file is busy",
    6: "the operation is not supported",
    7: "the file could not be read",
    9: "the file is not a disk",
    11: "the file is read-only",
    13: "access to the file was denied",
    15: "the file is locked",
}
"""VIX's numbers: 0x0b was observed on the wire as VIX_E_FILE_READ_ONLY, the others follow from vix.h by that match."""


def refusal(kind: Aio, payload: bytes) -> Refusal:
    """The error reply to a message of type `kind`. Where the code stands in it is not published: its first word that
    isn't 0 is taken."""
    values = struct.unpack_from(f"<{len(payload) // 4}I", payload)
    code = next((value for value in values if value), 0)
    return Refusal(
        f"The host's NFC server refused {kind.name.replace('_', ' ').lower()}: "
        f"{_ERRORS.get(code, 'it gave no known reason')}.",
        fault=f"NFC error {code:#x}",
    )

"""Wire layouts of NFC: the classic 264-byte messages and the AIO messages. Little-endian throughout.

Source: shared facts on NFC (observed by the OpenVixDiskLib project on ESXi 8.0.1-8.0.3). A decoder here accepts what
was observed and nothing else: a field that the facts pin to one value must have it, so that a client which passes
here has nothing left to chance on a real host. What fails raises `Malformed`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

SECTOR = 512
PROTOCOL_VERSION = 11

CLASSIC_SIZE = 264
PLAIN_TEXT = b"PlainText"
FEATURES = 3
NAME_LIMIT = 1024  # of the two raw strings of connection data; not observed, a guard against nonsense

MAGIC = 0xA100DA7A
HEADER = struct.Struct("<4I")
OPEN_SESSION = struct.Struct("<4I")
SOCK_OPTS = struct.Struct("<3I")
WORD = struct.Struct("<I")
OPEN_FILE = struct.Struct("<6I36x")
OPEN_FILE_REPLY = struct.Struct("<8xQII4xQIIII8x")
DDB = struct.Struct("<QII")
DDB_REPLY = struct.Struct("<12xI")
READ = struct.Struct("<4Q3I")
FRAGMENT = struct.Struct("<3Q5I")
ALLOCATED = struct.Struct("<6Q")
HANDLE = struct.Struct("<Q")
ERROR = struct.Struct("<II")
"""Open in the facts: the layout of an error's payload. Here the code comes first and a zero word follows."""

PATH_LIMIT = 4096
FILE_TYPE_DISK = 2
FLAGS_READ_ONLY = 0x1E
FLAGS_READ_WRITE = 0x1A
WRITE, READ_OPCODE = 0, 1


class Malformed(Exception):
    """The peer sent what the protocol does not allow."""


class Classic(enum.IntEnum):
    """Type word of a 264-byte message."""

    SESSION_COMPLETE = 4
    SESSION_PARAMS = 33
    SESSION_PARAMS_REPLY = 36
    HANDSHAKE = 43
    VERSION = 51
    AIO_SESSION_OPEN = 52
    CONNECTION_DATA = 54
    SESSION_FEATURES = 55


class Aio(enum.IntEnum):
    """Type word of an AIO header."""

    ERROR = 1
    OPEN_SESSION = 2
    CLOSE_SESSION = 3
    OPEN_FILE = 4
    CLOSE_FILE = 5
    IO = 7
    SET_SOCK_OPTS = 9
    DDB_GET = 11
    QUERY_ALLOCATED_BLOCKS = 13
    SET_RES_POOL = 22


PAYLOAD_SIZE = {
    Aio.OPEN_SESSION: 16,
    Aio.CLOSE_SESSION: 4,
    Aio.OPEN_FILE: 60,
    Aio.CLOSE_FILE: 8,
    Aio.IO: 44,
    Aio.SET_SOCK_OPTS: 12,
    Aio.DDB_GET: 16,
    Aio.QUERY_ALLOCATED_BLOCKS: 48,
    Aio.SET_RES_POOL: 4,
}


class ErrorCode(enum.IntEnum):
    """VIX error codes (public vixDiskLib interface); of these only READ_ONLY has been observed on the wire."""

    FAIL = 0x01
    OUT_OF_MEMORY = 0x02
    INVALID_ARGUMENT = 0x03
    FILE_NOT_FOUND = 0x04
    NOT_SUPPORTED = 0x06
    FILE_ERROR = 0x07
    READ_ONLY = 0x0B
    ACCESS_ERROR = 0x0D
    ALREADY_LOCKED = 0x0F
    INVALID_HANDLE = 0x3E8


class Refusal(Exception):
    """A request that is answered by an error reply; the connection goes on."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Compression(enum.IntEnum):
    """High 32 bits of an IO message's opcode."""

    NONE = 0
    ZLIB = 1
    FASTLZ = 2
    SKIPZ = 3


@dataclass(frozen=True)
class Header:
    type: Aio
    op_id: int


@dataclass(frozen=True)
class ReadRequest:
    handle: int
    compression: int
    offset: int
    length: int


@dataclass(frozen=True)
class WriteFragment:
    """One piece of a write. `place` and `length` count uncompressed bytes of the `total` that starts at `offset`."""

    handle: int
    compression: int
    offset: int
    total: int
    place: int
    length: int
    extra: int


def classic(kind: Classic, body: bytes = b"") -> bytes:
    return (WORD.pack(kind) + body).ljust(CLASSIC_SIZE, b"\0")


def expect_classic(message: bytes | bytearray, kind: Classic, body: bytes = b"") -> None:
    """Refuse anything but this message, padding included."""
    if bytes(message) != classic(kind, body):
        got = WORD.unpack_from(message)[0]
        raise Malformed(f"classic message {got} where {kind.name} ({kind.value}) is due, or its fields are wrong")


def connection_data(message: bytes | bytearray) -> tuple[int, int]:
    """Lengths of the client name and the operation id that follow unframed."""
    name, op_id = struct.unpack_from("<II", message, 4)
    expect_classic(message, Classic.CONNECTION_DATA, struct.pack("<II", name, op_id))
    if not 0 < name <= NAME_LIMIT or not 0 < op_id <= NAME_LIMIT:
        raise Malformed(f"connection data announces strings of {name} and {op_id} bytes")
    return name, op_id


def header(data: bytes | bytearray | memoryview) -> Header:
    magic, kind, size, op_id = HEADER.unpack(data)
    if magic != MAGIC:
        raise Malformed(f"AIO header magic {magic:#010x}")
    if kind not in PAYLOAD_SIZE:
        raise Malformed(f"AIO message type {kind}")
    if size != PAYLOAD_SIZE[Aio(kind)]:
        raise Malformed(f"AIO message {Aio(kind).name} with a payload of {size} bytes")
    return Header(Aio(kind), op_id)


def read_request(payload: bytes | bytearray) -> ReadRequest:
    handle, opcode, offset, length, again, once_more, zero = READ.unpack(payload)
    if zero or again != length or once_more != length:
        raise Malformed(f"read request whose lengths differ: {length}, {again}, {once_more}, last word {zero}")
    return ReadRequest(handle, opcode >> 32, offset, length)


def write_fragment(payload: bytes | bytearray) -> WriteFragment:
    handle, opcode, offset, total, place, length, extra, zero = FRAGMENT.unpack(payload)
    if zero or not length or place + length > total:
        raise Malformed(f"write fragment {place}+{length} of {total}, last word {zero}")
    return WriteFragment(handle, opcode >> 32, offset, total, place, length, extra)


def opcode(payload: bytes | bytearray) -> int:
    """Low 32 bits of an IO message's opcode: read or write."""
    code = WORD.unpack_from(payload, 8)[0]
    if code not in (READ_OPCODE, WRITE):
        raise Malformed(f"IO opcode {code}")
    return code


def bitmap(runs: list[tuple[int, int]], start: int, chunk: int, count: int) -> bytes:
    """One bit per chunk of `chunk` bytes from `start`, least significant first, set when any byte of it lies in `runs`
    (offset, length in bytes, ascending); padded to four bytes."""
    bits = bytearray((count + 31) // 32 * 4)
    for offset, length in runs:
        first = max(0, (offset - start) // chunk)
        last = min(count, -((start - offset - length) // chunk))
        _fill(bits, first, last)
    return bytes(bits)


def _fill(bits: bytearray, first: int, last: int) -> None:
    """Set bits first..last-1."""
    if first >= last:
        return
    low, high = (first + 7) // 8 * 8, last // 8 * 8
    if low >= high:
        for bit in range(first, last):
            bits[bit >> 3] |= 1 << (bit & 7)
        return
    bits[low // 8 : high // 8] = b"\xff" * ((high - low) // 8)
    for bit in (*range(first, low), *range(high, last)):
        bits[bit >> 3] |= 1 << (bit & 7)

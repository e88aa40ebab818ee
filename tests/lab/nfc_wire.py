"""A raw NFC client for tests of the lab: sockets, ssl and struct. Independent of the product's client on purpose."""

from __future__ import annotations

import hashlib
import itertools
import socket
import ssl
import struct
import zlib
from typing import NamedTuple

MAGIC = 0xA100DA7A


class Reply(NamedTuple):
    type: int
    op_id: int
    payload: bytes
    extra: bytes = b""

    @property
    def error(self) -> int | None:
        return struct.unpack_from("<I", self.payload)[0] if self.type == 1 else None


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes, then the end")
        data += piece
    return data


def read_line(sock: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\r\n"):
        data += read_exactly(sock, 1)
    return data[:-2].decode()


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE  # the tests compare the thumbprint themselves
    return made


def sha1_of(sock: ssl.SSLSocket) -> str:
    der = sock.getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha1(der).hexdigest().upper()


class Authd:
    """The dialogue up to 200 Connect, command by command."""

    def __init__(self, port: int) -> None:
        self.plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.banner = read_line(self.plain)
        self.tls: ssl.SSLSocket = context().wrap_socket(self.plain)

    def say(self, line: str) -> None:
        self.tls.sendall(line.encode() + b"\r\n")

    def ask(self, line: str) -> str:
        self.say(line)
        return read_line(self.tls)

    def login(self, session: str, service: str) -> list[str]:
        self.say(f"SESSION {session}")
        return [self.ask("BANNER "), self.ask("THUMBPRINT_SHA2 PlainText"), self.ask(f"PROXY {service}")]

    def nbd(self) -> socket.socket:
        """Leave TLS without a word."""
        left = socket.socket(fileno=self.tls.detach())
        left.settimeout(20)
        return left

    def nbdssl(self) -> ssl.SSLSocket:
        return context().wrap_socket(self.nbd())

    def close(self) -> None:
        self.tls.close()


class Client:
    """Classic handshake on construction, then AIO messages."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ops = itertools.count()
        self.buffer = 65536
        self.handshake()

    @classmethod
    def connect(cls, port: int, session: str, *, tls: bool = False, service: str = "vpxa-nfc") -> Client:
        authd = Authd(port)
        *_, last = authd.login(session, service + ("ssl" if tls else ""))
        assert last == ("200 Connect ha-nfcssl" if tls else "200 Connect ha-nfc")
        return cls(authd.nbdssl() if tls else authd.nbd())

    def classic(self, kind: int, body: bytes = b"") -> None:
        self.sock.sendall((struct.pack("<I", kind) + body).ljust(264, b"\0"))

    def classic_reply(self) -> tuple[int, bytes]:
        data = read_exactly(self.sock, 264)
        return struct.unpack_from("<I", data)[0], data

    def handshake(self) -> None:
        self.classic(43, b"PlainText")
        self.classic(33)
        kind, data = self.classic_reply()
        assert (kind, struct.unpack_from("<I", data, 16)[0]) == (36, 1)
        self.classic(51, struct.pack("<I", 11))
        kind, data = self.classic_reply()
        assert (kind, struct.unpack_from("<I", data, 4)[0]) == (51, 11)
        self.classic(54, struct.pack("<II", 4, 7))
        self.sock.sendall(b"test" + b"nbdmode")
        self.classic(55, struct.pack("<I", 3))
        self.classic(52)
        assert self.classic_reply()[0] == 52

    # -- AIO
    def send(self, kind: int, payload: bytes, extra: bytes = b"", *, op_id: int | None = None) -> int:
        op_id = next(self.ops) if op_id is None else op_id
        self.sock.sendall(struct.pack("<4I", MAGIC, kind, len(payload), op_id) + payload + extra)
        return op_id

    def receive(self) -> Reply:
        magic, kind, size, op_id = struct.unpack("<4I", read_exactly(self.sock, 16))
        assert magic == MAGIC
        payload = read_exactly(self.sock, size)
        extra = 0
        if kind == 7:
            extra = struct.unpack_from("<I", payload, 36)[0]
        elif kind == 11:
            extra = struct.unpack_from("<I", payload, 12)[0]
        elif kind == 13:
            extra = (struct.unpack_from("<I", payload, 32)[0] + 31) // 32 * 4
        return Reply(kind, op_id, payload, read_exactly(self.sock, extra))

    def ask(self, kind: int, payload: bytes, extra: bytes = b"") -> Reply:
        op_id = self.send(kind, payload, extra)
        reply = self.receive()
        assert reply.op_id == op_id
        return reply

    def open_session(self, buffer: int = 65536, count: int = 4) -> Reply:
        self.buffer = buffer
        return self.ask(2, struct.pack("<4I", 0, buffer, count, 0))

    def open_file(self, path: str, flags: int = 0x1E) -> Reply:
        raw = path.encode()
        return self.ask(4, struct.pack("<6I", len(raw), 0, 0, 0, 2, flags).ljust(60, b"\0"), raw)

    def open(self, path: str, flags: int = 0x1E, buffer: int = 65536) -> int:
        """OPEN_SESSION and OPEN_FILE; the handle."""
        assert self.open_session(buffer) == Reply(2, 0, bytes(16))
        reply = self.open_file(path, flags)
        assert reply.type == 4, reply
        return struct.unpack_from("<Q", reply.payload, 8)[0]

    def ask_read(self, handle: int, offset: int, length: int, compression: int = 0) -> int:
        numbers = (handle, compression << 32 | 1, offset, length, length, length, 0)
        return self.send(7, struct.pack("<4Q3I", *numbers))

    def fragments(self, length: int) -> list[Reply]:
        """Replies until `length` bytes, counted uncompressed, have arrived or one is an error."""
        got: list[Reply] = []
        while length:
            got.append(self.receive())
            if got[-1].error is not None:
                break
            length -= struct.unpack_from("<I", got[-1].payload, 32)[0]
        return got

    def read(self, handle: int, offset: int, length: int, compression: int = 0) -> bytes:
        self.ask_read(handle, offset, length, compression)
        return assemble(self.fragments(length), offset, length, self.buffer)

    def write_fragment(self, handle: int, offset: int, total: int, *, place: int, data: bytes, op_id: int) -> None:
        numbers = (handle, 0, offset, total, place, len(data), len(data), 0)
        self.send(7, struct.pack("<3Q5I", *numbers), data, op_id=op_id)

    def write(self, handle: int, offset: int, data: bytes) -> Reply:
        op_id = next(self.ops)
        for place in range(0, len(data), self.buffer):
            piece = data[place : place + self.buffer]
            self.write_fragment(handle, offset, len(data), place=place, data=piece, op_id=op_id)
        return self.receive()

    def allocated(self, handle: int, chunk: int, start: int, count: int) -> Reply:
        return self.ask(13, struct.pack("<6Q", handle, 0, chunk, start, count, 0))

    def ddb(self, handle: int, key: str) -> str:
        return self.ask(11, struct.pack("<QII", handle, len(key), 0), key.encode()).extra.decode()

    def close(self, handle: int | None = None) -> None:
        if handle is not None:
            assert self.ask(5, struct.pack("<Q", handle)).type == 5
        assert self.ask(3, struct.pack("<I", 0)).type == 3
        self.classic(4)
        assert self.sock.recv(1) == b""
        self.sock.close()


def assemble(fragments: list[Reply], offset: int, length: int, buffer: int) -> bytes:
    """The bytes of a read, with every field of every fragment checked."""
    data, covered = bytearray(length), 0
    for reply in fragments:
        assert reply.type == 7, reply
        zero, opcode, start, total, place, size, extra, last = struct.unpack("<3Q5I", reply.payload)
        assert (zero, opcode & 0xFFFFFFFF, start, total, last) == (0, 1, offset, length, 0)
        assert size <= buffer
        assert extra == len(reply.extra)
        plain = zlib.decompress(reply.extra) if opcode >> 32 == 1 else reply.extra
        assert len(plain) == size
        data[place : place + size] = plain
        covered += size
    assert covered == length
    return bytes(data)

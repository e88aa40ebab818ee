"""A scripted ESXi NFC server for the client's tests: strict to the facts page, and able to misbehave on purpose.

Written from the page only, with sockets and struct; it shares nothing with the client or with the lab's server.
What a client does against the page is collected in `complaints`.
"""

import datetime
import hashlib
import random
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.secret import Secret

BANNER = (
    b"220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, "
    b"MKSDisplayProtocol:VNC , VMXARGS supported, NFCSSL supported/t, SHA256 supported\r\n"
)
MAGIC = 0xA100DA7A
PATH = "[ds1] web01/web01-000001.vmdk"


@dataclass(frozen=True)
class FakeTicket:
    host: str
    port: int
    thumbprint: str
    service: str
    session_id: Secret


class Identity:
    """A self-signed certificate with its key, loaded into a server context."""

    def __init__(self, directory: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.pem = directory / f"{name}.pem"
        self.pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.sha1 = ":".join(f"{byte:02X}" for byte in hashlib.sha1(der).digest())
        self.sha256 = ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        return context


class Complaint(Exception):
    """The client broke the protocol."""


Reply = tuple[bytes, bytes]
"""Header with payload, and extra."""


@dataclass
class Script:
    """How the server (mis)behaves. `mangle(reply)` may change one reply; `drop_after` lists, connection by connection,
    after how many data bytes it is dropped."""

    seed: int | None = None
    largest_buffer: int = 2 * 1024 * 1024
    largest_fragment: int = 1 << 30
    allocated: Callable[[int, int], bool] = lambda start, end: True
    query_refused: bool = False
    tuning_refused: bool = False
    refuse_reads: dict[int, int] = field(default_factory=dict)
    refuse_open: int = 0
    drop_after: list[int] = field(default_factory=list)
    drop_in_login: int = 0
    mangle: Callable[[bytes, bytes], Reply] | None = None
    silent_reads: bool = False
    connections: int = 1000
    tls_banner: bytes = BANNER
    second_identity: Identity | None = None
    garbage_after_connect: bytes = b""


class _Peer:
    """The server's side of one TCP connection: plain bytes, or the first TLS session by records."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._line = b""

    def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise ConnectionError
            data += more
        return bytes(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._record()

    def _flush(self) -> None:
        if self._out.pending:
            self.sock.sendall(self._out.read())

    def _record(self) -> None:
        head = self.exactly(5)
        self._in.write(head + self.exactly(int.from_bytes(head[3:], "big")))

    def line(self) -> str:
        assert self.tls is not None
        while b"\r\n" not in self._line:
            try:
                self._line += self.tls.read(4096)
            except ssl.SSLWantReadError:
                self._record()
        line, _, self._line = self._line.partition(b"\r\n")
        return line.decode()

    def say(self, text: str) -> None:
        assert self.tls is not None
        self.tls.write(text.encode() + b"\r\n")
        self._flush()


class FakeHost:
    """Listens on 127.0.0.1; each connection serves the same disk by the same script."""

    def __init__(self, identity: Identity, disk: bytes, script: Script | None = None) -> None:
        self.identity, self.disk, self.script = identity, disk, script or Script()
        self.complaints: list[str] = []
        self.sessions_seen: list[str] = []
        self.queries: list[tuple[int, int, int]] = []
        self.opened_buffers: list[tuple[int, int]] = []
        self.most_in_flight = 0
        self.open_connections = 0
        self.goodbyes = 0
        self._tickets: dict[str, str] = {}
        self._lock = threading.Lock()
        self._random = random.Random(self.script.seed)
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def ticket(self, thumbprint: str | None = None) -> FakeTicket:
        with self._lock:
            session = f"52cdebc5-b7ee-359a-1dec-{len(self._tickets):012d}"
            self._tickets[session] = "fresh"
        thumbprint = self.identity.sha1 if thumbprint is None else thumbprint
        return FakeTicket("127.0.0.1", self.port, thumbprint, "vpxa-nfc", Secret(session))

    def close(self) -> None:
        socket.socket.shutdown(self._listener, socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(10)

    def drop_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self.open_connections += 1
        try:
            sock.settimeout(30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            encrypted = self._authd(_Peer(sock))
            if encrypted is not None:
                sock = self._into_nfc(sock, encrypted)
                _Disk(self, sock).serve()
        except Complaint as complaint:
            self.complaints.append(str(complaint))
        except (OSError, ConnectionError):
            pass
        finally:
            with self._lock:
                self.open_connections -= 1
            with suppress(OSError):
                sock.close()

    def _into_nfc(self, sock: socket.socket, encrypted: bool) -> socket.socket:
        if not encrypted:
            return sock
        identity = self.script.second_identity or self.identity
        wrapped = identity.context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._sockets.append(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _authd(self, peer: _Peer) -> bool | None:
        peer.sock.sendall(self.script.tls_banner)
        peer.start_tls(self.identity.context())
        session, known = "", False
        while True:
            line = peer.line()
            word, _, rest = line.partition(" ")
            if word == "SESSION":
                self.sessions_seen.append(rest)
                session = rest
                with self._lock:
                    known = self._tickets.get(session) == "fresh"
                    self._tickets[session] = "spent"
            elif line == "BANNER ":
                if self._drops_login():
                    raise ConnectionError
                peer.say(BANNER.decode().strip() if known else "530 Please login with USER and PASS")
            elif line == "THUMBPRINT_SHA2 PlainText":
                peer.say(f"200 {self.identity.sha256}")
            elif word == "PROXY" and rest in {"vpxa-nfc", "vpxa-nfcssl"}:
                if self.open_connections > self.script.connections:
                    peer.say("550 Too many connections")
                    return None
                peer.say(f"200 Connect {rest.replace('vpxa', 'ha')}")
                return self._after_connect(peer, rest)
            else:
                raise Complaint(f"authd command {line!r}")

    def _after_connect(self, peer: _Peer, service: str) -> bool:
        if self.script.garbage_after_connect:
            peer.sock.sendall(self.script.garbage_after_connect)
        return service.endswith("ssl")

    def _drops_login(self) -> bool:
        with self._lock:
            self.script.drop_in_login -= 1
            return self.script.drop_in_login >= 0

    def next_drop(self) -> int | None:
        with self._lock:
            return self.script.drop_after.pop(0) if self.script.drop_after else None


class _Disk:
    """The NFC part of one connection."""

    def __init__(self, host: FakeHost, sock: socket.socket) -> None:
        self.host, self.sock, self.script = host, sock, host.script
        self.peer = _Peer(sock)
        self.buffer = 65536
        self.handle = 0
        self.next_operation = 0
        self.left = host.next_drop()

    def serve(self) -> None:
        self._classic_handshake()
        while self._message():
            pass

    def _classic(self, kind: int) -> bytes:
        message = self.peer.exactly(264)
        got = struct.unpack_from("<I", message)[0]
        if got != kind:
            raise Complaint(f"classic message {got}, expected {kind}")
        return message

    def _say_classic(self, kind: int, at: int = 4, value: int = 0) -> None:
        message = bytearray(264)
        struct.pack_into("<I", message, 0, kind)
        struct.pack_into("<I", message, at, value)
        self.sock.sendall(message)

    def _classic_handshake(self) -> None:
        if self._classic(43)[4:14] != b"PlainText\0":
            raise Complaint("43 without PlainText")
        if any(self._classic(33)[4:]):
            raise Complaint("33 is not zero-padded")
        self._say_classic(36, at=16, value=1)
        if struct.unpack_from("<I", self._classic(51), 4)[0] != 11:
            raise Complaint("version is not 11")
        self._say_classic(51, value=11)
        name, operation = struct.unpack_from("<II", self._classic(54), 4)
        if not name or not operation or len(self.peer.exactly(name + operation)) != name + operation:
            raise Complaint("54 without names")
        if struct.unpack_from("<I", self._classic(55), 4)[0] != 3:
            raise Complaint("features are not 3")
        self._classic(52)
        self._say_classic(52)

    def _header(self) -> tuple[int, int, bytes] | None:
        first = self.peer.exactly(4)
        if first == struct.pack("<I", 4):
            if any(self.peer.exactly(260)):
                raise Complaint("4 is not zero-padded")
            self.host.goodbyes += 1
            return None
        magic, kind, size, operation = struct.unpack("<4I", first + self.peer.exactly(12))
        if magic != MAGIC:
            raise Complaint(f"magic {magic:#x}")
        if operation != self.next_operation:
            raise Complaint(f"operation {operation}, expected {self.next_operation}")
        self.next_operation += 1
        expected = {2: 16, 9: 12, 22: 4, 4: 60, 13: 48, 7: 44, 5: 8, 3: 4}
        if expected.get(kind) != size:
            raise Complaint(f"message {kind} of {size} bytes")
        return kind, operation, self.peer.exactly(size)

    def _message(self) -> bool:
        header = self._header()
        if header is None:
            return False
        kind, operation, payload = header
        if kind == 7:
            self._reads([(operation, payload)])
        elif kind == 2:
            zero, self.buffer, count, last = struct.unpack("<4I", payload)
            self.host.opened_buffers.append((self.buffer, count))
            if zero or last or not count:
                raise Complaint("OPEN_SESSION fields")
            if self.buffer > self.script.largest_buffer:
                self._error(operation, 3)
                return False
            self._say(2, operation, bytes(16))
        elif kind in {9, 22} and self.script.tuning_refused:
            self._error(operation, 6)
        elif kind == 9:
            self._say(9, operation, struct.pack("<3I", 262144, 262144, 0))
        elif kind == 22:
            self._say(22, operation, payload)
        elif kind == 4:
            return self._open(operation, payload)
        elif kind == 13:
            self._query(operation, payload)
        else:
            self._say(kind, operation, payload)
        return True

    def _open(self, operation: int, payload: bytes) -> bool:
        length, kind, flags = struct.unpack("<I12xII36x", payload)
        path = self.peer.exactly(length).decode()
        if (kind, flags) != (2, 0x1E):
            raise Complaint(f"OPEN_FILE type {kind} flags {flags:#x}")
        if path != PATH or self.script.refuse_open:
            self._error(operation, self.script.refuse_open or 4)
            return True
        self.handle = 0x1234_5678_9ABC_0000 + operation
        reply = bytearray(60)
        struct.pack_into("<QII", reply, 8, self.handle, 2, flags)
        struct.pack_into("<Q4I", reply, 28, len(self.host.disk), 512, 2088, 255, 63)
        self._say(4, operation, bytes(reply))
        return True

    def _query(self, operation: int, payload: bytes) -> None:
        handle, zero, chunk, start, count, last = struct.unpack("<6Q", payload)
        if handle != self.handle or zero or last:
            raise Complaint("QUERY_ALLOCATED_BLOCKS fields")
        self.host.queries.append((chunk, start, count))
        inside = start + chunk * count <= len(self.host.disk)
        if self.script.query_refused or start % chunk or not inside or not count:
            self._error(operation, 6)
            return
        bitmap = bytearray(-(-count // 32) * 4)
        for index in range(count):
            if self.script.allocated(start + index * chunk, start + (index + 1) * chunk):
                bitmap[index // 8] |= 1 << index % 8
        for index in range(count, len(bitmap) * 8):
            bitmap[index // 8] |= 1 << index % 8  # padding is not promised to be zero
        reply = bytearray(48)
        struct.pack_into("<Q", reply, 32, count)
        self._say(13, operation, bytes(reply), bytes(bitmap))

    def _reads(self, requests: list[tuple[int, bytes]]) -> None:
        """Answers all requests that have arrived so far, their fragments in an order of the script's seed."""
        while select.select([self.sock], [], [], 0.002)[0] or self._tls_pending():
            header = self._header()
            if header is None or header[0] != 7:
                raise Complaint("something else than reads while reads are under way")
            requests.append(header[1:])
        self.host.most_in_flight = max(self.host.most_in_flight, len(requests))
        if self.script.silent_reads:
            return
        replies = [reply for operation, payload in requests for reply in self._fragments(operation, payload)]
        if self.script.seed is not None:
            self.host._random.shuffle(replies)
        for head, extra in replies:
            self._send_reply(head, extra)

    def _tls_pending(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _send_reply(self, head: bytes, extra: bytes) -> None:
        if self.script.mangle is not None:
            head, extra = self.script.mangle(head, extra)
        if self.left is not None:
            self.left -= len(extra)
            if self.left < 0:
                self.sock.sendall(head + extra[: len(extra) // 2])
                raise ConnectionError
        self.sock.sendall(head + extra)

    def _fragments(self, operation: int, payload: bytes) -> list[Reply]:
        handle, opcode, offset, long, length, again, zero = struct.unpack("<4Q3I", payload)
        if handle != self.handle or opcode != 1 or zero or not long == length == again:
            raise Complaint("IO request fields")
        if offset + length > len(self.host.disk):
            raise Complaint("a read beyond the disk")
        for bad, code in self.script.refuse_reads.items():
            if offset <= bad < offset + length:
                return [(struct.pack("<4I", MAGIC, 1, 8, operation) + struct.pack("<II", 0, code), b"")]
        replies = []
        place = 0
        while place < length:
            size = min(self.buffer, self.script.largest_fragment, length - place)
            if self.script.seed is not None and size > 512:
                size = self.host._random.randrange(1, size // 512 + 1) * 512
            data = self.host.disk[offset + place : offset + place + size]
            head = struct.pack("<4I", MAGIC, 7, 44, operation)
            head += struct.pack("<QQQ5I", 0, 1, offset, length, place, size, size, 0)
            replies.append((head, data))
            place += size
        return replies

    def _say(self, kind: int, operation: int, payload: bytes, extra: bytes = b"") -> None:
        self._send_reply(struct.pack("<4I", MAGIC, kind, len(payload), operation) + payload, extra)

    def _error(self, operation: int, code: int) -> None:
        self._send_reply(struct.pack("<4I", MAGIC, 1, 8, operation) + struct.pack("<II", 0, code), b"")

"""The lease's byte stream against a scripted HTTPS server: what ends well, and what only looks so."""

import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectionLost, LeaseError, TransportError, TrustError, VcbError
from engine.events import Event, encode
from engine.reporter import Reporter
from engine.secret import Secret
from engine.transport.https import LeaseStream
from engine.vsphere.trust import Trust
from tests.transport.fake_nfc import Identity

BODY = random.Random(30).randbytes(3_456_789)
COOKIE = 'vmware_soap_session="0123456789abcdef0123456789abcdef"'
PATH = "/nfc/52f0e1d2-ticket-in-the-path/disk-0.vmdk"


@dataclass(frozen=True)
class Device:
    url: str
    thumbprint: str


@dataclass
class Lease:
    lost: bool = False

    def check(self) -> None:
        if self.lost:
            raise LeaseError("The lease is gone.", fault="Timedout")


@dataclass
class Issuer:
    host: str
    port: int
    trust: Trust
    cookie: Secret = field(default_factory=lambda: Secret(COOKIE))


Answer = Callable[[ssl.SSLSocket], object]


class Server:
    """Answers every connection with one scripted byte sequence; keeps the requests it got."""

    def __init__(self, identity: Identity, answer: Answer) -> None:
        self.identity, self.answer = identity, answer
        self.requests: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        context = self.identity.context()
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            with suppress(OSError), context.wrap_socket(raw, server_side=True) as secure:
                secure.settimeout(30)
                request = b""
                while b"\r\n\r\n" not in request:
                    data = secure.recv(4096)
                    if not data:
                        raise ConnectionError
                    request += data
                self.requests.append(request.decode())
                self.answer(secure)

    def close(self) -> None:
        socket.socket.shutdown(self.listener, socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(30)


@pytest.fixture
def serve(identity: Identity) -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(identity, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def head(text: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{text}\r\n\r\n".encode()


def chunked(body: bytes, seed: int) -> bytes:
    dice, parts, at = random.Random(seed), [], 0
    while at < len(body):
        piece = body[at : at + dice.choice((1, 17, 4096, 65536, 1 << 20, 1 << 21))]
        parts.append(f"{len(piece):x}{dice.choice(('', ';note=1'))}\r\n".encode() + piece + b"\r\n")
        at += len(piece)
    return b"".join(parts) + b"0\r\n\r\n"


def stream_of(server: Server, report: Reporter, **changes: object) -> LeaseStream:
    trust = Trust(None, server.identity.sha256.replace(":", "").lower())
    thumbprint = changes.pop("thumbprint", server.identity.sha1)
    issuer = changes.pop("session", Issuer("127.0.0.1", server.port, trust))
    arguments = {"lease": Lease(), "report": report, "cancel": CancelToken(), "timeout": 20.0} | changes
    device = Device(f"https://127.0.0.1:{server.port}{PATH}", str(thumbprint))
    return LeaseStream(device, session=issuer, **arguments)  # type: ignore[arg-type]


def take(stream: LeaseStream) -> bytes:
    return b"".join(bytes(view) for view in stream)


@pytest.mark.parametrize("seed", range(3))
def test_a_chunked_stream(serve: Callable[[Answer], Server], report: Reporter, seed: int) -> None:
    server = serve(lambda peer: peer.sendall(head("Transfer-Encoding: chunked") + chunked(BODY, seed)))
    stream = stream_of(server, report)
    assert take(stream) == BODY
    assert (stream.received, stream.complete) == (len(BODY), True)
    assert stream.digests.sha256 == hashlib.sha256(BODY).hexdigest()
    assert stream.digests.sha1 == hashlib.sha1(BODY).hexdigest()
    assert f"Cookie: {COOKIE}\r\n" in server.requests[0]
    assert server.requests[0].startswith(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")


def test_a_stream_with_a_known_length(serve: Callable[[Answer], Server], report: Reporter) -> None:
    server = serve(lambda peer: peer.sendall(head(f"Content-Length: {len(BODY)}") + BODY + b"not part of it"))
    assert take(stream_of(server, report)) == BODY


def test_a_stream_that_ends_with_the_connection(serve: Callable[[Answer], Server], report: Reporter) -> None:
    def orderly(peer: ssl.SSLSocket) -> None:
        peer.sendall(head("Content-Type: application/x-vnd.vmware-streamVmdk") + BODY)
        peer.unwrap()

    assert take(stream_of(serve(orderly), report)) == BODY


@pytest.mark.parametrize(
    "answer",
    [
        head("Transfer-Encoding: chunked") + chunked(BODY, 1)[:-5],
        head("Transfer-Encoding: chunked") + chunked(BODY, 1)[:-7],
        head("Transfer-Encoding: chunked") + chunked(BODY, 1)[: len(BODY) // 2],
        head("Transfer-Encoding: chunked") + b"ffffff\r\nshort",
        head("Transfer-Encoding: chunked") + b"nonsense\r\n",
        head(f"Content-Length: {len(BODY)}") + BODY[:-1],
        head("Content-Type: x") + BODY[:1000],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=lambda answer: f"{len(answer)} bytes",  # the bytes themselves would be a name of megabytes
)
def test_a_stream_cut_short_is_never_complete(
    serve: Callable[[Answer], Server], report: Reporter, answer: bytes
) -> None:
    def cut(peer: ssl.SSLSocket) -> None:
        peer.sendall(answer)
        socket.socket.shutdown(peer, socket.SHUT_WR)

    stream = stream_of(serve(cut), report)
    with pytest.raises(ConnectionLost) as caught:
        take(stream)
    assert caught.value.transient
    assert not stream.complete
    lost = stream_of(serve(cut), report, lease=Lease(lost=True))
    with pytest.raises(LeaseError, match="gone"):
        take(lost)


@pytest.mark.parametrize(
    ("status", "error", "transient"),
    [
        ("404 Not Found", LeaseError, False),
        ("403 Forbidden", LeaseError, False),
        ("500 Internal Server Error", TransportError, False),
        ("503 Service Unavailable", TransportError, True),
        ("206 Partial Content", TransportError, False),
    ],
)
def test_other_answers_than_200(
    serve: Callable[[Answer], Server], report: Reporter, status: str, error: type[VcbError], transient: bool
) -> None:
    server = serve(lambda peer: peer.sendall(head("Content-Length: 4", status) + b"oops"))
    with pytest.raises(error) as caught:
        take(stream_of(server, report))
    assert caught.value.fault == f"HTTP {status}"
    assert caught.value.transient is transient


def test_another_certificate_gets_no_request(
    serve: Callable[[Answer], Server], report: Reporter, other_identity: Identity
) -> None:
    server = serve(lambda peer: peer.sendall(head("Content-Length: 0")))
    with pytest.raises(TrustError):
        take(stream_of(server, report, thumbprint=other_identity.sha1))
    wrong = Issuer("127.0.0.1", server.port, Trust(other_identity.pem.read_text(), None))
    with pytest.raises(TrustError):
        take(stream_of(server, report, thumbprint="", session=wrong))
    assert server.requests == []


def test_without_a_thumbprint_the_settings_trust_decides(serve: Callable[[Answer], Server], report: Reporter) -> None:
    server = serve(lambda peer: peer.sendall(head("Content-Length: 5") + b"hello"))
    assert take(stream_of(server, report, thumbprint="")) == b"hello"


def test_another_host_gets_no_cookie(serve: Callable[[Answer], Server], report: Reporter) -> None:
    server = serve(lambda peer: peer.sendall(head("Content-Length: 5") + b"hello"))
    elsewhere = Issuer("vcenter.example", 443, Trust(None, None))
    assert take(stream_of(server, report, session=elsewhere)) == b"hello"
    assert "Cookie" not in server.requests[0]


def test_a_silent_host_is_a_timeout(serve: Callable[[Answer], Server], report: Reporter) -> None:
    server = serve(lambda peer: peer.recv(1))
    with pytest.raises(ConnectionLost, match="sent nothing"):
        take(stream_of(server, report, timeout=0.1))


def test_cancel_closes_the_connection(serve: Callable[[Answer], Server], report: Reporter) -> None:
    cancel = CancelToken()

    def silent(peer: ssl.SSLSocket) -> None:
        peer.sendall(head("Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        cancel.cancel()
        peer.recv(1)

    with pytest.raises(Cancelled):
        take(stream_of(serve(silent), report, cancel=cancel, timeout=3600.0))


def test_a_lost_lease_ends_the_reading(serve: Callable[[Answer], Server], report: Reporter) -> None:
    lease = Lease()
    stream = stream_of(
        serve(lambda peer: peer.sendall(head(f"Content-Length: {len(BODY)}") + BODY)), report, lease=lease
    )
    views = iter(stream)
    next(views)
    lease.lost = True
    with pytest.raises(LeaseError):
        next(views)


def test_secrets_stay_out_of_the_log(serve: Callable[[Answer], Server], report: Reporter, events: list[Event]) -> None:
    server = serve(lambda peer: peer.sendall(head(f"Content-Length: 0\r\nSet-Cookie: {COOKIE}")))
    take(stream_of(server, report))
    text = b"\n".join(encode(event) for event in events).decode()
    assert "GET disk-0.vmdk" in text
    assert "0123456789abcdef" not in text
    assert "52f0e1d2" not in text

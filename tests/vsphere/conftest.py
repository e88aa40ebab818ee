"""Servers for tests of the vSphere side: TLS listeners with certificates of our making, and the lab with faults."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from engine.lab import Lab
from engine.reporter import Reporter, Volume
from engine.secret import Secret
from engine.vsphere.session import Session, connect
from engine.vsphere.trust import Trust


@dataclass
class Issued:
    """A certificate with its key, as PEM."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def sha256(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def sha1(self) -> str:
        return self.certificate.fingerprint(hashes.SHA1()).hex(":")


def issue(name: str, *, by: Issued | None = None, hosts: tuple[str, ...] = (), age: int = 1, days: int = 30) -> Issued:
    """A certificate for `hosts`, `age` days old and valid for `days`; self-signed without `by`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    began = datetime.now(UTC) - timedelta(days=age)
    names = [x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


@dataclass
class Listener:
    """An HTTPS server on loopback that answers everything with 200 and remembers the paths it was asked."""

    port: int
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[object]:
    """A function that starts a `Listener` with a certificate."""
    servers: list[ThreadingHTTPServer] = []

    def start(issued: Issued) -> Listener:
        file = tmp_path / f"{issued.sha256}.pem"
        key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file.write_text(issued.pem + key)
        listener = Listener(0)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that refuse our certificate are what these tests are about."""

        server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        listener.port = server.server_port
        return listener

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="small", guest=False) as running:
        yield running


@dataclass
class Journal:
    """What a session reported, as texts."""

    events: list = field(default_factory=list)
    level: int = 6

    @property
    def report(self) -> Reporter:
        return Reporter(self.events.append, Volume(self.level))

    @property
    def texts(self) -> list[str]:
        return [getattr(event, "text", "") for event in self.events]


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def session(lab: Lab, journal: Journal) -> Iterator[Session]:
    with log_in(lab, journal) as logged_in:
        yield logged_in


def log_in(lab: Lab, journal: Journal, user: str = "", password: str = "", timeout: float = 30.0) -> Session:
    return connect(
        lab.host,
        lab.port,
        user or lab.user,
        Secret(password or lab.password),
        Trust.from_settings(lab.ca_file, None),
        journal.report,
        timeout=timeout,
    )

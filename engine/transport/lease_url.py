"""Requests to the URLs of a lease: the TLS connection is checked by the thumbprint that the lease carries before a byte
is sent, and what goes over it is hashed on the way."""

import hashlib
import http.client
import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from engine.errors import LeaseError, TransportError
from engine.secret import Secret
from engine.transport.tcp import SocketGuard, connect_tcp
from engine.vsphere.trust import Trust, untrusted


class Device(Protocol):
    """The part of `engine.vsphere.lease.DeviceUrl` that is used here."""

    @property
    def url(self) -> str: ...
    @property
    def thumbprint(self) -> str: ...


class Lease(Protocol):
    def check(self) -> None:
        """Raises LeaseError when the lease has been lost."""
        ...


class Issuer(Protocol):
    """The session that holds the lease (`engine.vsphere.session.Session`)."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def cookie(self) -> Secret: ...
    @property
    def trust(self) -> Trust: ...


def https_url(device: Device) -> SplitResult:
    """The parts of the device's URL. Raises `TransportError` for one that is not HTTPS."""
    url = urlsplit(device.url)
    if url.scheme != "https" or not url.hostname:
        raise TransportError("The lease offers a URL that is not HTTPS, which is not used.")
    return url


def target_of(url: SplitResult) -> str:
    """The path and query of a request."""
    return url.path + (f"?{url.query}" if url.query else "")


def file_name(url: SplitResult) -> str:
    """The file's name: the rest of the path is a ticket."""
    return url.path.rpartition("/")[2]


def connect_tls(url: SplitResult, device: Device, trust: Trust, guard: SocketGuard, *, timeout: float) -> ssl.SSLSocket:
    """The certificate has been checked when this returns, and nothing has been sent. Raises `ConnectError`,
    `TrustError`, OSError."""
    host, port = url.hostname or "", url.port or 443
    thumbprint = trust.vouched(host, port, device.thumbprint)
    context = trust.pinned_context(thumbprint) if thumbprint else trust.context_for(host, port)
    hint = "The proxy needs TCP 443 open to every ESXi host; check the firewall and the name resolution."
    raw = connect_tcp(host, port, timeout=timeout, guard=guard, hint=hint)
    # A cut TLS connection must not look like the end of the data.
    secure = context.wrap_socket(raw, server_hostname=host, suppress_ragged_eofs=False, do_handshake_on_connect=False)
    guard.attach(secure)
    try:
        secure.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise untrusted(host, port, error.verify_message) from error
    return secure


def begin_request(
    method: str, device: Device, session: Issuer, guard: SocketGuard, headers: Mapping[str, str], *, timeout: float
) -> http.client.HTTPConnection:
    """The connection with everything sent but the body. Raises as `connect_tls`, and `http.client.HTTPException`.

    HTTP is http.client's: 1.0 CPU seconds a GiB, where a bare TLS socket that only receives takes 0.95."""
    url = https_url(device)
    host, port = url.hostname or "", url.port or 443
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.sock = connect_tls(url, device, session.trust, guard, timeout=timeout)
    connection.putrequest(method, target_of(url))
    for name, value in headers.items():
        connection.putheader(name, value)
    if (host, port) == (session.host, session.port):  # no other host has any business with it
        connection.putheader("Cookie", session.cookie.reveal())
    connection.putheader("Connection", "close")
    connection.endheaders()
    return connection


def refused(
    response: http.client.HTTPResponse, url: SplitResult, lease: str, because: str
) -> LeaseError | TransportError:
    """The error that an answer other than success stands for; `lease` is "export" or "import"."""
    fault = f"HTTP {response.status} {response.reason}"
    if response.status in {401, 403, 404, 410}:
        return LeaseError(
            f"{url.hostname} does not know the {lease} lease's {file_name(url)} any more.",
            fault=fault,
            hint="A lease ends when its progress is not reported, or when someone cancels its task in vCenter.",
        )
    return TransportError(f"{url.hostname} {because}", fault=fault, transient=response.status == 503)


class Digests:
    """The hashes of a body on its way. Both, because the lease's manifest, which comes after the last byte, says only
    then which of the two the server made."""

    def __init__(self) -> None:
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        self._sha1.update(data)
        self._sha256.update(data)

    @property
    def sha1(self) -> str:
        """Lower case hex, of the bytes so far."""
        return self._sha1.hexdigest()

    @property
    def sha256(self) -> str:
        """Lower case hex, of the bytes so far."""
        return self._sha256.hexdigest()

    def of(self, algorithm: str) -> str | None:
        """The hash under the name that a manifest gives it; None for one that is not made here."""
        return {"sha1": self.sha1, "sha256": self.sha256}.get(algorithm)

"""A TLS connection to a URL of a lease: checked by the thumbprint that the lease carries, before a byte is sent."""

import ssl
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from engine.errors import TransportError
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
    context = trust.pinned_context(device.thumbprint) if device.thumbprint else trust.context_for(host, port)
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

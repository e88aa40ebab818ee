"""Which certificates this job accepts: a CA bundle, or exactly the one certificate that the operator approved.

pyVmomi's own `thumbprint=` is never used: it is looked at only after a failed verification, and from then on the
caller's context verifies nothing (facts/pyvmomi-vcsim-lab.md 3.5). Here a pin is checked by the socket class itself,
at the end of every handshake and before the first byte is sent, so no connection can be made without it.
"""

import hashlib
import hmac
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from engine.errors import ConfigError, TrustError
from engine.vsphere.connection import connection_error

_ALGORITHM = {40: "sha1", 64: "sha256"}


def fingerprint(der: bytes, algorithm: str = "sha256") -> str:
    """The certificate's hash as operators see it elsewhere: upper case hex pairs with colons."""
    digest = hashlib.new(algorithm, der).hexdigest().upper()
    return ":".join(re.findall("..", digest))


def parse_thumbprint(text: str, *, option: str = "THUMBPRINT") -> str:
    """Bare lower case hex of a SHA-256 or SHA-1 thumbprint written with or without colons, or `ConfigError`."""
    bare = re.sub(r"[\s:]", "", text.strip().lower().removeprefix("sha256").lstrip("=:"))
    if len(bare) not in _ALGORITHM or re.search("[^0-9a-f]", bare):
        raise ConfigError(
            f"{option} is not a certificate thumbprint: {text!r}.",
            hint="It is the SHA-256 of the certificate: 64 hexadecimal digits, with or without colons.",
        )
    return bare


Pins = Mapping[str, str]
"""SHA-256 (bare hex) of the one certificate that an address (`host:port`) must show."""


def address(host: str, port: int) -> str:
    """`host:port` as approvals name it; host names have no case."""
    return f"[{host.lower()}]:{port}" if ":" in host else f"{host.lower()}:{port}"


class PinnedContext(ssl.SSLContext):
    """A client context that accepts exactly one certificate, named by its SHA-256 or SHA-1.

    Neither issuer nor name nor expiry date matter: the operator (or a ticket that came over a verified connection)
    named this certificate. That the peer owns its key is proven by the TLS handshake itself.
    """

    pin: str
    where: str
    """The host:port whose approval this is; "" for a pin from THUMBPRINT or a ticket."""

    def __new__(cls, pin: str, where: str = "") -> "PinnedContext":
        context = cast("PinnedContext", super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT))
        context.pin, context.where = pin, where
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslsocket_class = _PinnedSocket
        context.sslobject_class = _PinnedObject
        return context

    def verify_peer(self, der: bytes | None) -> None:
        """Raises `TrustError` unless `der` is the pinned certificate."""
        algorithm = _ALGORITHM[len(self.pin)]
        actual = hashlib.new(algorithm, der or b"").hexdigest()
        if not der or not hmac.compare_digest(actual, self.pin):
            shown = fingerprint(der or b"", algorithm)
            server = self.where or "The server"
            way = f"vcb trust approve {self.where}" if self.where else "THUMBPRINT"
            raise TrustError(
                f"{server} shows another certificate than the approved one: its {algorithm.upper()} is {shown}.",
                fault="ThumbprintMismatch",
                hint="If the certificate was renewed, compare this value at the server's own console and approve it "
                f"({way}). If nobody renewed it, someone may be between you and the server.",
            )


class _PinnedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        _check(self)


class _PinnedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self)


def _check(peer: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Called inside the handshake; nothing else of the connection exists before it returns."""
    context = peer.context
    # A server name callback could exchange the context; whoever is not a PinnedContext has no say here.
    if not isinstance(context, PinnedContext):
        raise TrustError("The connection lost its pinned certificate.", fault="ThumbprintMismatch")
    try:
        context.verify_peer(peer.getpeercert(binary_form=True))
    except TrustError:
        if isinstance(peer, ssl.SSLSocket):
            peer.close()
        raise


class Trust:
    """What the operator approved. Immutable; contexts are made per call, so that nobody can loosen a shared one."""

    def __init__(self, ca_pem: str | None, pin: str | None, approved: Pins | None = None) -> None:
        self._ca_pem = ca_pem
        self._pin = pin
        self._approved = dict(approved or {})

    @classmethod
    def from_settings(cls, ca_file: Path | None, thumbprint: str | None, approved: Pins | None = None) -> "Trust":
        """`thumbprint` (SHA-256) wins over what was `approved` for an address, and both win over `ca_file`. Raises
        `ConfigError` for unusable values."""
        pin = parse_thumbprint(thumbprint) if thumbprint else None
        if pin is not None and len(pin) != 64:
            raise ConfigError("THUMBPRINT is a SHA-1; only SHA-256 is accepted.", hint="Use the 64-digit SHA-256.")
        return cls(_read_bundle(ca_file) if ca_file else None, pin, approved)

    @property
    def approved(self) -> bool:
        return bool(self._pin or self._ca_pem or self._approved)

    def context_for(self, host: str, port: int, *, timeout: float = 20.0) -> ssl.SSLContext:
        """A context for connections to host:port. Raises `TrustError` with the server's SHA-256 when nothing was
        approved (the certificate is then fetched, nothing is sent), `ConnectError` when there is no server."""
        if self._pin:
            return PinnedContext(self._pin)
        if pin := self._approved.get(address(host, port)):
            return PinnedContext(pin, address(host, port))
        if self._ca_pem:
            return _bundle_context(self._ca_pem)
        raise untrusted(host, port, "no certificate has been approved", timeout=timeout)

    def vouched(self, host: str, port: int, thumbprint: str) -> str:
        """The thumbprint that a host of a lease or ticket must show: what the operator approved for its address, else
        what vCenter says."""
        return self._approved.get(address(host, port), thumbprint)

    def pinned_context(self, thumbprint_sha1: str) -> ssl.SSLContext:
        """A context for the ESXi host whose thumbprint a lease or ticket carries (SHA-1 today; SHA-256 works too).
        The thumbprint must have come over a verified connection."""
        try:
            return PinnedContext(parse_thumbprint(thumbprint_sha1, option="The ticket's thumbprint"))
        except ConfigError as error:
            raise TrustError(
                f"The server named its host's certificate in a form that cannot be checked: {thumbprint_sha1!r}.",
                fault="sslThumbprint",
            ) from error


def untrusted(host: str, port: int, why: str, *, timeout: float = 20.0) -> TrustError:
    """The error for a certificate that nobody approved, naming its SHA-256 and what to do."""
    shown = fingerprint(peer_certificate(host, port, timeout=timeout))
    return TrustError(
        f"The certificate of {host}:{port} is not trusted: {why}. Its SHA-256 is {shown}.",
        fault="CertificateUntrusted",
        hint=f"Compare the SHA-256 at the server's own console; then approve it: vcb trust approve "
        f"{address(host, port)} (or set THUMBPRINT={shown}). Or set CA_FILE to the CA that signed it (vCenter offers "
        f"its own at https://{host}/certs/download.zip).",
    )


def peer_certificate(host: str, port: int, *, timeout: float = 20.0) -> bytes:
    """The DER certificate that host:port shows, unverified. Nothing is sent but the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=timeout) as raw,
            context.wrap_socket(raw, server_hostname=host) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""
    except (OSError, ValueError) as error:
        raise connection_error(error, host, port) from error


def _bundle_context(pem: str) -> ssl.SSLContext:
    # Built by hand: create_default_context on Python 3.13 adds VERIFY_X509_STRICT, which appliance certificates fail.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


def _read_bundle(path: Path) -> str:
    try:
        pem = path.read_text(encoding="utf-8", errors="replace")
        _bundle_context(pem)
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            raise ConfigError(
                f"CA_FILE holds no usable certificate: {error.reason or error}.",
                file=str(path),
                hint="It must be a PEM bundle (BEGIN CERTIFICATE ...).",
            ) from error
        raise ConfigError(f"CA_FILE cannot be read: {error.strerror}.", file=str(path)) from error
    return pem

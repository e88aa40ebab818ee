"""Sockets, TLS and HTTP that fail, in an operator's words. No SOAP here."""

import http.client
import socket
import ssl
from xml.etree.ElementTree import ParseError
from xml.parsers.expat import ExpatError

from engine.errors import ConnectError, VcbError

DROPPED = (OSError, http.client.HTTPException, ExpatError, ParseError)
"""What a call raises when its connection failed or its answer was cut off."""

_PORT_HINT = "The API of vCenter and ESXi is served on port 443 (PORT)."
_NFC_HINT = (
    "Port 902 carries disk data (and was the default of VCB 1.0). The API of vCenter and ESXi is served on port 443: "
    "set PORT=443."
)


def connection_error(error: Exception, host: str, port: int) -> VcbError:
    """The `ConnectError` for a socket, TLS or HTTP failure that is not about trust (see engine.vsphere.trust)."""
    why, hint = _explained(error, host)
    if port == 902 and not isinstance(error, socket.gaierror):
        hint = _NFC_HINT
    fault = f"HTTP {error.status}" if isinstance(error, HttpStatus) else type(error).__name__
    return ConnectError(f"{host}:{port}: {why}.", fault=fault, hint=hint)


def _explained(error: Exception, host: str) -> tuple[str, str]:
    """What happened, and what to do about it. From the special to the general: most of these are OSErrors."""
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {getattr(error, 'reason', None) or error}", _PORT_HINT
    if isinstance(error, Undecodable):
        return f"an answer cannot be understood: {error}", "The server may be newer than this version of vcb-console."
    if isinstance(error, HttpStatus):
        return f"an API call was answered with {error}", _STATUS_HINTS.get(error.status, _PORT_HINT)
    for kinds, why, hint in _REASONS:
        if isinstance(error, kinds):
            return why.format(host=host), hint
    return f"it cannot be reached: {getattr(error, 'strerror', None) or error}", ""


class HttpStatus(http.client.HTTPException):
    """An HTTP status that the protocol does not expect here."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


class Undecodable(http.client.HTTPException):
    """An answer that arrived whole and that pyVmomi cannot read: a type or value newer than its tables."""


UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError)
"""What reading an answer raises that is well-formed, and not what it should be."""

_STATUS_HINTS = {503: "vCenter answers so while its services start; try again in a few minutes."}
_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (socket.gaierror, "the name {host} cannot be resolved", "Check HOST and this machine's DNS."),
    (ConnectionRefusedError, "nothing listens there", _PORT_HINT),
    (TimeoutError, "no answer in time", "Check the network, firewalls and whether the server is up (HTTP_TIMEOUT)."),
    ((ExpatError, ParseError), "the answer is not a vSphere API's", _PORT_HINT),
    ((http.client.HTTPException, ConnectionError), "the connection dropped", ""),
)

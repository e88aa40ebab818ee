"""One SOAP exchange: pyVmomi writes the request and owns the connection pool, we carry it, log it and read the answer.

Both pyVmomi's own calls and the raw property reader go through `Stub.exchange`, so timeouts, gzip, the session cookie
and the redacted wire log exist once. Nothing is repeated here: see engine.vsphere.session.
"""

import http.client
import re
import ssl
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any, NamedTuple, NoReturn

from pyVmomi import SoapAdapter, VmomiSupport

from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.secret import Secret, redact
from engine.vsphere.connection import UNREADABLE, HttpStatus, Undecodable

COOKIE = "vmware_soap_session"
_SHOWN = 8192
"""Characters of a request or answer that the wire log shows."""

_WITHHELD = {
    "Login",
    "LoginBySSPI",
    "LoginByToken",
    "AcquireCloneTicket",
    "AcquireGenericServiceTicket",
    "AcquireTicket",
}
"""Methods whose answers carry authority and are not shown at all (and every method named Nfc...)."""

_DELICATE = re.compile(r"(<(?:password|base64Token|sessionId|sessionKey|ticket)\b[^>]*>)[^<]*|(/nfc/)[^/<\s]+")


class Answer(NamedTuple):
    """`status` is 200 or 500 (a SOAP fault); `body` has `read(n)` and is already decompressed."""

    status: int
    body: "Body"


class Stub(SoapAdapter.SoapStubAdapter):
    """A pyVmomi stub that always verifies TLS, always has a timeout, and refuses property reads one by one."""

    def __init__(
        self, host: str, port: int, version: str, *, context: ssl.SSLContext, timeout: float, report: Reporter
    ) -> None:
        super().__init__(
            host=host, port=port, path="/sdk", version=version, sslContext=context, httpConnectionTimeout=timeout
        )
        self.timeout = timeout
        self.report = report
        self.session_cookie = Secret("")

    def InvokeMethod(  # noqa: N802 - pyVmomi calls it by this name
        self,
        mo: Any,
        info: Any,
        args: Sequence[Any],
        outerStub: Any = None,  # noqa: N803
    ) -> Any:
        with self.exchange(mo, info, args) as answer:
            fault = self.fault_in(answer.body) if answer.status == 500 else None
            value = None if fault else self._value_in(answer.body, info)
        if fault:
            raise fault
        return value

    def _value_in(self, body: "Body", info: Any) -> Any:
        try:
            return SoapAdapter.SoapResponseDeserializer(self).Deserialize(body, info.result)
        except UNREADABLE as error:
            raise Undecodable(f"{info.wsdlName}: {error!r:.200}") from error

    def fault_in(self, body: "Body") -> Exception:
        """The fault that an answer of status 500 carries, as pyVmomi's exception."""
        try:
            fault = SoapAdapter.SoapResponseDeserializer(self).Deserialize(body, object)
        except UNREADABLE as error:
            raise Undecodable(f"a fault: {error!r:.200}") from error
        return fault if isinstance(fault, Exception) else HttpStatus(500, "without a SOAP fault")

    def InvokeAccessor(self, mo: Any, info: Any) -> NoReturn:  # noqa: N802
        """Reading a managed object's attribute is one call each and hides decoding errors: a mistake here."""
        raise TypeError(f"{info.name} was read as an attribute; use engine.vsphere.properties")

    @contextmanager
    def exchange(self, mo: Any, info: Any, args: Sequence[Any]) -> Iterator[Answer]:
        """Sends one request; the block reads the answer. Raises OSError or HTTPException when the connection fails;
        a connection whose answer was not read to its end is not used again."""
        request = self.SerializeRequest(mo, info, args)
        wire = self.report.wants(LogLevel.WIRE)
        if wire:
            self.report.wire(f"-> {info.wsdlName} {_shown(request.decode())}")
        connection = self.GetConnection()
        try:
            connection.request("POST", self.path, request, self._headers())
            response = connection.getresponse()
            self._keep_cookie(response)
            if response.status not in (200, 500):
                raise HttpStatus(response.status, response.reason)
            body = Body(response, keep=_SHOWN if wire else 0)
            yield Answer(response.status, body)
            body.finish()
        except (OSError, http.client.HTTPException):
            # The other pooled connections most likely died with this one.
            connection.close()
            self.DropConnections()
            raise
        except BaseException:
            connection.close()
            raise
        self.ReturnConnection(connection)
        if wire:
            hidden = info.wsdlName in _WITHHELD or info.wsdlName.startswith("Nfc")
            shown = "(not shown: it carries authority)" if hidden else _shown(body.start())
            self.report.wire(f"<- {info.wsdlName} {response.status} {shown}")

    def _headers(self) -> dict[str, str]:
        return {
            "Cookie": self.session_cookie.reveal(),
            "SOAPAction": self.versionId,
            "Content-Type": "text/xml; charset=UTF-8",
            "Accept-Encoding": "gzip",
            "User-Agent": "vcb-console",
        }

    def _keep_cookie(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie", []):
            morsel = SimpleCookie(header).get(COOKIE)
            if morsel is not None:
                Secret(morsel.value)  # known to `redact` from here on, also without its name
                # coded_value keeps the quotes that vCenter puts around it and wants back.
                self.session_cookie = Secret(f"{COOKIE}={morsel.coded_value}")


LARGEST_ANSWER = 256 << 20
"""Bytes of one answer, unpacked. A page of 500 whole VMs takes some MiB."""


class Body:
    """The answer's bytes as a stream, gunzipped; remembers its first `keep` bytes for the wire log."""

    def __init__(self, response: http.client.HTTPResponse, keep: int = 0) -> None:
        self._response = response
        self._left = LARGEST_ANSWER
        self._keep = keep
        self._kept = b""
        gzipped = (response.getheader("Content-Encoding") or "").lower() == "gzip"
        self._gunzip = zlib.decompressobj(wbits=31) if gzipped else None

    def read(self, size: int = 65536) -> bytes:
        """Up to `size` bytes (b"" at the end). Raises HTTPException for a compressed stream that is cut or broken."""
        data = self._inflated(size) if self._gunzip else self._response.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Undecodable(f"it is larger than {LARGEST_ANSWER:,} bytes")
        if len(self._kept) < self._keep:
            self._kept += data[: self._keep - len(self._kept)]
        return data

    def _inflated(self, size: int) -> bytes:
        assert self._gunzip is not None
        while not self._gunzip.eof:
            # What did not fit into the last answer is still waiting inside the decompressor.
            raw = self._gunzip.unconsumed_tail or self._response.read(65536)
            try:
                data = self._gunzip.decompress(raw, size)
            except zlib.error as error:
                raise http.client.HTTPException(f"broken gzip: {error}") from error
            if data:
                return data
            if not raw:
                raise http.client.IncompleteRead(b"")
        return b""

    def finish(self) -> None:
        """Reads to the end, so that the connection can carry the next request."""
        while self._response.read(65536):
            pass

    def start(self) -> str:
        return self._kept.decode(errors="replace")


def _shown(text: str) -> str:
    # Masked before it is cut: a secret cut in two would be known to nobody.
    masked = _DELICATE.sub(lambda match: f"{match[1] or match[2]}***", redact(text))
    more = f" ... ({len(text)} characters)" if len(text) > _SHOWN else ""
    return masked[:_SHOWN] + more


def reference(type_name: str, moid: str, stub: Stub) -> Any:
    """The pyVmomi object for a managed object reference, bound to `stub`; costs no call."""
    return VmomiSupport.GetWsdlType("urn:vim25", type_name)(moid, stub)

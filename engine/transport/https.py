"""One file of an export lease, read once from its first byte to its last over HTTPS: the `https` transport.

The body is a streamOptimized VMDK that the host makes while it sends: its length is not known before, it cannot be
resumed, and it may end early without any HTTP error, so the end is believed only where HTTP itself proves it.

HTTP is http.client's: 1.0 CPU seconds a GiB, where a bare TLS socket that only receives takes 0.95.
"""

import hashlib
import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from engine.cancel import CancelToken
from engine.errors import ConnectionLost, LeaseError, TransportError, VcbError
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.transport.lease_url import Device, Issuer, Lease, connect_tls, file_name, https_url, target_of
from engine.transport.tcp import SocketGuard

BUFFER = 1024 * 1024


class LeaseStream:
    """Iterate it once: each buffer is a view of one reused buffer and is valid until the next.

    Raises ConnectError, TrustError (nothing was sent), LeaseError (the lease has ended), ConnectionLost (dropped or cut
    short; start again with a new lease), TransportError (the host refuses), Cancelled. After the last buffer `sha1`,
    `sha256` and `received` (bytes) are those of the whole stream, to be compared with the lease's manifest.
    """

    def __init__(
        self,
        device: Device,
        *,
        session: Issuer,
        lease: Lease,
        report: Reporter,
        cancel: CancelToken,
        timeout: float = 60.0,
    ) -> None:
        self.received = 0
        self.complete = False
        self._device, self._session, self._lease = device, session, lease
        self._report, self._cancel, self._timeout = report, cancel, timeout
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._guard = SocketGuard()
        self._registration = ExitStack()

    @property
    def sha1(self) -> str:
        """Lower case hex, of the bytes received so far."""
        return self._sha1.hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def __enter__(self) -> "LeaseStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._registration.close()
        self._guard.close()

    def __iter__(self) -> Iterator[memoryview]:
        self._registration.enter_context(self._cancel.on_cancel(self._guard.cut))
        try:
            yield from self._stream()
        except (OSError, http.client.HTTPException, ConnectionLost) as error:
            self._cancel.check()
            self._lease.check()
            raise self._dropped(error) from error
        except VcbError:
            self._cancel.check()
            raise
        finally:
            self.close()

    def _stream(self) -> Iterator[memoryview]:
        response = self._request()
        buffer = memoryview(bytearray(BUFFER))
        while size := response.readinto(buffer):
            view = buffer[:size]
            self._sha1.update(view)
            self._sha256.update(view)
            self.received += size
            yield view
            self._cancel.check()
            self._lease.check()
        if response.length:  # http.client keeps what a Content-Length promised and the connection did not bring
            raise http.client.IncompleteRead(b"", response.length)
        self.complete = True

    def _request(self) -> http.client.HTTPResponse:
        url = https_url(self._device)
        host, port = url.hostname or "", url.port or 443
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection.sock = connect_tls(url, self._device, self._session.trust, self._guard, timeout=self._timeout)
        connection.putrequest("GET", target_of(url))
        if (host, port) == (self._session.host, self._session.port):  # no other host has any business with it
            connection.putheader("Cookie", self._session.cookie.reveal())
        connection.putheader("Connection", "close")
        connection.endheaders()
        response = connection.getresponse()
        if self._report.wants(LogLevel.WIRE):
            headers = "; ".join(f"{name}: {value}" for name, value in response.getheaders() if name != "Set-Cookie")
            self._report.wire(
                f"GET {file_name(url)} from {host}:{port} -> {response.status} {response.reason}; {headers}"
            )
        self._check_answer(response, url)
        return response

    def _check_answer(self, response: http.client.HTTPResponse, url: SplitResult) -> None:
        if response.status == 200 and not response.getheader("Content-Encoding"):
            return
        self._lease.check()
        fault = f"HTTP {response.status} {response.reason}"
        if response.status in {401, 403, 404, 410}:
            raise LeaseError(
                f"{url.hostname} does not know the export lease's {file_name(url)} any more.",
                fault=fault,
                hint="A lease ends when its progress is not reported, or when someone cancels its task in vCenter.",
            )
        raise TransportError(
            f"{url.hostname} does not send {file_name(url)}.", fault=fault, transient=response.status == 503
        )

    def _dropped(self, error: Exception) -> ConnectionLost:
        url = urlsplit(self._device.url)
        if isinstance(error, TimeoutError):
            why = f"sent nothing for {self._timeout:g} seconds"
        else:
            why = f"ended it after {self.received:,} bytes"
        return ConnectionLost(
            f"The transfer of {file_name(url)} is incomplete: {url.hostname} {why}.",
            fault=getattr(error, "fault", "") or type(error).__name__,
            hint="A stream cannot be resumed; the disk is read again from its start with a new lease.",
        )

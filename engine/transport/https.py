"""One file of an export lease, read once from its first byte to its last over HTTPS: the `https` transport.

The body is a streamOptimized VMDK that the host makes while it sends: its length is not known before, it cannot be
resumed, and it may end early without any HTTP error, so the end is believed only where HTTP itself proves it.
"""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from engine.cancel import CancelToken
from engine.errors import ConnectionLost, VcbError
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.transport.lease_url import Device, Digests, Issuer, Lease, begin_request, file_name, https_url, refused
from engine.transport.tcp import SocketGuard

BUFFER = 1024 * 1024


class LeaseStream:
    """Iterate it once: each buffer is a view of one reused buffer and is valid until the next.

    Raises ConnectError, TrustError (nothing was sent), LeaseError (the lease has ended), ConnectionLost (dropped or cut
    short; start again with a new lease), TransportError (the host refuses), Cancelled. After the last buffer
    `digests` and `received` (bytes) are those of the whole stream, to be compared with the lease's manifest.
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
        self.digests = Digests()
        self._guard = SocketGuard()
        self._registration = ExitStack()

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
            self.digests.update(view)
            self.received += size
            yield view
            self._cancel.check()
            self._lease.check()
        if response.length:  # http.client keeps what a Content-Length promised and the connection did not bring
            raise http.client.IncompleteRead(b"", response.length)
        self.complete = True

    def _request(self) -> http.client.HTTPResponse:
        url = https_url(self._device)
        connection = begin_request("GET", self._device, self._session, self._guard, {}, timeout=self._timeout)
        response = connection.getresponse()
        if self._report.wants(LogLevel.WIRE):
            headers = "; ".join(f"{name}: {value}" for name, value in response.getheaders() if name != "Set-Cookie")
            self._report.wire(
                f"GET {file_name(url)} from {url.netloc} -> {response.status} {response.reason}; {headers}"
            )
        self._check_answer(response, url)
        return response

    def _check_answer(self, response: http.client.HTTPResponse, url: SplitResult) -> None:
        if response.status == 200 and not response.getheader("Content-Encoding"):
            return
        self._lease.check()
        raise refused(response, url, "export", f"does not send {file_name(url)}.")

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

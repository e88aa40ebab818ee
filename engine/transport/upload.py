"""One file into an import lease: a disk as a streamOptimized VMDK by POST, anything else by PUT.

The length of an image that is made on the way is not known before, so it goes in HTTP chunks; ESXi takes both. The
answer is what counts: the host has read the whole image, and found no fault in it, when it says 200 or 201.
"""

import http.client
from collections.abc import Callable
from urllib.parse import SplitResult

from engine.cancel import CancelToken
from engine.errors import ConnectionLost
from engine.reporter import Reporter
from engine.transport.lease_url import Device, Digests, Issuer, Lease, begin_request, file_name, https_url, refused
from engine.transport.tcp import SocketGuard

Send = Callable[[bytes | memoryview], None]
DISK = "application/x-vnd.vmware-streamVmdk"
FILE = "application/octet-stream"


class Upload:
    """One request. `sent` (bytes) and `digests` are those of the body, for a look at the lease's manifest."""

    def __init__(
        self,
        device: Device,
        *,
        disk: bool,
        session: Issuer,
        lease: Lease,
        report: Reporter,
        cancel: CancelToken,
        timeout: float = 60.0,
    ) -> None:
        self.sent = 0
        self._device, self._disk, self._session, self._lease = device, disk, session, lease
        self._report, self._cancel, self._timeout = report, cancel, timeout
        self.digests = Digests()
        self._connection: http.client.HTTPConnection | None = None
        self._chunked = False

    def run(self, body: Callable[[Send], object], length: int | None) -> None:
        """Sends what `body` hands to the function it is given, `length` bytes (None: not known), and awaits the answer.

        Raises what `body` raises, ConnectError, TrustError, LeaseError (the lease has ended), ConnectionLost (dropped;
        the file may be sent again from its start), TransportError (the host refuses the data), Cancelled.
        """
        url, guard = https_url(self._device), SocketGuard()
        self._chunked = length is None
        try:
            with self._cancel.on_cancel(guard.cut):
                self._connection = self._open(guard, length)
                try:
                    body(self._send)
                    if self._chunked:
                        self._connection.send(b"0\r\n\r\n")
                except (BrokenPipeError, ConnectionError) as error:
                    self._explain(url, error)
                self._check(self._connection.getresponse(), url)
        except (OSError, http.client.HTTPException, ConnectionLost) as error:
            self._cancel.check()
            self._lease.check()
            raise self._dropped(url, error) from error
        finally:
            guard.close()
        self._report.step(f"{file_name(url)}: {self.sent:,} bytes are there, SHA-256 {self.digests.sha256[:16]}...")

    def _open(self, guard: SocketGuard, length: int | None) -> http.client.HTTPConnection:
        framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        headers = {"Content-Type": DISK if self._disk else FILE, "Overwrite": "t", **framing}
        method = "POST" if self._disk else "PUT"
        return begin_request(method, self._device, self._session, guard, headers, timeout=self._timeout)

    def _send(self, data: bytes | memoryview) -> None:
        assert self._connection is not None
        self._cancel.check()
        self._lease.check()
        if not len(data):
            return
        if self._chunked:
            self._connection.send(b"%x\r\n" % len(data))
        self._connection.send(data)
        if self._chunked:
            self._connection.send(b"\r\n")
        self.digests.update(data)
        self.sent += len(data)

    def _explain(self, url: SplitResult, error: OSError) -> None:
        """A host that finds a fault in the data answers at once and closes: its answer says more than the broken
        connection. Raises whichever there is."""
        assert self._connection is not None
        try:
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            raise error from None
        self._check(response, url)
        raise error

    def _check(self, response: http.client.HTTPResponse, url: SplitResult) -> None:
        said = response.read(500).decode(errors="replace").strip()
        if response.status in (200, 201, 204):
            return
        self._lease.check()
        because = f": {said}" if said and len(said) < 300 and not said.startswith("<") else "."
        raise refused(response, url, "import", f"does not take {file_name(url)}{because}")

    def _dropped(self, url: SplitResult, error: Exception) -> ConnectionLost:
        if isinstance(error, TimeoutError):
            why = f"took nothing for {self._timeout:g} seconds"
        else:
            why = f"ended it after {self.sent:,} bytes"
        return ConnectionLost(
            f"The upload of {file_name(url)} is incomplete: {url.hostname} {why}.",
            fault=getattr(error, "fault", "") or type(error).__name__,
            hint="An upload cannot be resumed; MAX_RETRIES lets it begin again.",
        )

"""One file into an import lease: a disk as a streamOptimized VMDK by POST, anything else by PUT.

The length of an image that is made on the way is not known before, so it goes in HTTP chunks; ESXi takes both. The
answer is what counts: the host has read the whole image, and found no fault in it, when it says 200 or 201.
"""

import hashlib
import http.client
from collections.abc import Callable
from urllib.parse import SplitResult

from engine.cancel import CancelToken
from engine.errors import ConnectionLost, LeaseError, TransportError
from engine.reporter import Reporter
from engine.transport.lease_url import Device, Issuer, Lease, connect_tls, file_name, https_url, target_of
from engine.transport.tcp import SocketGuard

Send = Callable[[bytes | memoryview], None]
DISK = "application/x-vnd.vmware-streamVmdk"
FILE = "application/octet-stream"


class Upload:
    """One request. `sent` (bytes), `sha1` and `sha256` are those of the body, for a look at the lease's manifest."""

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
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._connection: http.client.HTTPConnection | None = None
        self._chunked = False

    @property
    def sha1(self) -> str:
        """Lower case hex, of the bytes sent so far."""
        return self._sha1.hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def run(self, body: Callable[[Send], object], length: int | None) -> None:
        """Sends what `body` hands to the function it is given, `length` bytes (None: not known), and awaits the answer.

        Raises what `body` raises, ConnectError, TrustError, LeaseError (the lease has ended), ConnectionLost (dropped;
        the file may be sent again from its start), TransportError (the host refuses the data), Cancelled.
        """
        url, guard = https_url(self._device), SocketGuard()
        self._chunked = length is None
        try:
            with self._cancel.on_cancel(guard.cut):
                self._connection = self._open(url, guard, length)
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
        self._report.step(f"{file_name(url)}: {self.sent:,} bytes are there, SHA-256 {self.sha256[:16]}...")

    def _open(self, url: SplitResult, guard: SocketGuard, length: int | None) -> http.client.HTTPConnection:
        host, port = url.hostname or "", url.port or 443
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection.sock = connect_tls(url, self._device, self._session.trust, guard, timeout=self._timeout)
        connection.putrequest("POST" if self._disk else "PUT", target_of(url))
        connection.putheader("Content-Type", DISK if self._disk else FILE)
        connection.putheader("Overwrite", "t")
        if length is None:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(length))
        if (host, port) == (self._session.host, self._session.port):  # no other host has any business with it
            connection.putheader("Cookie", self._session.cookie.reveal())
        connection.putheader("Connection", "close")
        connection.endheaders()
        return connection

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
        self._sha1.update(data)
        self._sha256.update(data)
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
        fault = f"HTTP {response.status} {response.reason}"
        if response.status in {401, 403, 404, 410}:
            raise LeaseError(
                f"{url.hostname} does not know the import lease's {file_name(url)} any more.",
                fault=fault,
                hint="A lease ends when its progress is not reported, or when someone cancels its task in vCenter.",
            )
        because = f": {said}" if said and len(said) < 300 and not said.startswith("<") else "."
        raise TransportError(
            f"{url.hostname} does not take {file_name(url)}{because}", fault=fault, transient=response.status == 503
        )

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

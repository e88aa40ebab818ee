"""A frozen disk read over NFC: the `nbd` and `nbdssl` transports."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from engine.cancel import CancelToken
from engine.errors import TransportError
from engine.extents import Extent, merged
from engine.reporter import Reporter
from engine.transport.holes import data_in_holes
from engine.transport.nfc.authd import Ticket
from engine.transport.nfc.budget import HOSTS, Budget
from engine.transport.nfc.connections import Connections, Patience, Wish
from engine.transport.nfc.session import Session
from engine.transport.nfc.wire import BUFFER_DEFAULT, BUFFER_LARGEST, Refusal

ALLOCATION_CHUNK = 65536
"""Bytes a bit of the allocation map stands for: VDDK's least chunk (128 sectors), and the grain of a compact image, so
that nothing is read only because it shares a chunk with data."""

ALLOCATION_PAGE = 262_144
"""Chunks a query: 16 GiB of disk and a 32 KiB map. VDDK allows 524,288."""


def open_nfc(
    ticket_factory: Callable[[], Ticket],
    path: str,
    *,
    encrypted: bool,
    connections: int = 2,
    buffer: int = BUFFER_LARGEST,
    requests: int = 4,
    report: Reporter,
    cancel: CancelToken,
    patience: Patience | None = None,
    budget: Budget = HOSTS,
    writable: bool = False,
) -> "NfcDisk":
    """Opens `path` ("[datastore] dir/name.vmdk", a snapshot's disk too) over `nbdssl` (encrypted) or `nbd`.

    `ticket_factory` gives a fresh ticket at each call, from any thread: the VM's read ticket, or with `writable` the
    disk's own. Up to `connections` carry the disk, each with `requests` requests in flight and as many server buffers
    of `buffer` bytes. Raises what the factory raises, ConnectError, TrustError, ConnectionLost, TransportError
    (refused; the fault names the code), Cancelled.
    """
    wish = Wish(connections, min(max(buffer, BUFFER_DEFAULT), BUFFER_LARGEST), requests)
    connections_of_disk = Connections(
        ticket_factory,
        path,
        encrypted=encrypted,
        writable=writable,
        wish=wish,
        patience=patience or Patience(),
        report=report,
        cancel=cancel,
        budget=budget,
    )
    return NfcDisk(connections_of_disk, path, "nbdssl" if encrypted else "nbd", report)


class NfcDisk:
    """A `DiskSource`, and when it was opened so, something to write to; made by `open_nfc`."""

    def __init__(self, connections: Connections, path: str, transport: str, report: Reporter) -> None:
        self._connections, self._path, self._transport, self._report = connections, path, transport, report
        self._allocated: Sequence[Extent] | None = None
        self._allocated_lock = threading.Lock()

    @property
    def capacity(self) -> int:
        return self._connections.capacity

    @property
    def transport(self) -> str:
        return self._transport

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def allocated(self) -> Sequence[Extent]:
        """Asked once. The whole disk, with a warning, when the host refuses to tell (it may, beside VMFS), or when a
        sample of what it calls empty holds data."""
        with self._allocated_lock:
            if self._allocated is None:
                self._allocated = self._query_allocated()
            return self._allocated

    def read_into(self, offset: int, buffer: memoryview) -> None:
        view = self._inside("read", offset, buffer)
        self._connections.use(lambda session: session.read(offset, view))

    def write(self, offset: int, buffer: memoryview) -> None:
        """The host has taken all of it when this returns; a piece whose connection dropped is written again. Raises
        TransportError when the disk was not opened to be written, or the host can't."""
        view = self._inside("write", offset, buffer)
        self._connections.use(lambda session: session.write(offset, view))

    def _inside(self, act: str, offset: int, buffer: memoryview) -> memoryview:
        view = memoryview(buffer).cast("B")
        if offset < 0 or offset + len(view) > self.capacity:
            raise TransportError(
                f"A {act} of {len(view)} bytes at {offset} lies outside the disk of {self.capacity} bytes."
            )
        return view

    def close(self) -> None:
        """Ends all connections; reads under way in other threads fail. Safe twice."""
        self._connections.close()

    def _query_allocated(self) -> Sequence[Extent]:
        """The tail that is no whole chunk cannot be asked for (lengths must be multiples), so it counts as data."""
        found: list[Extent] = []
        chunks = self.capacity // ALLOCATION_CHUNK
        try:
            for first in range(0, chunks, ALLOCATION_PAGE):
                start, count = first * ALLOCATION_CHUNK, min(ALLOCATION_PAGE, chunks - first)
                found += self._connections.use(
                    partial(Session.allocated, start=start, chunk=ALLOCATION_CHUNK, count=count)
                )
        except Refusal as error:
            self._report.warning(
                f"The host does not tell which blocks of {self._path} hold data; the whole disk is read.",
                fault=error.fault,
            )
            return [Extent(0, self.capacity)]
        tail = chunks * ALLOCATION_CHUNK
        extents = merged([*found, Extent(tail, self.capacity - tail)])
        lie = data_in_holes(self, extents)
        if lie is None:
            return extents
        self._report.warning(
            f"The host calls a block of {self._path} empty that holds data (at byte {lie:,}); the whole disk is read.",
            hint="Report this host's version: its map of allocated blocks can't be believed.",
        )
        return [Extent(0, self.capacity)]

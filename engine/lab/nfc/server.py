"""The NFC port: stands for TCP 902 of every ESXi host of the lab, on 127.0.0.1, a thread or two per connection.

One port means one certificate: all hosts of a lab share the first host's, and tickets carry its SHA-1 thumbprint.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from typing import Any

from engine.lab.certificates import Certificate
from engine.lab.nfc.authd import Admission, Door, Refused, admit
from engine.lab.nfc.channel import Closed
from engine.lab.nfc.disk_session import DiskSession, Grounds
from engine.lab.nfc.faultpoints import FaultPoints
from engine.lab.nfc.limits import Budget, Limits
from engine.lab.nfc.messages import Malformed, Refusal
from engine.lab.nfc.statistics import ConnectionStatistics, Statistics
from engine.lab.nfc.tickets import Ticket, TicketOffice
from engine.lab.nfc.volume import open_volume

VCENTER = "vcenter"  # owner of the places for connections; the budget of buffers is per host


class NfcServer:
    """`limits` and `statistics` are for tests; `tickets` is what the managed object issues from."""

    host = "127.0.0.1"

    def __init__(self, vsphere: Any, certificate: Certificate, port: int = 0, limits: Limits | None = None) -> None:
        self._vsphere = vsphere
        self.certificate = certificate
        self.limits = limits or Limits()
        self.tickets = TicketOffice(self.limits)
        self.statistics = Statistics()
        self._places, self._buffers = Budget(), Budget()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sockets: dict[int, socket.socket] = {}
        self._threads: set[threading.Thread] = set()
        self._listener = socket.create_server((self.host, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="nfc-accept", daemon=True)

    def start(self) -> NfcServer:
        self._acceptor.start()
        return self

    def close(self) -> None:
        """Cut all connections and wait for their threads."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._acceptor.is_alive():
            self._acceptor.join()
        with self._lock:
            for sock in self._sockets.values():
                _cut(sock)
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        for number in itertools.count(1):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._connection, args=(sock, number), name=f"nfc-{number}", daemon=True)
            with self._lock:
                self._sockets[number] = sock
                self._threads.add(thread)
            thread.start()

    def _connection(self, sock: socket.socket, number: int) -> None:
        record, error = self.statistics.begin(), ""
        try:
            sock.settimeout(self.limits.idle)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(sock, record)
        except (Refused, Refusal, Malformed, Closed, ssl.SSLError, OSError) as trouble:
            error = f"{type(trouble).__name__}: {trouble}"
        finally:
            with self._lock:
                del self._sockets[number]
                self._threads.discard(threading.current_thread())
            _cut(sock)
            sock.close()
            self.statistics.end(record, error)

    def _serve(self, sock: socket.socket, record: ConnectionStatistics) -> None:
        faults = FaultPoints(self._vsphere.faults, self._closing)
        entered: list[Ticket] = []

        def enter(ticket: Ticket) -> bool:
            if not self._places.take(VCENTER, 1, self.limits.connections):
                return False
            entered.append(ticket)
            return True

        try:
            certificate = self._certificate(faults)
            admission = admit(sock, Door(certificate, lambda s: self._claim(s, faults), enter, self.limits.refuse_at))
            record.vm, record.transport = admission.ticket.vm, "nbdssl" if admission.encrypted else "nbd"
            self._session(admission, sock, record)
        finally:
            if entered:
                self._places.give_back(VCENTER, 1)

    def _certificate(self, faults: FaultPoints) -> Certificate:
        if faults.strike("nfc.certificate") is not None:
            return self._vsphere.authority.issue("another-host.lab")
        return self.certificate

    def _claim(self, session_id: str, faults: FaultPoints) -> Ticket | None:
        ticket = self.tickets.claim(session_id)
        if ticket is None:
            return None
        try:
            FaultPoints(faults.faults, self._closing, self._objects(ticket)).pass_or_cut("nfc.session")
        except Refusal:
            return None
        return ticket

    def _session(self, admission: Admission, sock: socket.socket, record: ConnectionStatistics) -> None:
        ticket = admission.ticket
        grounds = Grounds(
            host=ticket.host,
            open_volume=lambda path, writable: open_volume(self._vsphere, ticket, path, writable=writable),
            cut=lambda: _cut(sock),
            limits=self.limits,
            buffers=self._buffers,
            faults=FaultPoints(self._vsphere.faults, self._closing, self._objects(ticket)),
            record=record,
        )
        DiskSession(admission.stream, grounds).serve()

    def _objects(self, ticket: Ticket) -> tuple[str, ...]:
        vm = self._vsphere.objects.get(ticket.vm)
        return (ticket.vm, vm.props["name"]) if vm is not None else (ticket.vm,)


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)

"""From a TCP connection to port 902 to a stream that speaks NFC: the dialogue with VMware's authentication daemon.

The ticket's session id is as good as a password for the VM's disks, so it is sent only to the host whose
certificate matches the thumbprint that came with the ticket. The daemon's own TLS session ends without a shutdown,
in the middle of the TCP stream: TLS runs over memory buffers here and is fed record by record, so that not one byte
after the last record is taken from the socket.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from engine.errors import TransportError, TrustError, VcbError
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.secret import Secret
from engine.transport.nfc.stream import PlainStream, Stream, TlsStream, lost
from engine.transport.nfc.wire import malformed
from engine.transport.tcp import SocketGuard, connect_tcp
from engine.vsphere.trust import Trust

_UNREACHABLE = "The proxy needs TCP 902 open to every ESXi host; check the firewall and the name resolution."
_LINE_LIMIT = 4096
_RECORD_LIMIT = 16384 + 2048
"""RFC 5246 6.2.3: a TLS 1.2 record may exceed 2^14 bytes by 2048; TLS 1.3 allows less."""


class Ticket(Protocol):
    """The shape of `engine.vsphere.tickets.NfcTicket`."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def thumbprint(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def session_id(self) -> Secret: ...


def connect(ticket: Ticket, *, encrypted: bool, timeout: float, guard: SocketGuard, report: Reporter) -> Stream:
    """Spends the ticket; the stream stands where the classic NFC handshake begins.

    Raises ConnectError (cannot be reached), TrustError (another certificate than the ticket's: nothing was sent),
    ConnectionLost, TransportError (the daemon refused; its line is the fault).
    """
    sock = connect_tcp(ticket.host, ticket.port, timeout=timeout, guard=guard, hint=_UNREACHABLE)
    try:
        _login(sock, ticket, encrypted, report)
        if encrypted:
            return TlsStream(_second_handshake(sock, ticket, guard), ticket.host, timeout)
        return PlainStream(sock, ticket.host, timeout)
    except (VcbError, OSError, ValueError) as error:
        guard.close()
        if isinstance(error, VcbError):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise lost(ticket.host, why or type(error).__name__, type(error).__name__) from error


def _login(sock: socket.socket, ticket: Ticket, encrypted: bool, report: Reporter) -> None:
    _check_banner(_plain_line(sock, ticket.host), ticket.host, encrypted)
    session = _RecordTls(sock, ticket.host, _pinned(ticket))
    with _vouched(ticket):
        session.handshake()
    service = ticket.service + ("ssl" if encrypted else "")
    session.send_line(f"SESSION {ticket.session_id.reveal()}")  # has no reply of its own
    session.send_line("BANNER ")
    _expect(session.read_line(), "220", ticket.host)
    session.send_line("THUMBPRINT_SHA2 PlainText")
    _expect(session.read_line(), "200", ticket.host)
    session.send_line(f"PROXY {service}")
    answer = _expect(session.read_line(), "200", ticket.host)
    if report.wants(LogLevel.WIRE):
        report.wire(f"authd {ticket.host}:{ticket.port}: SESSION ***, PROXY {service} -> {answer}")
    session.end()


def _second_handshake(sock: socket.socket, ticket: Ticket, guard: SocketGuard) -> ssl.SSLSocket:
    """nbdssl: a new TLS session on the same TCP connection, with the same host."""
    wrapped = _pinned(ticket).wrap_socket(sock, do_handshake_on_connect=False)
    guard.attach(wrapped)
    with _vouched(ticket):
        wrapped.do_handshake()
    return wrapped


def _pinned(ticket: Ticket) -> ssl.SSLContext:
    """A context whose handshake fails unless the host's certificate has the ticket's thumbprint."""
    if not ticket.thumbprint:
        raise TrustError(
            f"The NFC ticket for {ticket.host} names no certificate, so the host cannot be recognised.",
            hint="Use the https transport, whose certificate is checked by CA_FILE or THUMBPRINT.",
        )
    return Trust(None, None).pinned_context(ticket.thumbprint)


@contextmanager
def _vouched(ticket: Ticket) -> Iterator[None]:
    try:
        yield
    except TrustError as error:
        raise TrustError(
            f"The ESXi host {ticket.host} shows another certificate than the one that vCenter vouches for; nothing was "
            "sent to it.",
            fault=error.sentence,
            hint="Was the host's certificate renewed? Reconnect the host in vCenter. If not, something is in between.",
        ) from error


def _plain_line(sock: socket.socket, host: str) -> str:
    """One line, and no byte beyond it."""
    line = b""
    while not line.endswith(b"\n"):
        seen = sock.recv(512, socket.MSG_PEEK)
        if not seen:
            raise lost(host, "the host closed it before its greeting")
        line += sock.recv(seen.find(b"\n") + 1 or len(seen))
        if len(line) > _LINE_LIMIT:
            raise malformed("a greeting without end")
    return line.decode("ascii", "replace").strip()


def _check_banner(banner: str, host: str, encrypted: bool) -> None:
    _expect(banner, "220", host)
    if "SSL Required" not in banner:
        raise TransportError(
            f"The authentication daemon of {host} offers no TLS, so the ticket is not sent to it.", fault=banner
        )
    if encrypted and "NFCSSL supported" not in banner:
        raise TransportError(
            f"The host {host} does not offer nbdssl.", fault=banner, hint="Choose nbd or https as TRANSPORT_MODE."
        )


def _expect(line: str, code: str, host: str) -> str:
    if line.startswith(code):
        return line
    if line.startswith("530"):
        raise TransportError(
            f"The host {host} refused the NFC ticket: it is spent, expired or unknown.",
            fault=line,
            hint="Are the clocks of vCenter and the host right, and may the account read VM files "
            "(VirtualMachine.Provisioning.GetVmFiles)?",
        )
    raise TransportError(
        f"The authentication daemon of {host} refused the NFC connection.",
        fault=line,
        hint="A 4xx code passes; too many open NFC connections to one host are refused too.",
        transient=line.startswith("4"),
    )


class _RecordTls:
    """TLS over memory buffers, fed with whole records read exactly from the socket."""

    def __init__(self, sock: socket.socket, host: str, context: ssl.SSLContext) -> None:
        self._socket, self._host = sock, host
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._text = b""

    def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            else:
                self._flush()
                return

    def send_line(self, text: str) -> None:
        self._tls.write(text.encode("ascii") + b"\r\n")
        self._flush()

    def read_line(self) -> str:
        while b"\n" not in self._text:
            if len(self._text) > _LINE_LIMIT:
                raise malformed("a line without end")
            try:
                received = self._tls.read(_LINE_LIMIT)
            except ssl.SSLWantReadError:
                self._feed()
                continue
            except ssl.SSLZeroReturnError:
                received = b""
            if not received:
                raise lost(self._host, "the authentication daemon ended it")
            self._text += received
        line, _, self._text = self._text.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def end(self) -> None:
        """The session is abandoned, not shut down. Everything it received must have been used."""
        if self._text or self._tls.pending() or self._incoming.pending:
            raise malformed("more text after the daemon's last answer")

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.sendall(self._outgoing.read())

    def _feed(self) -> None:
        head = self._exactly(5)
        size = int.from_bytes(head[3:5], "big")
        if not 20 <= head[0] <= 24 or size > _RECORD_LIMIT:  # RFC 8446 5.1: the content types
            raise malformed("text where TLS was expected")
        self._incoming.write(head + self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            received = self._socket.recv(size - len(data))
            if not received:
                raise lost(self._host, "the host closed it during the login to NFC")
            data += received
        return data

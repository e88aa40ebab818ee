"""The VMware Authentication Daemon's dialogue on TCP 902, up to `200 Connect`.

One banner line in the clear, then TLS with the host's certificate, then four commands in this order and no other,
each ended by CR LF: `SESSION <ticket>` (never answered by itself), `BANNER ` with its trailing blank,
`THUMBPRINT_SHA2 PlainText`, `PROXY <service>`.

After `200 Connect ha-nfc` both sides leave TLS without a shutdown and go on in the clear on the same TCP connection.
After `200 Connect ha-nfcssl` the client starts a new TLS handshake **in place of** the first session: its ClientHello
is plain on the TCP stream, not wrapped in records of the first session. The first session is just abandoned.

Readings where the facts leave it open:
- a session that is unknown, spent or expired is refused with 530 at PROXY, the command that uses it (`refuse_at` in
  `Limits` moves it to BANNER). A ticket is spent when SESSION presents it, whatever comes of that connection;
- a command out of order, or unknown, is answered 530 before SESSION and 503 after it, a wrong argument 501; each ends
  the connection;
- a connection over the limit is answered 503 at PROXY;
- bytes that arrive before `200 Connect` was sent end the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from engine.lab.certificates import Certificate
from engine.lab.nfc.channel import ClearStream, Closed, Stream, TlsStream
from engine.lab.nfc.tickets import Ticket

BANNER = (
    "220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, "
    "MKSDisplayProtocol:VNC , VMXARGS supported, NFCSSL supported/t, SHA256 supported"
)
LINE_LIMIT = 1024


class Refused(Exception):
    """The daemon ends the dialogue; the text is the reply line that says so, or empty for none."""


@dataclass(frozen=True)
class Door:
    """What the dialogue needs from the server: who may come in. `claim` spends a ticket (None: refuse it), `enter`
    takes a place among the connections (False: none free)."""

    certificate: Certificate
    claim: Callable[[str], Ticket | None]
    enter: Callable[[Ticket], bool]
    refuse_at: str


@dataclass(frozen=True)
class Admission:
    ticket: Ticket
    stream: Stream
    encrypted: bool


def admit(sock: socket.socket, door: Door) -> Admission:
    """Hold the whole dialogue. Raises Refused, Closed, ssl.SSLError or OSError."""
    sock.sendall(BANNER.encode() + b"\r\n")
    context = door.certificate.server_context()
    context.num_tickets = 0  # a resumption ticket would reach the client after it has left TLS
    dialogue = _Dialogue(TlsStream(sock, context), door)
    try:
        ticket, encrypted = dialogue.hold()
    except Refused as refusal:
        if refusal.args[0]:
            dialogue.say(refusal.args[0])
        raise
    if dialogue.leftover:
        raise Closed("the client went on before 200 Connect")
    dialogue.say("200 Connect ha-nfcssl" if encrypted else "200 Connect ha-nfc")
    return Admission(ticket, TlsStream(sock, context) if encrypted else ClearStream(sock), encrypted)


class _Dialogue:
    def __init__(self, stream: TlsStream, door: Door) -> None:
        self._stream = stream
        self._door = door
        self._pending = b""

    @property
    def leftover(self) -> bool:
        return bool(self._pending or self._stream.leftover)

    def say(self, line: str) -> None:
        self._stream.send(line.encode() + b"\r\n")

    def hold(self) -> tuple[Ticket, bool]:
        session = self._command("SESSION", refusal="530 Please login with USER and PASS.")
        ticket = self._door.claim(session)
        if self._command("BANNER"):
            raise Refused("501 Invalid arguments")
        if ticket is None and self._door.refuse_at == "BANNER":
            raise Refused("530 Login incorrect.")
        self.say(BANNER)
        if self._command("THUMBPRINT_SHA2") != "PlainText":
            raise Refused("501 Invalid arguments")
        self.say(f"200 {self._door.certificate.sha256}")
        service = self._command("PROXY")
        if ticket is None:
            raise Refused("530 Login incorrect.")
        if service not in (ticket.service, ticket.service + "ssl"):
            raise Refused("501 Invalid arguments")
        if not self._door.enter(ticket):
            raise Refused("503 Service unavailable: too many NFC connections")
        return ticket, service == ticket.service + "ssl"

    def _command(self, verb: str, refusal: str = "503 Bad sequence of commands") -> str:
        """The argument of the command that is due. The blank after the verb is part of the token, as in `BANNER `."""
        while b"\r\n" not in self._pending:
            if len(self._pending) > LINE_LIMIT:
                raise Refused("")
            self._pending += self._stream.receive(4096)
        line, _, self._pending = self._pending.partition(b"\r\n")
        said, blank, argument = line.decode("latin-1").partition(" ")
        if said != verb or not blank:
            raise Refused(refusal)
        return argument

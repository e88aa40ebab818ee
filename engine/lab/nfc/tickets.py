"""NFC tickets: what a session id given out over SOAP allows on the NFC port, once."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.lab.nfc.limits import Limits


@dataclass(frozen=True)
class Ticket:
    """`vm` and `host` are morefs. `disk` is a disk's id in the VM's store; None: any disk file of it."""

    session_id: str = field(repr=False)
    vm: str
    disk: str | None
    writable: bool
    service: str
    host: str
    expires: float


class TicketOffice:
    """Issues tickets and lets each be claimed once, before it expires."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Ticket] = {}

    def issue(self, *, vm: str, disk: str | None, writable: bool, service: str, host: str) -> Ticket:
        ticket = Ticket(_session_id(), vm, disk, writable, service, host, self._clock() + self._limits.ticket_lifetime)
        with self._lock:
            self._open = {key: held for key, held in self._open.items() if held.expires > self._clock()}
            self._open[ticket.session_id] = ticket
        return ticket

    def claim(self, session_id: str) -> Ticket | None:
        """The ticket, which is spent from now on; None when it is unknown, spent or expired."""
        with self._lock:
            ticket = self._open.pop(session_id, None)
        return ticket if ticket and ticket.expires > self._clock() else None


def _session_id() -> str:
    """As ESXi writes it: five groups of hexadecimal digits, the first byte 0x52."""
    digits = "52" + secrets.token_hex(15)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

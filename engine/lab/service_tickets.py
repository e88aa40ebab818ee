"""Generic service tickets: one HTTP request to one URL, without a session (cookie `vmware_cgi_ticket`)."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pyVmomi import vim, vmodl

LIFETIME = 120.0  # seconds between acquiring and using it
COOKIE = "vmware_cgi_ticket"


@dataclass(frozen=True)
class Ticket:
    user: str
    method: str
    target: tuple[str, tuple[tuple[str, str], ...]]
    expires: float


class ServiceTickets:
    """The tickets of one lab that were given out and not used yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[str, Ticket] = {}

    def acquire(self, ctx: Any, spec: Any) -> Any:
        """SessionManager.AcquireGenericServiceTicket; InvalidArgument for anything but an HTTP request."""
        if not isinstance(spec, vim.SessionManager.HttpServiceRequestSpec) or not spec.url:
            raise vmodl.fault.InvalidArgument(invalidProperty="spec")
        identity = secrets.token_hex(20)
        method = (spec.method or "httpGet").removeprefix("http").upper()
        ticket = Ticket(ctx.session.user, method, _target(spec.url), time.monotonic() + LIFETIME)
        with self._lock:
            self._tickets[identity] = ticket
        return vim.SessionManager.GenericServiceTicket(id=identity, sslThumbprint=ctx.lab.thumbprint)

    def redeem(self, identity: str, method: str, url: str) -> str | None:
        """The user that a ticket stands for, if it was given for this method and URL. A presented ticket is spent."""
        with self._lock:
            ticket = self._tickets.pop(identity, None)
        if ticket is None or (ticket.method, ticket.target) != (method, _target(url)):
            return None
        return ticket.user if time.monotonic() < ticket.expires else None


def _target(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Path and query; the host is left out, a client may know it by several names."""
    parts = urlsplit(url)
    return unquote(parts.path), tuple(sorted(parse_qsl(parts.query, keep_blank_values=True)))

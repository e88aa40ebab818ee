"""LoginBySSPI of a lab that is joined to a domain: pyspnego accepts the tokens, strictly.

The domain's accounts stand in a credential store, one `DOMAIN:USER:PASSWORD` a line (or `:user@REALM:PASSWORD`), which
pyspnego reads by the environment variable NTLM_USER_FILE: one process has one domain. Where the process has a keytab
(KRB5_KTNAME) and pyspnego knows Kerberos, tickets are accepted, too.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVmomi import vim, vmodl

STORE = "NTLM_USER_FILE"
UNFINISHED = 60.0  # seconds that a half-done exchange is remembered
REFUSED = "Cannot complete login due to an incorrect user name or password."


@dataclass
class _HalfDone:
    context: Any
    began: float


class Domain:
    """The domain that one server is joined to, and the logins that are under way."""

    def __init__(self, lab: Any, store: Path) -> None:
        """Each account of the store becomes an administrator of the lab. Raises OSError, UnicodeDecodeError."""
        self.lab = lab
        self._half_done: dict[str, _HalfDone] = {}
        for account, password in _accounts(store):
            lab.grant(account, password, "Admin")

    def step(self, ctx: Any, token: str) -> str:
        """The user that a token proves. Raises SSPIChallenge when there is more to say (its answer sets a cookie that
        the next token must come with), InvalidLogin for anything else."""
        exchange = self._resumed(ctx.cookie)
        try:
            answer = exchange.context.step(base64.b64decode(token, validate=True))
        except (binascii.Error, *_failures()) as error:
            raise self._refused("", str(error)) from error
        if not exchange.context.complete:
            raise self._challenge(ctx, exchange, answer or b"")
        principal = exchange.context.client_principal or ""
        user = next((name for name in self.lab.access.users if name.casefold() == principal.casefold()), None)
        if user is None:
            raise self._refused(principal, "no such account")
        return user

    def _resumed(self, cookie: str) -> _HalfDone:
        """The exchange of a cookie, for one token; a new one when there is none."""
        import spnego  # noqa: PLC0415 - an extra, and slow to import

        oldest = time.monotonic() - UNFINISHED
        with self.lab.cond:
            self._half_done = {key: one for key, one in self._half_done.items() if one.began > oldest}
            known = self._half_done.pop(cookie, None)
        return known or _HalfDone(spnego.server(protocol="negotiate"), time.monotonic())

    def _challenge(self, ctx: Any, exchange: _HalfDone, answer: bytes) -> vmodl.MethodFault:
        cookie = secrets.token_hex(20)
        with self.lab.cond:
            self._half_done[cookie] = exchange
        ctx.offer(cookie)
        return vim.fault.SSPIChallenge(base64Token=base64.b64encode(answer).decode(), msg="Negotiation continues.")

    def _refused(self, principal: str, why: str) -> vmodl.MethodFault:
        self.lab.sessions.refused[principal] += 1
        return vim.fault.InvalidLogin(msg=f"{REFUSED} ({why})" if why else REFUSED)


def _accounts(store: Path) -> Iterator[tuple[str, str]]:
    for line in store.read_text("utf-8").splitlines():
        domain, _, rest = line.partition(":")
        user, colon, password = rest.partition(":")
        if colon:
            yield (f"{domain}\\{user}" if domain else user), password


def _failures() -> tuple[type[Exception], ...]:
    from spnego.exceptions import SpnegoError  # noqa: PLC0415 - an extra

    return (SpnegoError, ValueError, OSError, LookupError)

"""Integrated logon: a Kerberos ticket of this machine instead of a password, by SessionManager.LoginBySSPI.

The server answers a token that is not the last one with the fault SSPIChallenge, which carries its own; tokens go to
and fro until it opens a session (vSphere Web Services API, SessionManager.loginBySSPI; the target is host/HOST). The
tokens are pyspnego's: SPNEGO with Kerberos, or with NTLM where the operator gave credentials for it (NTLM_USER_FILE).
"""

import base64
import binascii
from typing import Any

from pyVmomi import vim, vmodl

from engine.config.integrated_logon import LIBRARY_HINT, lacking
from engine.config.options import SSPI
from engine.errors import LoginError
from engine.reporter import Reporter
from engine.secret import Secret, redact
from engine.vsphere import faults

LEGS = 8
"""Tokens sent at most. Kerberos needs one or two, NTLM two, one more where the mechanism is negotiated first."""

_ACCOUNT_HINT = "Set USERNAME and PASSWORD_FILE to an account of vCenter's own instead."
_TICKET_HINT = (
    "As the user that runs vcb, get a ticket (kinit, or k5start from a keytab) and look at it with klist. HOST must be "
    "vCenter's full DNS name, as it is known to the domain."
)

_REFUSED_HINT = (
    "It was tried once and will not be tried again. See with klist whose ticket it is, and whether that account has "
    "the backup role in vCenter."
)


class IntegratedLogin:
    """Logs in as whoever this process is to the domain. Raises LoginError when the library for it is missing."""

    user = SSPI

    def __init__(self, host: str) -> None:
        self.host = host
        if missing := lacking():
            raise LoginError(f"{host}: integrated logon is not possible: {missing}.", hint=LIBRARY_HINT)

    def __call__(self, session_manager: Any, report: Reporter) -> Any:
        """Raises LoginError when there is no ticket, when the exchange does not end, or when the server refuses (its
        fault is the cause then)."""
        exchange = _Exchange(self.host)
        challenge: bytes | None = None
        for leg in range(1, LEGS + 1):
            token = exchange.answer_to(challenge)
            report.api(f"Integrated logon to {self.host}: token {leg} ({len(token)} bytes)")
            try:
                user = session_manager.LoginBySSPI(Secret(base64.b64encode(token).decode()).reveal(), None)
            except vim.fault.SSPIChallenge as fault:
                challenge = _decoded(fault, self.host)
                continue
            except (vim.fault.InvalidLogin, vmodl.fault.NotSupported) as fault:
                raise self._refused(fault, exchange.mechanism) from fault
            report.step(f"Integrated logon by {exchange.mechanism}")
            return user
        raise LoginError(f"{self.host}: integrated logon did not end within {LEGS} exchanges.", hint=_ACCOUNT_HINT)

    def _refused(self, fault: Any, mechanism: str) -> LoginError:
        said = f" The server says: {redact(fault.msg)}" if fault.msg else ""
        if isinstance(fault, vmodl.fault.NotSupported):
            why, hint = "the server does not support it; it is not joined to a domain", _ACCOUNT_HINT
        else:
            why, hint = f"the server refused what {mechanism} proved", _REFUSED_HINT
        return LoginError(
            f"{self.host}: integrated logon failed: {why}.{said}", fault=faults.fault_name(fault), hint=hint
        )


class _Exchange:
    """One security context of pyspnego, with its exceptions in an operator's words."""

    def __init__(self, host: str) -> None:
        import spnego  # noqa: PLC0415 - an extra, and slow to import
        from spnego.exceptions import SpnegoError  # noqa: PLC0415

        self._host = host
        self._failures = (SpnegoError, ImportError, ValueError, OSError)
        try:
            self._context = spnego.client(hostname=host, service="host", protocol="negotiate")
        except self._failures as error:
            raise self._failed(error) from error

    @property
    def mechanism(self) -> str:
        return self._context.negotiated_protocol or "an unknown mechanism"

    def answer_to(self, challenge: bytes | None) -> bytes:
        """The next token. Raises LoginError when there is none to give."""
        try:
            token = self._context.step(challenge)
        except self._failures as error:
            raise self._failed(error) from error
        if not token:
            raise LoginError(
                f"{self._host}: integrated logon failed: the server asks for more than {self.mechanism} has to say.",
                hint=_ACCOUNT_HINT,
            )
        return token

    def _failed(self, error: Exception) -> LoginError:
        why = " ".join(str(error).split()) or "no reason given"
        return LoginError(
            f"{self._host}: integrated logon failed on this machine: {why.rstrip('.')}.",
            fault=type(error).__name__,
            hint=_TICKET_HINT,
        )


def _decoded(fault: Any, host: str) -> bytes:
    try:
        return base64.b64decode(fault.base64Token, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise LoginError(
            f"{host}: integrated logon failed: the server's challenge cannot be read.", fault="SSPIChallenge"
        ) from error

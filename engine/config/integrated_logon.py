"""USERNAME `__sspi__`: whether this machine can log on without a password, and what it lacks if not."""

import os
from collections.abc import Mapping
from importlib.util import find_spec

from engine.config.options import SSPI

LIBRARY_HINT = (
    "Install vcb-console with its extra: pip install 'vcb-console[sspi]' (on Debian after apt install gcc "
    "libkrb5-dev), and make sure that the account of the backup has a Kerberos ticket (klist)."
)
NTLM_STORE = "NTLM_USER_FILE"
"""Environment variable of pyspnego and gss-ntlmssp: the file of the credentials for NTLM."""


def is_integrated(username: str) -> bool:
    """Whether a USERNAME asks for integrated logon. Never the name of an account, in whatever case it is written."""
    return username.strip().lower() == SSPI


def lacking(environ: Mapping[str, str] = os.environ) -> str:
    """What integrated logon lacks on this machine, as the rest of a sentence; "" when it can be tried.

    Looks for libraries only: whether there is a ticket shows when it is used.
    """
    if find_spec("spnego") is None:
        return "the library pyspnego is not installed"
    if os.name == "posix" and find_spec("gssapi") is None and not environ.get(NTLM_STORE):
        return "the library gssapi is not installed, without which pyspnego knows no Kerberos"
    return ""

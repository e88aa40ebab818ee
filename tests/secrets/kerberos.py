"""A Kerberos realm of one test: MIT's KDC on the loopback, a keytab for host/localhost, and a ticket."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import require_tool

REALM = "LAB.TEST"


@dataclass(frozen=True)
class Kerberos:
    keytab: Path
    client_environment: dict[str, str]


@contextmanager
def kerberos_here(directory: Path, user: str, password: str) -> Iterator[Kerberos]:
    """A running realm in which `user` has a ticket."""
    kdb5_util, kadmin, krb5kdc, kinit = (
        require_tool(name) for name in ("kdb5_util", "kadmin.local", "krb5kdc", "kinit")
    )
    directory.mkdir()
    port = _free_port()
    environ = {"KRB5_CONFIG": str(directory / "krb5.conf"), "KRB5CCNAME": f"FILE:{directory / 'tickets'}"}
    server = os.environ | environ | {"KRB5_KDC_PROFILE": str(directory / "kdc.conf")}
    (directory / "krb5.conf").write_text(
        f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
        f"dns_canonicalize_hostname = false\nrdns = false\n[realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n"
    )
    (directory / "kdc.conf").write_text(
        f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n{REALM} = {{\n"
        f"database_name = {directory / 'principal'}\nkey_stash_file = {directory / 'stash'}\n}}\n"
    )
    _run([kdb5_util, "create", "-s", "-P", "master", "-r", REALM], server)
    for query in (
        f"addprinc -pw {password} {user}",
        "addprinc -randkey host/localhost",
        f"ktadd -k {directory / 'keytab'} host/localhost",
    ):
        _run([kadmin, "-r", REALM, "-q", query], server)
    kdc = subprocess.Popen(
        [krb5kdc, "-n", "-r", REALM], env=server, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        _await_port(port)
        _run([kinit, user], os.environ | environ, password + "\n")
        yield Kerberos(directory / "keytab", environ)
    finally:
        kdc.terminate()
        kdc.wait(30)


def _run(command: list[str], environ: dict[str, str], text: str = "") -> None:
    done = subprocess.run(command, env=environ, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _await_port(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the KDC does not listen")

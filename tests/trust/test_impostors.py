"""Whoever is not the server that was approved gets a handshake, and not one byte of a login or ticket."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.errors import ConnectError, TransportError, TrustError
from engine.reporter import Reporter, Volume
from engine.secret import Secret
from engine.transport.lease_url import connect_tls
from engine.transport.nfc import authd
from engine.transport.tcp import SocketGuard
from engine.vsphere.lease import DeviceUrl
from engine.vsphere.session import connect
from engine.vsphere.tickets import NfcTicket
from engine.vsphere.trust import Trust, address
from tests.trust.conftest import MakeImpostor
from tests.vsphere.conftest import Issued, issue

NAMES = ("127.0.0.1", "localhost")
BANNER = (
    b"220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, MKSDisplayProtocol:VNC"
)
SECURE = BANNER + b" , VMXARGS supported, NFCSSL supported/t\r\n"
REPORT = Reporter(lambda event: None, Volume(6))


def genuine() -> Issued:
    return issue("vcenter", hosts=NAMES)


def trusts(server: Issued, port: int, tmp_path: Path) -> dict[str, Trust]:
    """Every way in which the genuine server may have been approved."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text(server.pem)
    return {
        "CA_FILE": Trust.from_settings(bundle, None),
        "THUMBPRINT": Trust.from_settings(None, server.sha256),
        "approved": Trust.from_settings(None, None, {address("127.0.0.1", port): server.sha256}),
    }


@pytest.mark.parametrize("way", ["CA_FILE", "THUMBPRINT", "approved"])
def test_soap_another_certificate_of_the_same_name(impostor: MakeImpostor, tmp_path: Path, way: str) -> None:
    fake = impostor(issue("vcenter", hosts=NAMES))
    trust = trusts(genuine(), fake.port, tmp_path)[way]
    with pytest.raises(TrustError) as refused:
        connect("127.0.0.1", fake.port, "backup", Secret("pass-word-of-vcenter"), trust, REPORT)
    fake.close()
    assert fake.visits
    assert fake.received == fake.plain == b""
    if way == "approved":
        assert f"vcb trust approve 127.0.0.1:{fake.port}" in refused.value.hint


def test_soap_nothing_approved_sends_nothing_and_tells_how_to_approve(impostor: MakeImpostor) -> None:
    fake = impostor(genuine())
    with pytest.raises(TrustError) as refused:
        connect("127.0.0.1", fake.port, "backup", Secret("pass-word"), Trust.from_settings(None, None), REPORT)
    fake.close()
    assert fake.received == b""
    assert f"vcb trust approve 127.0.0.1:{fake.port}" in refused.value.hint


def device(port: int, thumbprint: str) -> DeviceUrl:
    url = f"https://127.0.0.1:{port}/nfc/ticket/disk-0.vmdk"
    return DeviceUrl(
        key="k", url=url, thumbprint=thumbprint, disk=True, target="disk-0", device_key=2000, size=None
    )  # fmt: skip


@pytest.mark.parametrize("vouched", ["thumbprint", "CA_FILE", "approved"])
def test_lease_a_certificate_that_changed_since_soap(impostor: MakeImpostor, tmp_path: Path, vouched: str) -> None:
    host, fake = genuine(), impostor(issue("vcenter", hosts=NAMES))
    ways = trusts(host, fake.port, tmp_path)
    trust = ways.get(vouched, Trust.from_settings(None, "ab" * 32))
    thumbprint = {"thumbprint": host.sha1, "CA_FILE": "", "approved": fake_sha1(fake.port)}[vouched]
    offered = device(fake.port, thumbprint)
    with pytest.raises((TrustError, ssl.SSLError)):
        connect_tls(urlsplit(offered.url), offered, trust, SocketGuard(), timeout=10)
    fake.close()
    assert fake.received == b""


def fake_sha1(port: int) -> str:
    """A vCenter that vouches for the impostor: the operator's own approval of that host speaks louder."""
    from engine.vsphere.trust import fingerprint, peer_certificate  # noqa: PLC0415

    return fingerprint(peer_certificate("127.0.0.1", port), "sha1")


def ticket(port: int, thumbprint: str) -> NfcTicket:
    return NfcTicket("127.0.0.1", port, thumbprint, "vpxa-nfc", Secret("52cdebc5-b7ee-359a-1dec-000000000001"))


def login(port: int, thumbprint: str, *, encrypted: bool) -> None:
    authd.connect(ticket(port, thumbprint), encrypted=encrypted, timeout=10, guard=SocketGuard(), report=REPORT)


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_nfc_a_certificate_that_changed_since_soap(impostor: MakeImpostor, encrypted: bool) -> None:
    fake = impostor(issue("vcenter", hosts=NAMES), SECURE)
    with pytest.raises(TrustError, match="nothing was sent"):
        login(fake.port, genuine().sha1, encrypted=encrypted)
    fake.close()
    assert fake.visits == 1
    assert fake.received == fake.plain == b""


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
@pytest.mark.parametrize(
    "banner",
    [SECURE.replace(b"SSL Required", b"SSL Optional"), b"220 VMware Authentication Daemon Version 1.0\r\n"],
    ids=["optional", "none"],
)
def test_nfc_a_daemon_without_tls_gets_no_ticket(impostor: MakeImpostor, encrypted: bool, banner: bytes) -> None:
    host = genuine()
    fake = impostor(host, banner, tls=False)
    with pytest.raises(TransportError, match="no TLS"):
        login(fake.port, host.sha1, encrypted=encrypted)
    fake.close()
    assert fake.plain == b""


def test_nbdssl_is_not_talked_down_to_plaintext(impostor: MakeImpostor) -> None:
    host = genuine()
    fake = impostor(host, BANNER + b"\r\n", tls=False)
    with pytest.raises(TransportError, match="does not offer nbdssl"):
        login(fake.port, host.sha1, encrypted=True)
    fake.close()
    assert fake.plain == b""


def test_nfc_a_ticket_without_a_thumbprint_is_not_spent(impostor: MakeImpostor) -> None:
    fake = impostor(genuine(), SECURE)
    with pytest.raises(TrustError, match="names no certificate"):
        login(fake.port, "", encrypted=True)
    fake.close()
    assert fake.received == fake.plain == b""


def test_a_thing_that_is_no_tls_at_all(impostor: MakeImpostor, tmp_path: Path) -> None:
    host = genuine()
    fake = impostor(host, b"HTTP/1.1 200 OK\r\n\r\n", tls=False)
    trust = trusts(host, fake.port, tmp_path)["THUMBPRINT"]
    with pytest.raises(ConnectError):
        connect("127.0.0.1", fake.port, "backup", Secret("pass-word"), trust, REPORT, timeout=10)
    fake.close()
    assert b"backup" not in fake.plain
    assert b"pass-word" not in fake.plain

"""Which certificates are accepted, and that nothing is sent to any other server."""

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ConfigError, ConnectError, TrustError
from engine.vsphere.trust import PinnedContext, Trust, fingerprint, parse_thumbprint, peer_certificate
from tests.vsphere.conftest import Issued, Listener, issue

Listen = Callable[[Issued], Listener]


def get(context: ssl.SSLContext, port: int, host: str = "127.0.0.1") -> int:
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=10)
    try:
        connection.request("GET", "/secret")
        return connection.getresponse().status
    finally:
        connection.close()


def bundle(tmp_path: Path, *certificates: Issued) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text("".join(each.pem for each in certificates))
    return file


def test_a_certificate_of_the_bundle_s_ca_is_accepted(listen: Listen, tmp_path: Path) -> None:
    ca = issue("CA")
    server = listen(issue("server", by=ca, hosts=("127.0.0.1", "localhost")))
    context = Trust.from_settings(bundle(tmp_path, ca), None).context_for("127.0.0.1", server.port)
    assert get(context, server.port) == 200
    assert get(context, server.port, "localhost") == 200


def test_the_bundle_does_not_excuse_a_wrong_name(listen: Listen, tmp_path: Path) -> None:
    ca = issue("CA")
    server = listen(issue("server", by=ca, hosts=("vcenter.example",)))
    context = Trust.from_settings(bundle(tmp_path, ca), None).context_for("127.0.0.1", server.port)
    with pytest.raises(ssl.SSLCertVerificationError):
        get(context, server.port)
    assert server.asked == []


def test_a_stranger_s_certificate_is_refused(listen: Listen, tmp_path: Path) -> None:
    server = listen(issue("impostor", hosts=("127.0.0.1",)))
    context = Trust.from_settings(bundle(tmp_path, issue("CA")), None).context_for("127.0.0.1", server.port)
    with pytest.raises(ssl.SSLCertVerificationError):
        get(context, server.port)
    assert server.asked == []


def test_the_bundle_may_hold_the_server_s_own_certificate(listen: Listen, tmp_path: Path) -> None:
    leaf = issue("server", by=issue("unknown CA"), hosts=("127.0.0.1",))
    server = listen(leaf)
    context = Trust.from_settings(bundle(tmp_path, leaf), None).context_for("127.0.0.1", server.port)
    assert get(context, server.port) == 200


def test_a_pin_accepts_exactly_its_certificate_whatever_its_name_and_age(listen: Listen) -> None:
    expired = issue("server", hosts=("elsewhere.example",), age=100, days=10)
    server = listen(expired)
    context = Trust.from_settings(None, expired.sha256).context_for("127.0.0.1", server.port)
    assert get(context, server.port) == 200


def test_a_pin_holds_for_every_later_connection(listen: Listen) -> None:
    first, second = issue("server", hosts=("127.0.0.1",)), issue("server", hosts=("127.0.0.1",))
    one, other = listen(first), listen(second)
    context = Trust.from_settings(None, first.sha256).context_for("127.0.0.1", one.port)
    assert get(context, one.port) == 200
    with pytest.raises(TrustError, match="another certificate"):
        get(context, other.port)
    assert get(context, one.port) == 200
    assert other.asked == []


def test_a_pinned_ca_does_not_speak_for_what_it_signed(listen: Listen) -> None:
    ca = issue("CA")
    server = listen(issue("server", by=ca, hosts=("127.0.0.1",)))
    context = Trust.from_settings(None, ca.sha256).context_for("127.0.0.1", server.port)
    with pytest.raises(TrustError):
        get(context, server.port)
    assert server.asked == []


def test_a_pin_wins_over_the_bundle(listen: Listen, tmp_path: Path) -> None:
    ca = issue("CA")
    server = listen(issue("server", by=ca, hosts=("127.0.0.1",)))
    context = Trust.from_settings(bundle(tmp_path, ca), "ab" * 32).context_for("127.0.0.1", server.port)
    with pytest.raises(TrustError):
        get(context, server.port)


def test_a_ticket_s_sha1_is_checked_like_a_pin(listen: Listen) -> None:
    issued = issue("esx01", hosts=("esx01.example",))
    server = listen(issued)
    trust = Trust.from_settings(None, None)
    assert get(trust.pinned_context(issued.sha1), server.port) == 200
    assert get(trust.pinned_context(issued.sha1.upper()), server.port) == 200
    with pytest.raises(TrustError):
        get(trust.pinned_context("00" * 20), server.port)
    with pytest.raises(TrustError, match="cannot be checked"):
        trust.pinned_context("")
    assert server.asked == ["/secret", "/secret"]


def test_the_pin_is_checked_for_tls_inside_other_streams_too(listen: Listen) -> None:
    context = PinnedContext("ab" * 32)
    assert context.sslobject_class is not ssl.SSLObject
    with pytest.raises(TrustError):
        context.verify_peer(None)


def test_nothing_approved_shows_the_fingerprint(listen: Listen) -> None:
    issued = issue("server", hosts=("127.0.0.1",))
    server = listen(issued)
    with pytest.raises(TrustError) as caught:
        Trust.from_settings(None, None).context_for("127.0.0.1", server.port)
    shown = fingerprint(peer_certificate("127.0.0.1", server.port))
    assert parse_thumbprint(shown) == issued.sha256
    assert shown in caught.value.sentence
    assert "CA_FILE" in caught.value.hint
    assert f"THUMBPRINT={shown}" in caught.value.hint
    assert server.asked == []


def test_unusable_settings_are_configuration_errors(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate here")
    for ca_file, thumbprint in (
        (tmp_path / "absent.pem", None),
        (empty, None),
        (None, "ab" * 20),
        (None, "not a thumbprint"),
    ):
        with pytest.raises(ConfigError):
            Trust.from_settings(ca_file, thumbprint)


def test_nobody_there_is_no_question_of_trust() -> None:
    with pytest.raises(ConnectError):
        Trust.from_settings(None, None).context_for("host.invalid", 443)

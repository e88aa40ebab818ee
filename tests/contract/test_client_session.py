"""Connecting, logging in, losing the session, logging in again."""

import socket
import threading
from dataclasses import replace

import pytest
from pyVmomi import vim

from engine.errors import ConnectError, LoginError, SessionLost, TrustError
from engine.reporter import Reporter, Volume
from engine.secret import Secret
from engine.vsphere import faults
from engine.vsphere.inventory import inventory
from engine.vsphere.login import PasswordLogin
from engine.vsphere.properties import Ref, collect, get_one
from engine.vsphere.session import Session, connect
from engine.vsphere.trust import Trust
from tests.contract.conftest import TestServer


def end_session(server: TestServer, victim: Session) -> None:
    """What an idle timeout or an administrator does to a session."""
    with server.connect() as other:
        other.content.sessionManager.TerminateSession([victim.session_key])


def calls_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls that the session sends from now on."""
    names: list[str] = []
    exchange = session.stub.exchange

    def counted(mo, info, args):
        names.append(info.wsdlName)
        return exchange(mo, info, args)

    monkeypatch.setattr(session.stub, "exchange", counted)
    return names


def test_connect_negotiates_the_newest_common_version(session: Session) -> None:
    assert session.api_version == (8, 0, 3, 0)
    assert session.is_vcenter
    assert session.instance_uuid
    assert session.cookie.reveal().startswith("vmware_soap_session=")


def test_a_wrong_password_is_sent_exactly_once(server: TestServer) -> None:
    seen = []
    report = Reporter(seen.append, Volume(6))
    wrong = Secret("not-the-password")
    with pytest.raises(LoginError) as caught:
        connect(server.host, server.port, server.user, wrong, server.trust, report)
    assert caught.value.fault == "InvalidLogin"
    assert not caught.value.transient
    assert "lock" in caught.value.hint
    sent = [event.text for event in seen if event.text.startswith("-> Login ")]
    assert len(sent) == 1
    assert "not-the-password" not in "".join(event.text for event in seen)


def test_a_closed_port_is_named(server: TestServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}") as caught:
        replace(server, port=port).connect()
    assert caught.value.transient


def test_nothing_approved_is_an_error_that_shows_the_fingerprint(server: TestServer) -> None:
    with pytest.raises(TrustError) as caught:
        replace(server, trust=Trust.from_settings(None, None)).connect()
    assert "SHA-256 is " in caught.value.sentence
    shown = caught.value.sentence.rpartition("SHA-256 is ")[2].rstrip(".")
    assert f"THUMBPRINT={shown}" in caught.value.hint
    with replace(server, trust=Trust.from_settings(None, shown)).connect() as session:
        session.ensure_alive()


def test_another_pin_is_refused_before_anything_is_sent(server: TestServer) -> None:
    with pytest.raises(TrustError, match="another certificate"):
        replace(server, trust=Trust.from_settings(None, "ab" * 32)).connect()


def test_attributes_of_managed_objects_are_never_read(session: Session) -> None:
    with pytest.raises(TypeError, match="properties"):
        _ = session.content.rootFolder.name


def test_a_read_logs_in_again(server: TestServer, session: Session, vm: str) -> None:
    before = session.cookie
    end_session(server, session)
    assert get_one(session, Ref("VirtualMachine", vm), ["name"])["name"]
    assert session.generation == 2
    assert session.cookie != before


def test_threads_that_lose_the_session_together_log_in_once(server: TestServer, session: Session) -> None:
    end_session(server, session)
    threads = [threading.Thread(target=session.ensure_alive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.generation == 2


def test_a_walk_through_the_inventory_survives_the_session(server: TestServer, session: Session) -> None:
    whole = {row.ref for row in collect(session, "VirtualMachine", ["name"])}
    rows = collect(session, "VirtualMachine", ["name"], page=1)
    found = [next(rows).ref]
    end_session(server, session)
    found += [row.ref for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == whole


def test_an_act_is_sent_once_in_a_live_session(
    server: TestServer, session: Session, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_session(server, session)
    names = calls_of(session, monkeypatch)
    machine = session.managed(Ref("VirtualMachine", vm))
    session.act(lambda: machine.MarkAsTemplate, doing="x", subject="y")  # no call: shows what act itself sends
    assert names == ["CurrentTime", "Login", "CurrentTime"]


def test_a_session_that_ends_inside_an_act_is_not_repeated(server: TestServer, session: Session, vm: str) -> None:
    calls = []

    def doomed():
        calls.append(1)
        raise vim.fault.NotAuthenticated

    with pytest.raises(SessionLost) as caught:
        session.act(doomed, doing="creating the snapshot", subject="web01")
    assert len(calls) == 1
    assert caught.value.transient


def test_a_refused_new_login_is_never_repeated(
    server: TestServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_session(server, session)
    monkeypatch.setattr(session, "_login", PasswordLogin(server.user, Secret("changed-meanwhile")))
    names = calls_of(session, monkeypatch)
    for _ in range(3):
        with pytest.raises(LoginError):
            session.ensure_alive()
    assert names.count("Login") == 1


def test_the_keepalive_keeps_and_close_ends_it(server: TestServer) -> None:
    session = server.connect()
    end_session(server, session)
    session.start_keepalive(interval=0.05)
    for _ in range(200):
        if session.generation == 2:
            break
        threading.Event().wait(0.05)
    session.close()
    session.close()
    assert session.generation == 2
    assert not [thread for thread in threading.enumerate() if thread.name == f"keep-alive {session.host}"]
    with pytest.raises(SessionLost):
        session.ensure_alive()


def test_a_dropped_connection_is_made_again_for_a_read(session: Session) -> None:
    session.ensure_alive()
    for connection, _ in session.stub.pool:
        connection.sock.shutdown(socket.SHUT_RDWR)
    assert list(inventory(session, with_disks=False))


def test_every_fault_of_the_table_becomes_a_sentence() -> None:
    for name in faults.TRANSIENT:
        kind = getattr(vim.fault, name, None)
        if kind is not None:
            error = faults.translate(kind(), doing="creating the snapshot", subject="web01")
            assert error.sentence.startswith("web01: creating the snapshot failed: ")
            assert error.fault == name
            assert error.transient

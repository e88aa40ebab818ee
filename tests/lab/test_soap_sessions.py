"""Sessions: login, attempts, idle expiry, termination, what is readable before login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from tests.lab.soap_client import login, properties, stub_without_session


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path, seed="empty", guest=False) as lab:
        yield lab


def test_a_wrong_password_is_one_counted_attempt(lab: Lab) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        login(lab, password="wrong")
    assert lab.vsphere.sessions.refused[lab.user] == 1
    assert lab.vsphere.sessions.logins[lab.user] == 0


def test_current_session_is_readable_before_login(lab: Lab) -> None:
    stub = stub_without_session(lab)
    assert vim.SessionManager("SessionManager", stub).currentSession is None
    assert properties(vim.SessionManager("SessionManager", stub), "currentSession") == {}
    with pytest.raises(vim.fault.NotAuthenticated):
        properties(vim.Folder("group-d1", stub), "name")


def test_the_user_session_tells_who_and_from_where(lab: Lab) -> None:
    manager = login(lab).RetrieveContent().sessionManager
    mine = manager.currentSession
    assert (mine.userName, mine.ipAddress) == (lab.user, "127.0.0.1")
    assert mine.userAgent
    assert [s.key for s in manager.sessionList] == [mine.key]
    assert manager.SessionIsActive(mine.key, lab.user)
    assert not manager.SessionIsActive("another", lab.user)


def test_the_cookie_is_a_secret_that_lists_do_not_show(lab: Lab) -> None:
    instance = login(lab)
    key = instance.RetrieveContent().sessionManager.currentSession.key
    assert key not in instance._stub.cookie


def test_logout_ends_the_session(lab: Lab) -> None:
    instance = login(lab)
    instance.RetrieveContent().sessionManager.Logout()
    with pytest.raises(vim.fault.NotAuthenticated):
        instance.CurrentTime()
    assert lab.vsphere.sessions.all() == []


def test_terminate_session(lab: Lab) -> None:
    victim, killer = login(lab), login(lab)
    manager = killer.RetrieveContent().sessionManager
    key = victim.RetrieveContent().sessionManager.currentSession.key
    manager.TerminateSession([key])
    with pytest.raises(vim.fault.NotAuthenticated):
        victim.CurrentTime()
    with pytest.raises(vim.fault.NotFound):
        manager.TerminateSession([key])
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.TerminateSession([manager.currentSession.key])


def test_idle_sessions_expire_and_take_their_objects_along(lab: Lab) -> None:
    instance = login(lab)
    content = instance.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [], True)
    lab.vsphere.sessions.idle = -1.0  # everything is idle for longer than that
    with pytest.raises(vim.fault.NotAuthenticated):
        instance.CurrentTime()
    assert view._moId not in lab.vsphere.objects


def test_the_idle_time_is_a_setting_of_the_server(lab: Lab) -> None:
    setting = login(lab).RetrieveContent().setting
    name = "config.vmacore.soap.sessionTimeout"
    setting.UpdateOptions([vim.option.OptionValue(key=name, value="90s")])
    assert lab.vsphere.sessions.idle == 90
    assert setting.QueryOptions(name)[0].value == "90s"


def test_only_one_login_per_session(lab: Lab) -> None:
    manager = login(lab).RetrieveContent().sessionManager
    with pytest.raises(vim.fault.InvalidLogin):
        manager.Login(lab.user, lab.password)


def test_integrated_logon_is_not_supported(lab: Lab) -> None:
    manager: Any = vim.SessionManager("SessionManager", stub_without_session(lab))
    with pytest.raises(vmodl.fault.NotSupported):
        manager.LoginBySSPI("AAAA")


def test_the_password_is_long_and_private(lab: Lab) -> None:
    assert len(lab.password) >= 32
    secrets = [lab.vsphere.state / "password", *(lab.vsphere.state / "certificates").iterdir()]
    assert [path.stat().st_mode & 0o077 for path in secrets] == [0] * len(secrets)


def test_password_and_ca_survive_a_restart(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "kept", seed="empty", guest=False) as first:
        before = (first.password, first.ca_file.read_bytes(), first.vsphere.instance_uuid)
    with Lab.start(tmp_path / "kept", seed="empty", guest=False) as second:
        assert (second.password, second.ca_file.read_bytes(), second.vsphere.instance_uuid) == before
        login(second)

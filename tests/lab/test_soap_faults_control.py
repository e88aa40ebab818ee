"""Injected faults, in the process and over the control endpoint."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.faults import Faults, Rule
from tests.lab.rig import Site, build_site
from tests.lab.soap_client import finish, login, ref, trusting


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path, seed="empty", guest=False) as lab:
        yield lab


@pytest.fixture
def site(lab: Lab) -> Site:
    return build_site(lab)


def control(lab: Lab, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=trusting(lab), timeout=30)
    headers = {"Authorization": f"Bearer {lab.control_token if token is None else token}"}
    try:
        connection.request(method, f"/control{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_fault_at_the_nth_call_of_one_object(lab: Lab, site: Site) -> None:
    first, second = site.vm("first"), site.vm("second")
    lab.faults.add(Rule("CreateSnapshot_Task", object="first", first=2, fault="SnapshotFault", message="no room"))
    instance = login(lab)
    for vm in (first, second, second):
        finish(ref(vim.VirtualMachine, vm.id, instance).CreateSnapshot_Task("x", "", False, False))
    with pytest.raises(vim.fault.SnapshotFault) as caught:
        ref(vim.VirtualMachine, first.id, instance).CreateSnapshot_Task("x", "", False, False)
    assert getattr(caught.value, "msg") == "no room"  # noqa: B009 - pyVmomi's stubs lack it
    finish(ref(vim.VirtualMachine, first.id, instance).CreateSnapshot_Task("x", "", False, False))
    assert [(h.point, h.action) for h in lab.faults.log] == [("CreateSnapshot_Task", "fault")]


def test_a_fault_in_the_task(lab: Lab, site: Site) -> None:
    vm = site.vm("web01")
    lab.faults.add(Rule("CreateSnapshot_Task", phase="task", object=vm.id, fault="vim.fault.TaskInProgress", last=0))
    task = ref(vim.VirtualMachine, vm.id, login(lab)).CreateSnapshot_Task("x", "", False, False)
    with pytest.raises(vim.fault.TaskInProgress):
        finish(task)


@pytest.mark.parametrize(("action", "done"), [("drop", False), ("drop-after", True)])
def test_the_connection_is_cut_before_or_after_the_act(lab: Lab, site: Site, action: str, done: bool) -> None:
    vm = site.vm("web01")
    instance = login(lab)
    lab.faults.add(Rule("CreateSnapshot_Task", action))
    with pytest.raises((http.client.HTTPException, OSError)):
        ref(vim.VirtualMachine, vm.id, instance).CreateSnapshot_Task("x", "", False, False)
    started = [t for t in lab.vsphere.tasks.entries if t.name == "CreateSnapshot_Task"]
    assert bool(started) is done


def test_properties_of_an_injected_fault() -> None:
    faults = Faults()
    faults.add(Rule("x", fault="NoPermission", properties={"privilegeId": "VApp.Export"}))
    with pytest.raises(vim.fault.NoPermission) as caught:
        faults.hit("x")
    assert getattr(caught.value, "privilegeId") == "VApp.Export"  # noqa: B009


def test_rules_are_counted_apart_and_the_first_that_acts_wins() -> None:
    faults = Faults()
    faults.add(Rule("nfc.*", "corrupt", "data", first=2, last=3, size=7))
    faults.add(Rule("*", "slow", "data", object="[store] a/*", last=0, size=1))
    acted = [faults.hit("nfc.read", "data", "[store] a/a.vmdk") for _ in range(4)]
    assert [rule.action for rule in acted if rule] == ["slow", "corrupt", "corrupt", "slow"]
    assert faults.hit("nfc.read", "data", "[store] b/b.vmdk") is None
    assert [(i.matches, i.hits) for i in faults.injections()] == [(5, 2), (4, 2)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"point": "x", "action": "explode"}, "action"),
        ({"point": "x", "phase": "later"}, "phase"),
        ({"point": "x", "fault": "NoSuchFault"}, "NoSuchFault"),
        ({"point": "x", "colour": "red"}, "colour"),
    ],
)
def test_bad_rules_are_refused(lab: Lab, data: dict[str, Any], text: str) -> None:
    status, answer = control(lab, "POST", "/faults", data)
    assert status == 400
    assert text in answer["error"]


def test_rules_over_the_control_endpoint(lab: Lab) -> None:
    rule = {"point": "CurrentTime", "fault": "vmodl.fault.SystemError", "last": 0, "message": "out of order"}
    status, answer = control(lab, "POST", "/faults", rule)
    assert status == 200
    instance = login(lab)
    for _ in range(2):
        with pytest.raises(vmodl.fault.SystemError):
            instance.CurrentTime()
    (listed,) = control(lab, "GET", "/faults")[1]
    assert (listed["id"], listed["hits"], listed["message"]) == (answer["id"], 2, "out of order")
    assert [hit["point"] for hit in control(lab, "GET", "/hits")[1]] == ["CurrentTime", "CurrentTime"]
    assert control(lab, "DELETE", f"/faults/{answer['id']}")[0] == 200
    assert control(lab, "DELETE", f"/faults/{answer['id']}")[0] == 404
    instance.CurrentTime()


def test_a_fault_at_login_leaves_no_password_in_the_log(lab: Lab) -> None:
    lab.faults.add(Rule("Login", fault="vmodl.fault.SystemError"))
    with pytest.raises(vmodl.fault.SystemError):
        login(lab)
    assert lab.password not in repr(lab.faults.log)


def test_a_snapshot_answers_for_its_vm(lab: Lab, site: Site) -> None:
    vm = site.vm("web01")
    instance = login(lab)
    snapshot = finish(ref(vim.VirtualMachine, vm.id, instance).CreateSnapshot_Task("x", "", False, False))
    lab.faults.add(Rule("RemoveSnapshot_Task", object="web01", fault="TaskInProgress"))
    with pytest.raises(vim.fault.TaskInProgress):
        snapshot.RemoveSnapshot_Task(False)


def test_sessions_over_the_control_endpoint(lab: Lab) -> None:
    instance = login(lab)
    assert control(lab, "GET", "")[1]["sessions"][0]["user"] == lab.user
    assert control(lab, "POST", "/sessions/expire")[1] == {"expired": 1}
    with pytest.raises(vim.fault.NotAuthenticated):
        instance.CurrentTime()


def test_the_control_endpoint_needs_its_token(lab: Lab) -> None:
    assert control(lab, "GET", "/faults", token="")[0] == 401
    assert control(lab, "GET", "/faults", token=lab.password)[0] == 401
    assert control(lab, "GET", "/nothing")[0] == 404
    assert control(lab, "GET", "/frozen/snapshot-99/2000")[0] == 404


def test_a_delay_does_not_outlive_the_lab(tmp_path: Path) -> None:
    lab = Lab.start(tmp_path, seed="empty", guest=False)
    lab.faults.add(Rule("CurrentTime", "delay", delay=600))
    connection = socket.create_connection((lab.host, lab.port))
    connection.close()
    lab.close()
    lab.faults.hit("CurrentTime")  # would take ten minutes

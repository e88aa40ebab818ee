"""The doctor sees what would fail at two in the morning; and its role is the one with which a backup succeeds."""

import json

import pytest

from engine.cancel import CancelToken
from engine.events import ResultState
from engine.flow.doctor import Health, examine
from engine.vsphere.roles import needed
from tui.cli.app import main


def words(proxy, **more):
    basics = {
        "host": proxy.lab.host, "port": proxy.lab.port, "username": proxy.lab.user, "transport-mode": "nbdssl",
        "password-file": proxy.password_file, "ca-file": proxy.lab.ca_file, "backuproot": proxy.root,
        "keep-free": "0",
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in {**basics, **more}.items()]


def examined(proxy, *specs, **values):
    return list(examine(proxy.settings(**values), specs, proxy.report, CancelToken()))


def test_a_healthy_proxy(proxy):
    found = examined(proxy, "web01")
    assert [each for each in found if each.health is Health.ERROR] == []
    texts = {each.text.partition(":")[0] for each in found if each.about == "web01"}
    assert {"nbdssl (TRANSPORT_MODE)", "nbd", "https", "san", "hotadd"} <= texts
    assert any(each.about == "leftovers" and each.health is Health.OK for each in found)


def test_one_failing_check_stops_no_other(proxy):
    found = examined(proxy, "web01", PORT=1)
    assert {each.about for each in found if each.health is Health.ERROR} >= {"trust", "login"}
    assert any(each.about == "leftovers" for each in found)


def test_state_that_is_open_to_others_is_named(proxy):
    proxy.backup()
    state = proxy.root.parent / "state"
    assert [each.health for each in examined(proxy) if each.about == "state directory"] == [Health.OK]
    state.chmod(0o755)
    (found,) = [each for each in examined(proxy) if each.about == "state directory"]
    assert found.health is Health.ERROR
    assert f"{state} has mode 0755" in found.text


@pytest.mark.parametrize("transport", ["nbd", "nbdssl", "https"])
def test_a_user_with_exactly_that_role_can_back_up(proxy, transport):
    privileges = needed(policy="automatic", transports=[transport], tracking="on")
    proxy.lab.vsphere.access.grant("exact", proxy.lab.password, list(privileges))
    outcome = proxy.backup(USERNAME="exact", TRANSPORT_MODE=transport)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert not proxy.leftovers()


def test_policies_ask_for_no_more_than_they_use():
    def of(policy):
        return set(needed(policy=policy, transports=["nbd"], tracking="off"))

    assert not any(".State." in privilege for privilege in of("manual"))
    assert "VirtualMachine.State.RemoveSnapshot" not in of("createonly")
    assert "VirtualMachine.State.CreateSnapshot" not in of("deleteonly")


def test_the_command_prints_creates_and_names_what_the_sample_role_lacks(proxy, capsys):
    assert main(["doctor", "--role", "--json", *words(proxy)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert "VApp.Export" in said["sample_role_lacks"]
    assert "VirtualMachine.State.CreateSnapshot" not in said["sample_role_lacks"]
    assert main(["doctor", "--role", "--create", *words(proxy)]) == 2
    assert main(["doctor", "--role", "--create", "--yes", *words(proxy)]) == 0
    assert "is made" in capsys.readouterr().out
    made = [role for role in proxy.lab.vsphere.access.roles.values() if role.name == "vcb-console backup"]
    assert set(said["privileges"]) <= made[0].privileges
    assert main(["doctor", "--role", "--create", "--yes", *words(proxy)]) == 2
    assert main(["doctor", "web01", "--json", *words(proxy), "--vm-lookup-method=name"]) == 0

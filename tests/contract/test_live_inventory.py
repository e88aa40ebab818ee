"""The live inventory on the lab and on vcsim: what a console is told while things happen in vCenter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.jobs.inventory_rows import MachineRow
from engine.reporter import silent
from engine.vsphere import snapshots
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session
from tests.contract.conftest import TestServer
from tests.jobs.inventory_console import Console, follower


def settings_for(server: TestServer, tmp_path: Path) -> Settings:
    password = tmp_path / "its-password"
    password.write_text(server.password.reveal())
    password.chmod(0o600)
    trust: dict[str, Any] = {"CA_FILE": server.lab.ca_file} if server.lab else {"THUMBPRINT": server.trust._pin}
    return Settings.of(
        HOST=server.host,
        PORT=server.port,
        USERNAME=server.user,
        PASSWORD_FILE=password,
        TRANSPORT_MODE="nbdssl",
        BACKUPROOT=tmp_path,
        HTTP_TIMEOUT=5,  # vcsim logs out only when the last wait for changes has ended, after half of this
        **trust,
    )


@pytest.fixture
def console(server: TestServer, tmp_path: Path) -> Iterator[Console]:
    console = Console()
    following = follower(settings_for(server, tmp_path), console)
    console.until(lambda: console.state == "live")
    yield console
    following.close()


def any_vm(console: Console) -> MachineRow:
    return next(row for row in console.rows.values() if isinstance(row, MachineRow) and row.power == "poweredOn")


def at_rest(console: Console, vm: MachineRow) -> MachineRow:
    """Its row once no task runs on it: a finished change and its finished task are told one after the other."""
    row = console.rows[vm.id]
    assert isinstance(row, MachineRow)
    return MachineRow(id="", name="") if row.task else row


def managed(session: Session, vm: MachineRow) -> Any:
    return session.managed(Ref("VirtualMachine", vm.id))


def test_the_tree_hangs_together(console: Console) -> None:
    machines = [row for row in console.rows.values() if isinstance(row, MachineRow)]
    assert machines
    for vm in machines:
        assert {vm.folder, vm.host} <= console.rows.keys()
        assert vm.disks
    places = [row for row in console.rows.values() if not isinstance(row, MachineRow)]
    assert all(place.parent == "" or place.parent in console.rows for place in places)
    status = console.statuses[-1]
    assert status.loaded == status.total == len(machines)


def test_changes_arrive_one_row_each(console: Console, session: Session) -> None:
    vm = any_vm(console)
    managed(session, vm).PowerOffVM_Task()
    console.until(lambda: at_rest(console, vm).power == "poweredOff")

    made = snapshots.create(
        session, vm.id, name="before the update", description="", quiesce=None, report=silent(), cancel=CancelToken()
    )
    seen = console.until(lambda: at_rest(console, vm).snapshots)
    assert (seen[0].id, seen[0].name, seen[0].owner) == (made.moref, "before the update", "")
    snapshots.remove(session, made.moref, silent())
    console.until(lambda: at_rest(console, vm).id and not at_rest(console, vm).snapshots)

    managed(session, vm).Rename_Task("renamed %2f web")
    console.until(lambda: at_rest(console, vm).name == "renamed / web")
    managed(session, vm).UnregisterVM()
    console.until(lambda: vm.id not in console.rows)


def test_a_lost_session_is_made_anew_and_only_differences_are_told(console: Console, session: Session) -> None:
    vm = any_vm(console)
    before = console.messages
    keys = _other_sessions(session)
    assert keys
    session.content.sessionManager.TerminateSession(keys)
    managed(session, vm).PowerOffVM_Task()
    console.until(lambda: at_rest(console, vm).power == "poweredOff")
    assert console.state == "live"
    assert console.messages - before < 8


def _other_sessions(session: Session) -> list[str]:
    manager = Ref("SessionManager", session.content.sessionManager._moId)
    found = get_one(session, manager, ["sessionList"]).get("sessionList", [])
    return [each["key"] for each in found if each["key"] != session.session_key]

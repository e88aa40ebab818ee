"""The inventory worker on the lab: what it says when sessions end, connections drop and passwords are wrong."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config.options import Settings
from engine.jobs import inventory_rows, plain_settings
from engine.jobs.inventory_process import InventoryProcess
from engine.jobs.inventory_rows import Asked, VmPoints
from engine.jobs.points_follower import PointsFollower
from engine.lab import Lab
from engine.lab.faults import Rule
from engine.points import catalog
from engine.secret import Secret
from engine.state_directory import StateDirectory
from engine.vsphere.inventory_watch import parse_updates
from engine.vsphere.properties import Ref
from tests.jobs.conftest import ROOT, Rig, until
from tests.jobs.inventory_console import WITHIN, Console, follower


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="small", guest=False) as running:
        yield running


def lab_settings(lab: Lab, tmp_path: Path, password: str = "", **values: Any) -> Settings:
    file = tmp_path / "password"
    file.write_text(password or lab.password)
    file.chmod(0o600)
    basics = {"HOST": lab.host, "PORT": lab.port, "USERNAME": lab.user, "PASSWORD_FILE": file, "CA_FILE": lab.ca_file}
    return Settings.of(**{**basics, "BACKUPROOT": tmp_path, "TRANSPORT_MODE": "nbdssl", **values})


def test_an_expired_session_means_one_new_login(lab: Lab, tmp_path: Path) -> None:
    console = Console()
    following = follower(lab_settings(lab, tmp_path), console)
    console.until(lambda: console.state == "live")
    assert lab.vsphere.sessions.expire_all() == 1
    with lab.vsphere.cond:
        machine = next(one for one in lab.vsphere.objects.values() if one.props.get("name") == "web01")
        machine.props["name"] = "web01-new"
        machine.touch("name")
        lab.vsphere.cond.notify_all()
    console.until(lambda: console.vm("web01-new"))
    assert lab.vsphere.sessions.logins[lab.user] == 2
    assert [status.state for status in console.statuses].count("lost") == 0
    following.close()


def test_a_lost_connection_is_told_and_healed(lab: Lab, tmp_path: Path) -> None:
    console = Console()
    following = follower(lab_settings(lab, tmp_path), console)
    console.until(lambda: console.state == "live")
    held = lab.faults.add(Rule("*", action="drop", last=0))
    lab.vsphere.sessions.expire_all()
    console.until(lambda: console.state == "lost")
    trouble = console.statuses[-1].trouble
    assert trouble is not None
    assert trouble.code == "connect"
    assert console.rows, "what was known stays on the screen"
    console.until(lambda: sum(status.state == "lost" for status in console.statuses) > 2)
    assert len({status.since for status in console.statuses if status.state == "lost"}) == 1, "since the first loss"
    lab.faults.remove(held)
    console.until(lambda: console.state == "live")
    assert console.statuses[-1].trouble is None
    following.close()


def test_a_refused_password_is_sent_once(lab: Lab, tmp_path: Path) -> None:
    console = Console()
    following = follower(lab_settings(lab, tmp_path, password="wrong-password"), console)
    console.until(lambda: console.state == "refused")
    trouble = console.statuses[-1].trouble
    assert trouble is not None
    assert trouble.code == "login"
    assert "wrong-password" not in str(console.statuses)
    assert lab.vsphere.sessions.refused.total() == 1
    following.reconnect()
    console.until(lambda: sum(status.state == "refused" for status in console.statuses) == 2)
    assert lab.vsphere.sessions.refused.total() == 2, "only the operator's word sends it again"
    following.close()


def test_a_certificate_that_nobody_approved_is_not_tried_again(lab: Lab, tmp_path: Path) -> None:
    console = Console()
    following = follower(lab_settings(lab, tmp_path, CA_FILE=None, THUMBPRINT="00" * 32), console)
    console.until(lambda: console.state == "refused")
    trouble = console.statuses[-1].trouble
    assert trouble is not None
    assert trouble.code == "trust"
    assert lab.vsphere.sessions.logins.total() == 0
    following.close()


def test_skipped_disks_carry_their_mark_and_reason(lab: Lab, tmp_path: Path) -> None:
    console = Console()
    following = follower(lab_settings(lab, tmp_path, EXCLUDE_DISKS="Hard disk 1"), console)
    console.until(lambda: console.state == "live")
    db = console.vm("db01")
    assert db is not None
    assert [disk.mark for disk in db.disks] == ["VMDK(EXCLUDED)", "VMDK(INDEPENDENT)"]
    assert all(disk.reason for disk in db.disks)
    assert db.cbt
    following.close()


def test_rows_appear_while_pages_arrive(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "lab", seed=600, guest=False) as lab:
        console = Console()
        following = follower(lab_settings(lab, tmp_path), console)
        console.until(lambda: console.state == "live")
        loading = [status.loaded for status in console.statuses if status.state == "loading"]
        assert loading == sorted(loading)
        assert any(0 < loaded < 600 for loaded in loading)
        assert {status.total for status in console.statuses if status.state == "loading"} == {600}
        following.close()


def start(settings: Settings, tmp_path: Path) -> tuple[InventoryProcess, Console, threading.Thread]:
    process, console = InventoryProcess(settings, tmp_path / "inventory.err"), Console()

    def listen() -> None:
        for line in process.output:
            console.hear(inventory_rows.decode(line))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return process, console, thread


def test_the_process_plans_and_tells_points_and_ends_with_its_starter(rig: Rig, tmp_path: Path) -> None:
    settings = rig.settings()
    process, console, listener = start(settings, tmp_path)
    try:
        console.until(lambda: console.state == "live")
        specs = ("name:db01", "name:nobody")
        plain = plain_settings.to_plain(rig.settings(EXCLUDE_DISKS="scsi0:0"))
        process.ask(Asked(do="plan", request=7, specs=specs, settings=plain))
        planned = console.until(lambda: console.plans and console.plans[0])
        assert planned.request == 7
        assert [skipped["code"] for skipped in planned.plans[0]["disks_skipped"]] == ["excluded", "independent"]
        assert planned.troubles["name:nobody"].code == "vm-not-found"

        job = rig.start("name:web01")
        job_ended(job)
        process.ask(Asked(do="points"))
        web = console.vm("web01")
        assert web is not None
        found = console.until(lambda: console.points.get(web.id))
        assert found.vcenter == console.statuses[-1].vcenter
        assert found.points[0].kind == "full"
        assert found.points[0].proven
        assert found.points[0].flaw == ""
    finally:
        listener.join(0.1)
        process._process.stdin.close()  # type: ignore[union-attr]
    assert process.wait(WITHIN) == 0, process.last_words()
    assert rig.lab.vsphere.sessions.all() == []


def job_ended(job: Any) -> None:
    until(lambda: not job.alive)


def test_the_password_is_in_no_argument_and_no_environment(rig: Rig, tmp_path: Path) -> None:
    settings = rig.settings(PASSWORD=Secret(rig.lab.password), PASSWORD_FILE=None)
    process, console, _ = start(settings, tmp_path)
    try:
        console.until(lambda: console.state == "live")
        told = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        assert rig.lab.password.encode() not in told
    finally:
        process._process.stdin.close()  # type: ignore[union-attr]
    assert process.wait(WITHIN) == 0


def test_the_starters_side_imports_no_pyvmomi() -> None:
    code = "import sys, engine.jobs.inventory_process; sys.exit('pyVmomi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, check=False).returncode == 0


def test_vanished_points_are_told(tmp_path: Path) -> None:
    told: list[Any] = []
    watching = PointsFollower(tmp_path, StateDirectory(tmp_path / "state"), told.append)
    watching._told = {("v", "vm-1"): VmPoints(vcenter="v", vm="vm-1", points=())}
    (tmp_path / "points").mkdir()
    watching._tell(catalog.look(tmp_path, tmp_path / "state"))
    assert [vm.vm for vm in told[0].vms] == ["vm-1"]


def test_only_the_sets_own_members_count() -> None:
    text = (
        b'<E xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><B><R><returnval>'
        b'<version>7</version><filterSet><filter type="PropertyFilter">f</filter><objectSet><kind>modify</kind>'
        b'<obj type="VirtualMachine">vm-1</obj><changeSet><name>config.version</name><op>assign</op>'
        b'<val xsi:type="DynamicData"><version>99</version><truncated>true</truncated></val></changeSet>'
        b"<changeSet><name>guest.ipAddress</name><op>assign</op></changeSet></objectSet></filterSet>"
        b"</returnval></R></B></E>"
    )
    updates, version, truncated = parse_updates(io.BytesIO(text))  # type: ignore[arg-type]
    assert (version, truncated) == ("7", False)
    assert updates[0].ref == Ref("VirtualMachine", "vm-1")
    assert updates[0].values["guest.ipAddress"] is None

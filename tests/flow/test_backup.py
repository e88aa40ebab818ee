"""The main job on the lab: what is written equals the frozen disk, and nothing stays behind."""

import json
import subprocess

import pytest

from engine.events import DiskEnded, DiskProgress, DiskSkipped, PlanMade, Result, ResultState, StageEnded
from engine.flow.ledger import ledgers
from engine.points import manifest, proof
from engine.state_directory import StateDirectory
from engine.vsphere.snapshots import SNAPSHOT_NAME
from tests.flow.checks import assert_nothing_left, compare_with_frozen, names_of
from tests.tools import require_tool

STAGES = [
    "lookup", "checks", "mount point", "snapshot", "open disks", "export", "verify", "media", "unmount",
    "remove snapshot", "consolidation check",
]  # fmt: skip


@pytest.mark.parametrize("transport", ["nbdssl", "nbd", "https"])
@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
def test_the_point_equals_the_frozen_disks_while_the_guest_writes(proxy, transport, export_format):
    outcome = proxy.backup(TRANSPORT_MODE=transport, EXPORT_FORMAT=export_format)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert outcome.transport == transport
    assert {done.transport for done in outcome.disks} == {transport}
    compare_with_frozen(proxy.lab, outcome)
    assert_nothing_left(proxy)


def test_the_stages_come_in_their_order_each_with_its_end(proxy):
    outcome = proxy.backup()
    assert [stage["stage"] for stage in outcome.stages] == STAGES
    assert [event.stage for event in proxy.events if isinstance(event, StageEnded)] == STAGES
    assert all(stage["outcome"] == "ok" for stage in outcome.stages)


def test_the_point_is_complete_and_describes_itself(proxy):
    outcome = proxy.backup()
    assert outcome.point is not None
    point = manifest.read(outcome.point)
    listed = {file.name for file in point.file}
    assert {path.name for path in outcome.point.iterdir()} == listed | {manifest.FILE_NAME, proof.FILE_NAME}
    assert {"vm.vmx", "vm.ovf"} <= listed
    assert point.vm.name == "web01"
    assert point.transport == "nbdssl"
    assert point.snapshot.moref == outcome.snapshot
    assert [disk.key for disk in point.disk] == [done.disk.key for done in outcome.disks]


def test_the_ledger_tells_the_whole_story_and_nothing_is_open(proxy):
    outcome = proxy.backup()
    ((job, entries),) = ledgers(StateDirectory.default().jobs)
    assert job == outcome.job
    fates = {str(entry.kind): str(entry.fate) for entry in entries}
    assert fates == {"job": "intent", "directory": "left", "snapshot": "undone"}


def test_events_end_with_the_result_and_pass_through_json(proxy):
    outcome = proxy.backup()
    result = proxy.events[-1]
    assert isinstance(result, Result)
    assert result.state == "success"
    assert result.summary == json.loads(json.dumps(outcome.to_json()))
    assert any(isinstance(event, PlanMade) for event in proxy.events)
    ended = [event for event in proxy.events if isinstance(event, DiskEnded)]
    assert [event.disk for event in ended] == names_of(outcome)
    for event in ended:
        last = [e for e in proxy.events if isinstance(e, DiskProgress) and e.disk == event.disk][-1]
        assert (last.read, last.stored) == (event.read, event.stored)


@pytest.mark.parametrize("transport", ["nbdssl", "https"])
def test_no_secret_is_anywhere(proxy, monkeypatch, transport):
    """LOGLEVEL 6 is on: password, session cookies and NFC tickets must be in no event and in no file we wrote."""
    secrets = [proxy.lab.password]
    sessions, office = proxy.lab.vsphere.sessions, proxy.lab.nfc.tickets
    open_session, issue = sessions.open, office.issue

    def opened(*args, **kwargs):
        session = open_session(*args, **kwargs)
        secrets.append(session.cookie)
        return session

    def issued(**kwargs):
        ticket = issue(**kwargs)
        secrets.append(ticket.session_id)
        return ticket

    monkeypatch.setattr(sessions, "open", opened)
    monkeypatch.setattr(office, "issue", issued)
    outcome = proxy.backup(TRANSPORT_MODE=transport)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert len(secrets) > (2 if transport == "nbdssl" else 1)
    said = "\n".join(repr(event) for event in proxy.events)
    files = [path for root in (proxy.root, StateDirectory.default().root) for path in root.rglob("*") if path.is_file()]
    for secret in secrets:
        assert secret not in said
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_only_allocated_blocks_are_read(proxy):
    outcome = proxy.backup()
    shape = outcome.to_json()
    assert 0 < shape["bytes_read"] < shape["bytes_provisioned"]
    assert shape["bytes_read"] <= shape["bytes_allocated"] + len(outcome.disks) * (1 << 20)


def test_all_disks_independent_is_completed_with_exceptions(demo_proxy):
    outcome = demo_proxy.backup("scratch01")
    assert outcome.state is ResultState.EXCEPTIONS
    assert outcome.state.exit_code == 3
    skipped = [event for event in demo_proxy.events if isinstance(event, DiskSkipped)]
    assert skipped
    assert {event.code for event in skipped} == {"independent"}
    assert all(event.reason in " ".join(outcome.exceptions) for event in skipped)
    assert outcome.point is None
    assert not demo_proxy.vm("scratch01").snapshots
    assert_nothing_left(demo_proxy, "scratch01")


def test_an_excluded_disk_is_no_exception_but_is_told(proxy):
    outcome = proxy.backup(EXCLUDE_DISKS="scsi0:1")
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert names_of(outcome) == ["scsi0:0"]
    assert outcome.to_json()["disks_skipped"] == [
        {"disk": "scsi0:1", "code": "excluded", "reason": "The operator leaves it out (EXCLUDE_DISKS)."}
    ]


def test_excluding_a_disk_that_is_not_there_stops_before_anything(proxy):
    outcome = proxy.backup(EXCLUDE_DISKS="scsi9:9")
    assert outcome.state is ResultState.FAILURE
    assert "scsi9:9" in outcome.sentence
    assert_nothing_left(proxy)


def test_qemu_img_opens_the_ovfs_disks(proxy):
    qemu_img = require_tool("qemu-img")
    outcome = proxy.backup()
    assert outcome.point is not None
    ovf = (outcome.point / "vm.ovf").read_text()
    for done in outcome.disks:
        assert done.files[-1].name in ovf
        subprocess.run([qemu_img, "check", "-f", "vmdk", outcome.point / done.files[0].name], check=True)


def test_two_backups_make_two_points(proxy):
    first, second = proxy.backup(), proxy.backup()
    assert first.state is second.state is ResultState.SUCCESS, second.sentence
    assert first.point != second.point
    assert_nothing_left(proxy)


def test_a_users_snapshot_stays(proxy):
    vm = proxy.vm("web01")
    vm.take_snapshot("before the upgrade", "by hand")
    outcome = proxy.backup()
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    compare_with_frozen(proxy.lab, outcome)
    assert [snapshot.name for snapshot in vm.snapshots] == ["before the upgrade"]
    assert SNAPSHOT_NAME not in [snapshot.name for snapshot in vm.snapshots]


def test_plan_touches_nothing_and_says_what_the_run_then_does(proxy):
    plan = proxy.plan()
    assert plan.obstacle is None
    assert list(proxy.root.iterdir()) == []
    assert not StateDirectory.default().jobs.exists()
    outcome = proxy.backup()
    assert outcome.plan is not None
    assert [planned.disk.name for planned in plan.exported] == names_of(outcome)

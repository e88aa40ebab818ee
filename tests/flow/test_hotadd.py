"""Backups over hotadd: the lab attaches frozen disks to a proxy VM, whose devices this machine reads as its own."""

import subprocess
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.flow import attachments, snapshot_step
from engine.flow.ledger import ledgers
from engine.flow.outcome import Outcome
from engine.flow.reconcile.reconcile import reconciling
from engine.lab import Lab, guest_devices
from engine.lab.faults import Rule
from engine.state_directory import StateDirectory
from engine.transport.nfc import source as nfc_source
from engine.vsphere import hotadd as vcenter
from engine.vsphere.tickets import read_ticket
from tests.flow.checks import assert_nothing_left, compare_with_frozen
from tests.flow.conftest import Proxy, _proxy
from tests.flow.test_reconcile import killed
from tests.proxy_vm import add_proxy_vm, attached, hotadd_settings, watch_wire
from tests.tools import require_tool

MODES = ("san", "hotadd", "nbd", "nbdssl", "https")


@pytest.fixture
def hotadd(tmp_path, monkeypatch):
    """A small lab with LUNs and a proxy VM, so that every mode works."""
    monkeypatch.setattr("engine.transport.san.source.SETTLE", 0.0)
    with Lab.start(tmp_path / "lab", seed="small", record=True, luns=True) as lab:
        rig = _proxy(lab, tmp_path, monkeypatch)
        add_proxy_vm(lab)
        yield rig


def settings(proxy: Proxy, mode: str = "hotadd", **values):
    return {"TRANSPORT_MODE": mode, **hotadd_settings(proxy.lab), **values}


def over_hotadd(proxy: Proxy, spec: str = "web01", **values) -> Outcome:
    return proxy.backup(spec, **settings(proxy, **values))


def reconcile(proxy: Proxy):
    """What was found, and what became of it, as kinds in their order."""
    with reconciling(proxy.settings(**settings(proxy)), proxy.report, CancelToken()) as work:
        found = work.look()
        done = work.clean(found.to_clean)
    assert done.failed == []
    return [each.kind for each in found.shown], [each.kind for each in done.removed if each in found.shown]


def assert_detached(proxy: Proxy) -> None:
    assert attached(proxy.lab) == []


@pytest.fixture
def reconfigurations(monkeypatch):
    return watch_wire(monkeypatch, b"ReconfigVM_Task")


def test_a_running_vm_over_hotadd_is_what_the_snapshot_froze(hotadd, reconfigurations):
    outcome = over_hotadd(hotadd)
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"hotadd"}
    compare_with_frozen(hotadd.lab, outcome)
    assert_nothing_left(hotadd)
    assert_detached(hotadd)
    assert all(done.read < done.disk.capacity for done in outcome.disks)
    assert "read whole" not in hotadd.log
    assert sum(b"<operation>remove</operation>" in body for body in reconfigurations) == len(outcome.disks)
    assert not any(b"fileOperation" in body for body in reconfigurations)
    assert all(b"vcb.hotadd." in body for body in reconfigurations)


def test_tracked_disks_are_read_where_they_are_in_use_and_then_where_they_changed(hotadd):
    first = over_hotadd(hotadd, "db01")
    assert all(done.read < done.disk.capacity for done in first.disks)
    hotadd.vm("db01").write(2000, 9 << 20, b"written between two nights" * 4096)
    second = over_hotadd(hotadd, "db01")
    assert [done.method.kind for done in second.disks] == ["incremental"]
    compare_with_frozen(hotadd.lab, first)
    compare_with_frozen(hotadd.lab, second)
    assert_detached(hotadd)


def test_what_was_written_before_change_tracking_was_on_is_backed_up(hotadd):
    """CBT, switched on late, calls nothing allocated: it has seen no write."""
    hotadd.lab.run_guest(False)
    vm = hotadd.vm("web01")
    vm.write(2000, 48 << 20, b"older than change tracking" * 2520)
    hotadd.lab.faults.add(Rule("QueryChangedDiskAreas", action="omit", phase="data", last=0))
    outcome = over_hotadd(hotadd, CHANGE_TRACKING="enable")
    assert outcome.error is None
    compare_with_frozen(hotadd.lab, outcome)
    assert all(disk.change_id for disk in (done.disk for done in outcome.disks))
    assert all(done.read < done.disk.capacity for done in outcome.disks)
    assert "read whole" not in hotadd.log
    assert not hotadd.lab.faults.log, "change tracking was asked, and its answer may have been believed"


def test_a_host_that_calls_data_free_is_not_believed(hotadd, monkeypatch):
    monkeypatch.setattr(nfc_source, "data_in_holes", lambda *_args, **_values: None)
    monkeypatch.setattr(nfc_source.Session, "allocated", lambda *_args, **_values: [])
    outcome = over_hotadd(hotadd)
    assert outcome.error is None
    assert "read whole: it has data at byte 0, which its host calls free" in hotadd.log
    compare_with_frozen(hotadd.lab, outcome)


def test_a_host_that_is_not_reached_over_nfc_is_waited_for_once(hotadd, monkeypatch):
    asked = []
    monkeypatch.setattr("engine.flow.nfc_sources.read_ticket", lambda *args: asked.append(1) or read_ticket(*args))
    hotadd.lab.nfc.close()
    outcome = over_hotadd(hotadd)
    assert len(asked) == 1
    assert outcome.error is None
    assert len(outcome.disks) > 1
    assert hotadd.log.count("its host does not tell over NFC (port 902) what is in use. The host ") == len(
        outcome.disks
    )
    assert all(done.read == done.disk.capacity for done in outcome.disks)
    assert {done.transport for done in outcome.disks} == {"hotadd"}
    compare_with_frozen(hotadd.lab, outcome)
    assert_detached(hotadd)


@pytest.mark.parametrize("own_snapshot", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_all_five_modes_tell_the_same_of_one_frozen_disk(hotadd, own_snapshot):
    qemu_img = require_tool("qemu-img")
    hotadd.lab.run_guest(False)
    if own_snapshot:
        hotadd.vm("web01").take_snapshot("before upgrade", "a user's own")
        hotadd.vm("web01").write(2000, 3 << 20, b"after the upgrade" * 4096)
    points = {}
    for mode in MODES:
        outcome = hotadd.backup(**settings(hotadd, mode))
        if own_snapshot and mode == "san":
            assert "snapshot of its own" in str(outcome.error)
            continue
        assert outcome.error is None, mode
        compare_with_frozen(hotadd.lab, outcome)
        points[mode] = [outcome.point / done.files[0].name for done in outcome.disks]
    for mode, images in points.items():
        for image, other in zip(images, points["hotadd"], strict=True):
            done = subprocess.run([qemu_img, "compare", image, other], check=False, capture_output=True, text=True)
            assert done.returncode == 0, (mode, done.stdout)


STEPS = [
    (vcenter, "attach", False),
    (vcenter, "attach", True),
    (attachments, "detach", False),
    (vcenter, "detach", False),
    (vcenter, "detach", True),
    (snapshot_step.snapshots, "remove", False),
]


@pytest.mark.parametrize(("owner", "name", "after"), STEPS)
def test_what_a_killed_job_attached_goes_before_its_snapshot(hotadd, reconfigurations, owner, name, after):
    vm = hotadd.vm("web01")
    hotadd.lab.run_guest(False)
    before = {key: disk.read(0, disk.capacity) for key, disk in vm.disks.items()}
    killed(hotadd, owner, name, after=after, **settings(hotadd))
    still = len(hotadd.vm("proxy01").definition.disks) - 1
    shown, removed = reconcile(hotadd)
    assert shown.count("attachment") == still
    assert removed == sorted(removed, key=["attachment", "snapshot", "directory"].index)
    assert_detached(hotadd)
    assert_nothing_left(hotadd)
    assert not any(b"fileOperation" in body for body in reconfigurations)
    assert {key: disk.read(0, disk.capacity) for key, disk in vm.disks.items()} == before


def test_the_next_start_sweeps_whatever_the_mode(hotadd):
    killed(hotadd, vcenter, "attach", after=True, **settings(hotadd))
    assert len(hotadd.vm("proxy01").definition.disks) == 2
    outcome = hotadd.backup(**settings(hotadd, "nbdssl", PREEXISTING_VCB_SNAPSHOT="delete",
                                       PREEXISTING_MOUNTPOINT="delete"))  # fmt: skip
    assert outcome.error is None
    assert_detached(hotadd)
    for _, entries in ledgers(StateDirectory.default().jobs):
        assert not [entry for entry in entries if entry.open and entry.kind == "attachment"]


def test_a_snapshot_whose_disk_stays_attached_is_not_removed(hotadd, monkeypatch):
    def refuse(*_args, **_values):
        raise snapshot_step.CleanupError("it can't be detached now")

    with monkeypatch.context() as patch:
        patch.setattr(vcenter, "detach", refuse)
        outcome = over_hotadd(hotadd)
    assert any("could not be removed: it can't be detached now" in each for each in outcome.leftovers)
    assert [each.name for each in hotadd.vm("web01").snapshots] == ["_VCB-BACKUP_"]
    shown, removed = reconcile(hotadd)
    assert shown[:2] == ["attachment", "attachment"]
    assert removed == shown
    assert_detached(hotadd)
    assert_nothing_left(hotadd)


def test_nothing_but_what_the_journal_names_is_detached(hotadd):
    own = hotadd.vm("proxy01")
    with reconciling(hotadd.settings(), hotadd.report, CancelToken()) as work:
        session = work._scene.session
        assert session is not None
        file = own.store[own.definition.disks[0].disk].file()
        assert vcenter.detach(session, own.id, file, hotadd.report) is False
    assert len(own.definition.disks) == 1


def refusal(proxy: Proxy, spec: str = "web01", **values) -> str:
    outcome = over_hotadd(proxy, spec, **values)
    assert outcome.error is not None
    assert outcome.snapshot == ""
    assert str(proxy.plan(spec, **settings(proxy, **values)).obstacle) == str(outcome.error)
    return str(outcome.error)


def test_what_can_not_work_is_told_before_the_snapshot(hotadd):
    own = hotadd.vm("proxy01")
    assert "it is the proxy itself" in refusal(hotadd, "proxy01")
    assert "No VM of this vCenter" in refusal(hotadd, HOTADD_PROXY="4237a1b2-0000-1111-2222-333344445555")
    assert "is no UUID" in refusal(hotadd, HOTADD_PROXY="proxy01")
    snapshot = own.take_snapshot("by hand", "")
    assert "snapshots of its own" in refusal(hotadd)
    own.remove_snapshot(snapshot)
    own.definition.change_tracking = True
    own.updated("config")
    assert "changed block tracking is on" in refusal(hotadd)
    own.definition.change_tracking = False
    own.definition.extra.clear()
    own.updated("config")
    assert "disk.EnableUUID is not TRUE" in refusal(hotadd)


def test_a_proxy_with_its_uuid_in_the_other_byte_order(hotadd):
    uuid = str(hotadd.lab.ready_facts()["proxy"])
    digits = uuid.replace("-", "")
    swapped = "".join(digits[at : at + 2] for at in (6, 4, 2, 0, 10, 8, 14, 12)) + digits[16:]
    assert over_hotadd(hotadd, "db01", HOTADD_PROXY=swapped).error is None


def test_a_device_of_that_name_that_is_there_already(hotadd):
    disk = next(iter(hotadd.vm("web01").disks.values()))
    links = Path(str(hotadd.lab.ready_facts()["proxy_devices"]))
    links.mkdir(parents=True)
    (links / f"wwn-0x{disk.uuid.replace('-', '').lower()}").symlink_to("/dev/null")
    outcome = over_hotadd(hotadd)
    assert "already, before it is attached" in str(outcome.error)
    assert len(hotadd.vm("proxy01").definition.disks) == 1


def test_what_vcenter_refuses_to_attach_falls_back(hotadd):
    """As an SEsparse delta that a host does not show to another VM."""
    refused = Rule("ReconfigVM_Task", phase="task", fault="InvalidDeviceBacking", message="not this file", last=0)
    hotadd.lab.faults.add(refused)
    assert "vCenter does not attach [labstore] web01/web01.vmdk" in str(over_hotadd(hotadd).error)
    assert_nothing_left(hotadd)
    outcome = over_hotadd(hotadd, TRANSPORT_FALLBACK="nbdssl")
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"nbdssl"}
    assert "InvalidDeviceBacking" in hotadd.log
    assert_detached(hotadd)
    assert_nothing_left(hotadd)


def test_where_the_lab_has_no_loop_devices_files_stand_in(tmp_path, monkeypatch):
    """As for anybody but root; the demo says so."""
    monkeypatch.setattr(guest_devices.os, "geteuid", lambda: 1000)
    with Lab.start(tmp_path / "lab", seed="small", record=True) as lab:
        monkeypatch.undo()
        add_proxy_vm(lab)
        assert str(lab.ready_facts()["proxy_device_kind"]).startswith("files in place of devices")
        rig = _proxy(lab, tmp_path, monkeypatch)
        outcome = over_hotadd(rig)
        assert outcome.error is None
        compare_with_frozen(lab, outcome)
        assert_detached(rig)
        assert_nothing_left(rig)
    assert ".raw, known by its uuid" in rig.log

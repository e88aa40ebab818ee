"""vcb doctor --measure: what each mode reads a second, and what is left alone for a mere figure."""

import json

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled
from engine.flow.doctor import Health, Measuring, examine
from engine.flow.snapshot_step import SnapshotStep
from engine.lab import soap
from engine.transport import sampling
from tests.flow.checks import assert_nothing_left
from tests.flow.conftest import Proxy
from tests.flow.test_hotadd import assert_detached, hotadd, reconcile, settings  # noqa: F401 - a fixture
from tests.flow.test_reconcile import Killed
from tui.cli.app import main

MODES = {"san", "nbd", "nbdssl", "hotadd", "https"}
CHANGES = {"CreateSnapshot", "ReconfigVM", "ExportSnapshot", "ExportVm", "RemoveSnapshot", "PowerO"}
"""None of these is called without being asked for."""


@pytest.fixture
def rig(hotadd):  # noqa: F811 - pytest's way to use a fixture
    """A lab in which every mode works, whose guests don't write."""
    return hotadd


@pytest.fixture
def called(monkeypatch):
    """Everything that came over the wire to the lab."""
    bodies: list[bytes] = []
    decode = soap.wire.decode

    def spy(body, dialect):
        bodies.append(body)
        return decode(body, dialect)

    monkeypatch.setattr(soap.wire, "decode", spy)
    return bodies


def changes(called) -> set[str]:
    return {name for name in CHANGES for body in called if f"<{name}".encode() in body}


def speeds(proxy: Proxy, spec: str, measuring: Measuring, cancel: CancelToken | None = None, **values):
    """By mode, what was found; and what else the doctor calls an error."""
    chosen = proxy.settings(**settings(proxy, "nbdssl", **values))
    found = list(examine(chosen, (spec,), proxy.report, cancel or CancelToken(), measuring=measuring))
    errors = [each.text for each in found if each.health is Health.ERROR]
    return {each.speed.mode: each.speed for each in found if each.speed}, errors


def measured(found) -> set[str]:
    for each in found.values():
        if each.sample:
            assert each.sample.read > 0
            assert "MiB/s" in str(each)
    return {mode for mode, each in found.items() if each.sample}


def test_a_vm_that_is_off_is_read_as_it_is(rig, called):
    found, errors = speeds(rig, "off01", Measuring.AS_IT_IS)
    assert errors == []
    assert set(found) == MODES
    assert measured(found) == {"san", "nbd", "nbdssl"}
    assert "power on, move or delete" in str(found["https"])
    assert "attached to the proxy's VM" in str(found["hotadd"])
    assert changes(called) == set()


def test_a_running_vm_is_read_from_the_lun_only(rig, called):
    found, errors = speeds(rig, "web01", Measuring.AS_IT_IS)
    assert errors == []
    assert measured(found) == {"san"}
    assert "its host holds its disks locked" in str(found["nbdssl"])
    assert "--with-snapshot" in found["nbdssl"].hint
    assert changes(called) == set()


def test_a_running_vm_with_a_users_snapshot_is_read_at_its_frozen_disks(rig):
    rig.vm("web01").take_snapshot("before upgrade", "a user's own")
    found, errors = speeds(rig, "web01", Measuring.AS_IT_IS)
    assert errors == []
    assert measured(found) == {"nbd", "nbdssl"}
    assert "it would not work" in str(found["san"])


def test_with_a_snapshot_every_mode_is_measured_and_nothing_stays(rig, called):
    found, errors = speeds(rig, "web01", Measuring.WITH_SNAPSHOT)
    assert errors == []
    assert measured(found) == MODES
    assert "compressed stream" in str(found["https"])
    assert changes(called) == {"CreateSnapshot", "ReconfigVM", "ExportSnapshot", "RemoveSnapshot"}
    assert_nothing_left(rig)
    assert_detached(rig)


def test_a_backups_snapshot_that_is_there_is_neither_removed_nor_joined_by_another(rig):
    rig.vm("web01").take_snapshot("_VCB-BACKUP_", "of another proxy")
    found, errors = speeds(rig, "web01", Measuring.WITH_SNAPSHOT, PREEXISTING_VCB_SNAPSHOT="delete")
    assert found == {}
    assert any("not measured" in text and "_VCB-BACKUP_" in text for text in errors)
    assert [each.name for each in rig.vm("web01").snapshots] == ["_VCB-BACKUP_"]


def test_a_stop_while_it_is_measured_removes_the_snapshot(rig, monkeypatch):
    cancel = CancelToken()
    measure = sampling.measure

    def stopped(*args, **values):
        cancel.cancel()
        return measure(*args, **values)

    monkeypatch.setattr(sampling, "measure", stopped)
    with pytest.raises(Cancelled):
        speeds(rig, "web01", Measuring.WITH_SNAPSHOT, cancel)
    assert_nothing_left(rig)
    assert_detached(rig)


def test_what_a_killed_measurement_left_is_known_to_reconcile(rig, monkeypatch):
    def die(*_args, **_values):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sampling, "measure", die)
        patch.setattr(SnapshotStep, "settle", lambda *_args, **_values: None)
        with pytest.raises(Killed):
            speeds(rig, "web01", Measuring.WITH_SNAPSHOT)
    assert len(rig.vm("web01").snapshots) == 1
    shown, removed = reconcile(rig)
    assert shown == removed == ["snapshot"]
    assert_nothing_left(rig)


def test_tracking_is_not_switched_on_for_a_figure(rig):
    speeds(rig, "web01", Measuring.WITH_SNAPSHOT, CHANGE_TRACKING="enable")
    assert not rig.vm("web01").definition.change_tracking


def test_the_command(rig, capsys):
    basics = {
        "host": rig.lab.host, "port": rig.lab.port, "username": rig.lab.user, "transport-mode": "nbdssl",
        "password-file": rig.password_file, "ca-file": rig.lab.ca_file, "backuproot": rig.root, "keep-free": "0",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in basics.items()]
    assert main(["doctor", "name:off01", "--measure", "--json", *words]) == 0
    rows = json.loads(capsys.readouterr().out)["checks"]
    shown = {row["speed"]["mode"]: row["speed"] for row in rows if "speed" in row}
    assert shown["nbd"]["bytes_per_second"] > 0
    assert shown["nbd"]["datastore"] == "labstore"
    assert shown["san"]["why_not"] == "it would not work"
    assert main(["doctor", "name:off01", "--with-snapshot", *words]) == 2

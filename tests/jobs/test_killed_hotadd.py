"""SIGKILL at each step of hotadd: what is attached goes before its snapshot, and no file of production is touched."""

import hashlib
import json

import pytest

from engine.lab.faults import Rule
from tests.jobs.conftest import Rig
from tests.jobs.killing import Moment, killed_at, start_worker
from tests.proxy_vm import attached, vm_of, watch_wire
from tui.cli.app import main

_VCENTER, _FLOW = "engine.vsphere.hotadd", "engine.flow"
_ORDERED = "tasks.wait"
MOMENTS = (
    Moment("the intent is written", _VCENTER, "attach"),
    Moment("vCenter attaches", _VCENTER, _ORDERED),
    Moment("the device is found", f"{_FLOW}.hotadd_sources", "await_device", after=True),
    Moment("reading begins", f"{_FLOW}.source_exporter", "export"),
    Moment("the kernel lets it go", f"{_FLOW}.attachments", "forget"),
    Moment("vCenter detaches", _VCENTER, _ORDERED, number=3),
    Moment("one is detached", _VCENTER, "detach", after=True),
    Moment("the snapshot is to go", f"{_FLOW}.snapshot_step", "snapshots.remove"),
    Moment("the snapshot is gone", f"{_FLOW}.snapshot_step", "snapshots.remove", after=True),
)
QUICK = MOMENTS[1:2]
ORDER = ["attachment", "snapshot", "directory", "lock"]
_AT_WORK = 2.0
"""Seconds that a task takes which the worker had ordered: it must not be overtaken by what cleans up."""


class Watched:
    """What must come true after each death."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self.wire = watch_wire(monkeypatch, b"ReconfigVM_Task", b"RemoveSnapshot_Task")
        self.vm = vm_of(rig.lab, "web01")
        self.before = self._hashes()

    def _hashes(self) -> list[str]:
        return [hashlib.sha256(disk.read(0, disk.capacity)).hexdigest() for disk in self.vm.disks.values()]

    def die(self, moment: Moment) -> None:
        self.wire.clear()
        self.rig.lab.faults.clear()
        if moment.name == _ORDERED:
            at = moment.number
            self.rig.lab.faults.add(
                Rule("ReconfigVM_Task", action="delay", phase="task", delay=_AT_WORK, first=at, last=at)
            )
        killed_at(self.rig.settings(TRANSPORT_MODE="hotadd"), moment)

    def check(self, moment: Moment) -> None:
        calls = [b"RemoveSnapshot_Task" in body for body in self.wire]
        assert calls == sorted(calls), f"a disk was detached after its snapshot had gone: {moment}"
        assert not any(b"fileOperation" in body for body in self.wire), moment
        assert {task.info.state for task in self.rig.lab.vsphere.tasks.entries} == {"success"}, moment
        assert attached(self.rig.lab) == [], moment
        assert self.rig.snapshots == [], moment
        assert [path.name for path in self.rig.root.iterdir() if path.name != "points"] == [], moment
        assert self._hashes() == self.before, moment


@pytest.mark.parametrize(
    "moments", [QUICK, pytest.param([each for each in MOMENTS if each not in QUICK], marks=pytest.mark.exhaustive)]
)
def test_reconcile_detaches_then_removes_and_tells(
    device_rig: Rig,
    moments: list[Moment],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VCB_CONFIG", str(device_rig.config))
    watched = Watched(device_rig, monkeypatch)
    for moment in moments:
        watched.die(moment)
        assert main(["reconcile", "--yes", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["failed"] == [], moment
        kinds = [row["kind"] for row in told["removed"]]
        assert kinds == sorted(kinds, key=ORDER.index), moment
        watched.check(moment)


@pytest.mark.parametrize("moment", [pytest.param(each, marks=pytest.mark.exhaustive) for each in MOMENTS[1::3]])
def test_the_next_start_does_so_too(device_rig: Rig, moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(device_rig, monkeypatch)
    watched.die(moment)
    delete = {"PREEXISTING_MOUNTPOINT": "delete", "PREEXISTING_VCB_SNAPSHOT": "delete"}
    process = start_worker(device_rig.settings(TRANSPORT_MODE="nbdssl", **delete))
    process.join(60)
    assert process.exitcode == 0
    watched.check(moment)

"""SIGKILL at random moments of a backup: `vcb reconcile --yes` finds everything, and nothing but that."""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable

import pytest

from engine.points.mount_point import Marker, create
from engine.vsphere.snapshots import OwnershipToken
from tests.jobs.conftest import Rig
from tests.jobs.killing import kill_after, seconds_of_a_backup
from tests.proxy_vm import attached
from tui.cli.app import main

TRANSPORTS = {"nbd": 3, "nbdssl": 3, "https": 3, "san": 1, "hotadd": 1}
"""How many kills the quick test has for each."""
_LEASE_TIMEOUT = 2.0
"""Seconds: what ends a lease whose job died before it could write down which one it is."""


class Scene:
    """The lab with things of others in it: another proxy's snapshots and directory, an admin's snapshot and file."""

    def __init__(self, rig: Rig, transport: str) -> None:
        self.rig = rig
        rig.lab.vsphere.leases.timeout = _LEASE_TIMEOUT
        self.settings = rig.settings(TRANSPORT_MODE=transport)
        web, db = (next(vm for vm in rig.machines if vm.name == name) for name in ("web01", "db01"))
        other = OwnershipToken("job-of-another", "another-proxy", "another-vcenter", db.id)
        db.take_snapshot("_VCB-BACKUP_", other.to_description())
        db.take_snapshot("_VCB-BACKUP_", "made by hand")
        (db if transport == "san" else web).take_snapshot("before the upgrade", "an admin's")  # san reads no delta
        marker = Marker(
            job="job-of-another", proxy="another-proxy", vcenter="another-vcenter", vm=db.id, vm_name="db01",
            snapshot_policy="automatic", contents=["scsi0-0.vmdk"],
        )  # fmt: skip
        create(rig.root / "fullvm-db01-vm-99.partial", marker)
        (rig.root / "fullvm-db01-vm-99.partial" / "scsi0-0.vmdk").write_bytes(b"theirs")
        (rig.root / "notes.txt").write_text("an admin's")
        self.before = self.everything()

    def everything(self) -> tuple[list[str], ...]:
        """What a backup can leave: snapshots, leases, files outside of the finished points, and attached disks."""
        root, vsphere = self.rig.root, self.rig.lab.vsphere
        files = [str(path.relative_to(root)) for path in root.rglob("*") if "points" not in path.parts]
        snapshots = [f"{snapshot.name} {snapshot.description}" for snapshot in self.rig.snapshots]
        leases = [vm.name for vm in self.rig.machines if vsphere.leases.of(vm)]
        return sorted(snapshots), leases, sorted(files), attached(self.rig.lab) if self.rig.options else []

    def left(self) -> set[str]:
        """The kinds of things that are there and were not before."""
        kinds = ("snapshot", "lease", "files", "attached disk")
        return {kind for kind, now, then in zip(kinds, self.everything(), self.before, strict=True) if now != then}

    def forget_points(self) -> None:
        shutil.rmtree(self.rig.root / "points", ignore_errors=True)


def survive(rig: Rig, transport: str, kills: int, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """Backups that are killed; each time everything must come right again. Returns what had been left how often."""
    scene = Scene(rig, transport)
    moments = random.Random(f"{transport} {os.environ.get('VCB_KILL_SEED', '7')}")
    whole = seconds_of_a_backup(scene.settings)
    counts: Counter[str] = Counter()
    while counts["killed"] < kills:
        counts["killed" if kill_after(scene.settings, moments.uniform(0, whole)) else "ended before"] += 1
        counts.update(scene.left())
        code = main(["reconcile", "--yes", "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        assert json.loads(said.out)["failed"] == []
        assert scene.everything() == scene.before
        seconds_of_a_backup(scene.settings)
        assert scene.everything() == scene.before
        scene.forget_points()
    return counts


@pytest.fixture
def rig_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Rig]:
    def make(transport: str) -> Rig:
        rig = request.getfixturevalue("device_rig" if transport in ("san", "hotadd") else "rig")
        monkeypatch.setenv("VCB_CONFIG", str(rig.config))
        return rig

    return make


@pytest.mark.parametrize(
    "transport",
    [one if one in ("nbdssl", "san") else pytest.param(one, marks=pytest.mark.exhaustive) for one in TRANSPORTS],
)
def test_whatever_a_killed_backup_leaves_is_taken_away(
    rig_of: Callable[[str], Rig], transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    survive(rig_of(transport), transport, TRANSPORTS[transport], capsys)


@pytest.mark.endurance
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_two_hundred_times(rig_of: Callable[[str], Rig], transport: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = survive(rig_of(transport), transport, int(os.environ.get("VCB_KILLS", "200")), capsys)
    with capsys.disabled():
        print(f"\n{transport}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    assert counts["snapshot"]
    assert counts["files"]

"""A backup whose worker was killed is gone on with: on its snapshot, without reading again what it had read."""

import json
import subprocess
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.flow.ledger import ledgers
from engine.jobs import supervisor
from engine.jobs.job import Condition, Job
from engine.jobs.state import JobState
from engine.lab import snapshots
from engine.lab.faults import Rule
from engine.state_directory import StateDirectory
from tests.jobs.conftest import Rig, until
from tests.tools import require_tool
from tui.cli.app import main


def killed_in_the_second_disk(rig: Rig, **settings) -> Job:
    """A backup of web01 that has written its first disk and not yet its second."""
    second = "*web01_1.vmdk*"
    rig.lab.faults.add(Rule("nfc.read", "delay", "data", object=second, delay=0.3, last=0))
    job = rig.start("name:web01", **settings)

    def first_is_done() -> bool:
        disks = job.state.parts[0].disks
        return "scsi0:1" in disks and disks["scsi0:0"].ended

    until(first_is_done)
    identity = until(lambda: job.worker)
    subprocess.run(["kill", "-9", str(identity.pid)], check=True)
    until(lambda: job.condition is Condition.DEAD)
    rig.let_go()
    return job


def ended(job: Job) -> JobState:
    until(lambda: job.condition is not Condition.RUNNING)
    return job.state


def served_of(rig: Rig, name: str, before: int = 0) -> int:
    """Bytes of a disk that the lab's NFC served on connections after the first `before`."""
    return sum(each.served for each in rig.lab.nfc.statistics.snapshot()[before:] if any(name in p for p in each.paths))


@pytest.mark.parametrize(
    "export_format", ["compact", *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("flat", "sparse"))]
)
def test_what_was_read_is_not_read_again(rig: Rig, export_format: str) -> None:
    dead = killed_in_the_second_disk(rig, TRANSPORT_MODE="nbd", EXPORT_FORMAT=export_format)
    connections = len(rig.lab.nfc.statistics.snapshot())
    job = supervisor.resume(dead, rig.settings(TRANSPORT_MODE="nbd", EXPORT_FORMAT=export_format))
    state = ended(job)
    assert state.state == "success", state.parts[0].sentence
    assert state.parts[0].disks["scsi0:0"].read == 0
    assert served_of(rig, "web01.vmdk", connections) < 2 << 20, "only samples of its holes, which are zeros"
    point = Path(state.parts[0].point)
    disks = next(vm for vm in rig.machines if vm.name == "web01").disks.values()  # no guest has written meanwhile
    for image, disk in zip(("scsi0-0.vmdk", "scsi0-1.vmdk"), disks, strict=True):
        raw = disk.place.path / f"{disk.name}-flat.vmdk"
        command = [require_tool("qemu-img"), "compare", "-f", "vmdk", "-F", "raw", str(point / image), str(raw)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not rig.snapshots
    assert [path.name for path in rig.root.iterdir()] == ["points"]
    left = [entry for _, entries in ledgers(StateDirectory.default().jobs) for entry in entries]
    assert [str(entry) for entry in left if entry.open and entry.kind != "job"] == []


def test_a_damaged_file_of_the_dead_job_is_read_from_production(rig: Rig) -> None:
    dead = killed_in_the_second_disk(rig, TRANSPORT_MODE="nbd")
    image = next(rig.root.glob("*.partial")) / "scsi0-0.vmdk"
    data = bytearray(image.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    image.write_bytes(data)
    state = ended(supervisor.resume(dead, rig.settings(TRANSPORT_MODE="nbd")))
    assert state.state == "success"
    assert 0 < state.parts[0].disks["scsi0:0"].read < len(data)
    assert main(["verify", "--backuproot", str(rig.root), "web01", "--depth", "chain"]) == 0


def test_a_resumed_job_that_fails_leaves_nothing(rig: Rig) -> None:
    dead = killed_in_the_second_disk(rig)
    rig.lab.faults.add(Rule("nfc.read", "drop", "data", last=0))
    state = ended(supervisor.resume(dead, rig.settings()))
    assert state.state == "failure"
    assert not rig.snapshots
    assert not list(rig.root.iterdir())


def test_what_cannot_be_resumed_is_told(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    job = rig.start("name:web01")
    ended(job)
    with pytest.raises(ConfigError, match="only a backup whose worker died"):
        supervisor.resume(job, rig.settings())
    dead = killed_in_the_second_disk(rig)
    main(["reconcile", "--yes", "--config", str(rig.config)])
    assert not rig.snapshots
    capsys.readouterr()
    assert main(["resume", dead.id, "--config", str(rig.config), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["result"] == "success", "nothing was left to go on with: it begins anew"


def test_a_snapshot_that_somebody_removed(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    dead = killed_in_the_second_disk(rig)
    (vm,) = [vm for vm in rig.machines if vm.snapshots]
    snapshots.remove(vm.snapshots[0], snapshots.Unwatched())
    assert main(["resume", dead.id, "--config", str(rig.config)]) == 1
    assert "its snapshot is gone" in capsys.readouterr().out

"""Whole commands against the lab: the real flow, the real files, real signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.lab import Lab
from engine.lab.faults import Rule
from engine.lab.vm import VM
from tests.tools import require_tool
from tui.cli.app import main
from tui.cli.inventory import lines


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="small") as lab:
        yield lab


@pytest.fixture
def config(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    password = tmp_path / "password"
    password.write_text(lab.password + "\n")
    password.chmod(0o600)
    (tmp_path / "root").mkdir()
    file = tmp_path / "config.js"
    file.write_text(
        f'BACKUPROOT="{tmp_path / "root"}";\nHOST="{lab.host}";\nPORT="{lab.port}";\nUSERNAME="{lab.user}";\n'
        f'PASSWORD_FILE="password";\nCA_FILE="{lab.ca_file}";\nTRANSPORT_MODE="nbdssl";\nKEEP_FREE="0";\n'
    )
    return str(file)


def test_inventory_plan_and_backup(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inventory", "--config", config, "--json"]) == 0
    machines = json.loads(capsys.readouterr().out)["vms"]
    vm = next(machine for machine in machines if any(disk["skip"] is None for disk in machine["disks"]))

    assert main(["inventory", "--config", config]) == 0
    assert vm["path"] in capsys.readouterr().out

    assert main(["plan", f"moref:{vm['moref']}", "--config", config]) == 0
    assert f"Plan for {vm['name']}" in capsys.readouterr().out
    assert list((tmp_path / "root").iterdir()) == []

    code = main(["backup", f"moref:{vm['moref']}", "--config", config, "--json"])
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert code == answer["exit_code"], err
    assert answer["result"] in ("success", "completed with exceptions")
    assert answer["transport"] == "nbdssl"
    assert Path(answer["points"][0]).is_dir()
    assert "\x1b" not in err


def test_wrong_password_is_one_attempt(
    lab: Lab, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("not the password\n")
    assert main(["inventory", "--config", config]) == 1
    assert "vcb: " in capsys.readouterr().err
    assert lab.vsphere.sessions.refused == {lab.user: 1}


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive), signal.SIGTERM])
def test_a_signal_cancels_and_leaves_nothing(lab: Lab, config: str, tmp_path: Path, number: int) -> None:
    lab.faults.add(Rule("nfc.read", action="delay", phase="data", delay=8, last=0))
    vm = next(one for one in lab.vsphere.objects.values() if isinstance(one, VM) and one.disks)
    command = [sys.executable, "-m", "tui.cli.app", "backup", f"moref:{vm.id}", "--config", config, "--loglevel", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if "open disks: started" in line:  # which reads samples, so that the delay holds it
                os.kill(process.pid, number)
        assert process.wait(60) == 130, "".join(said)
    assert any("Cancelling" in line for line in said)
    assert any(line.startswith("CANCELLED") for line in said)
    assert list((tmp_path / "root").iterdir()) == []
    assert not vm.snapshots


def test_demo(tmp_path: Path) -> None:
    require_tool("qemu-img")
    command = [sys.executable, "-m", "tui.cli.app", "demo", "--headless", "--json", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["result"] == "success"
    assert answer["transport"] == "nbdssl"
    assert answer["disks_skipped"] == []
    assert answer["bytes_provisioned"] > answer["bytes_read"] > answer["bytes_stored"] > 0
    assert [compared["identical"] for compared in answer["compared"]] == [True] * len(answer["vms"][0]["disks"])
    assert Path(answer["points"][0]).is_relative_to(tmp_path)
    assert "Plan for web01" in done.stderr
    assert "identical to the frozen disk" in done.stderr


def test_inventory_tells_what_is_special_about_a_vm() -> None:
    disk = {"name": "scsi0:0", "label": "Hard disk 1", "capacity": 1 << 30, "allocated": None, "file": "[d] x/x.vmdk"}
    skip = {"code": "independent", "text": "Snapshots leave it out."}
    machine = {
        "path": "/DC/vm/a\x1bb",
        "name": "a",
        "moref": "vm-1",
        "power": "suspended",
        "connection": "disconnected",
        "ip": "",
        "hostname": "a.example",
        "template": False,
        "fault_tolerant": False,
        "encrypted": True,
        "consolidation_needed": True,
        "disks": [disk | {"skip": None}, disk | {"skip": skip}],
        "snapshots": [{"name": "before", "created": "soon", "moref": "snapshot-1"}],
    }
    assert [line.plain for line in lines(machine)] == [
        "/DC/vm/a\\x1bb  vm-1  suspended  disconnected  a.example  encrypted  needs consolidation",
        "    scsi0:0   Hard disk 1: 1.0 GiB, [d] x/x.vmdk",
        "    scsi0:0   Hard disk 1: 1.0 GiB, [d] x/x.vmdk",
        "              skipped, independent: Snapshots leave it out.",
        '    snapshot  "before", unknown age, snapshot-1',
    ]

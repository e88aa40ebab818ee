"""The lab as a child process, and as an ESXi host."""

from __future__ import annotations

import http.client
import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vim

from engine.lab import Lab
from tests.lab.soap_client import login

ROOT = Path(__file__).parents[2]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    arguments = [sys.executable, "-m", "engine.lab", "--state", str(tmp_path / "state"), "--vms", "2", "--no-guest"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())
    if process.poll() is None:
        process.kill()
    process.stdout.close()
    process.wait(10)


def test_the_ready_line_is_all_that_a_client_needs(child: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, facts = child
    context = ssl.create_default_context(cafile=facts["ca_file"])
    port = int(facts["url"].rsplit(":", 1)[1].split("/")[0])
    instance = SmartConnect(host="localhost", port=port, user=facts["user"], pwd=facts["password"], sslContext=context)
    content: Any = instance.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    assert len(view.view) == 2
    assert facts["nfc_port"] > 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_shutdown_over_the_control_endpoint(child: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, facts = child
    host, port = facts["control_url"].split("/")[2].split(":")
    connection = http.client.HTTPSConnection(
        host, int(port), context=ssl.create_default_context(cafile=facts["ca_file"]), timeout=30
    )
    connection.request("POST", "/control/shutdown", headers={"Authorization": f"Bearer {facts['control_token']}"})
    assert connection.getresponse().status == 200
    connection.close()
    assert process.wait(20) == 0


def test_it_ends_with_whoever_held_its_standard_input(tmp_path: Path) -> None:
    """A demo that is killed leaves no lab behind."""
    command = [sys.executable, "-m", "engine.lab", "--state", str(tmp_path), "--vms", "1", "--stdinexit"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"]
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "first", seed="empty", guest=False) as lab:
        arguments = [sys.executable, "-m", "engine.lab", "--state", str(tmp_path / "second"), "--port", str(lab.port)]
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"the lab cannot start: .*in use.*\n", done.stderr)


def test_an_esxi_host(tmp_path: Path) -> None:
    with Lab.start(tmp_path, seed="small", guest=False, esx=True) as lab:
        content = login(lab).RetrieveContent()
        assert lab.user == "root"
        assert content.about.apiType == "HostAgent"
        assert content.about.instanceUuid is None
        assert content.rootFolder._moId == "ha-folder-root"
        (datacenter,) = content.rootFolder.childEntity
        assert (datacenter._moId, datacenter.name) == ("ha-datacenter", "ha-datacenter")
        (compute,) = datacenter.hostFolder.childEntity
        assert [host._moId for host in compute.host] == ["ha-host"]
        assert compute.resourcePool._moId == "ha-root-pool"


def test_a_free_esxi_reads_and_refuses_writes(tmp_path: Path) -> None:
    with Lab.start(tmp_path, seed="small", guest=False, esx=True, free_edition=True) as lab:
        content = login(lab).RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        vm = view.view[0]
        assert vm.name
        with pytest.raises(vim.fault.RestrictedVersion):
            vm.CreateSnapshot_Task("x", "", False, False)
        with pytest.raises(vim.fault.RestrictedVersion):
            vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True))


def test_closing_ends_threads_and_connections(tmp_path: Path) -> None:
    lab = Lab.start(tmp_path, seed="empty", guest=False)
    instance = login(lab)
    lab.close()
    lab.close()
    with pytest.raises((OSError, http.client.HTTPException)):
        instance.CurrentTime()

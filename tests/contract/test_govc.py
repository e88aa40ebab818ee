"""govc against the lab: a client that shares no code with pyVmomi, whose type tables the lab is written on.

Exports and imports are in test_govc_ovf.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.lab import Lab
from engine.lab.inventory import Folder
from engine.lab.vm import VM
from tests.lab.rig import MIB, Site, build_site
from tests.tools import require_tool

Govc = Callable[..., str]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        yield running


@pytest.fixture
def site(lab: Lab) -> Site:
    return build_site(lab)


@pytest.fixture
def vm(site: Site) -> VM:
    vm = site.vm("web01", disks=(64 * MIB, 16 * MIB), ip="10.1.2.3")
    vm.add_nic(site.network)
    return vm


@pytest.fixture
def govc(lab: Lab, site: Site, tmp_path: Path) -> Govc:
    return govc_of(lab, tmp_path, GOVC_DATACENTER=site.datacenter.name)


def govc_of(lab: Lab, home: Path, **more: str) -> Govc:
    """govc with nothing of the caller's environment; fails the test when govc fails."""
    program = require_tool("govc")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GOVC_URL": lab.url,
        "GOVC_USERNAME": lab.user,
        "GOVC_PASSWORD": lab.password,
        "GOVC_TLS_CA_CERTS": str(lab.ca_file),
        "GOVC_PERSIST_SESSION": "false",
        **more,
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


def field(text: str, name: str) -> str:
    match = re.search(rf"^ *{re.escape(name)}: *(.*?) *$", text, re.MULTILINE)
    assert match, f"no {name} in\n{text}"
    return match[1]


def test_about(lab: Lab, govc: Govc) -> None:
    text = govc("about")
    assert field(text, "API type") == "VirtualCenter"
    assert field(text, "API version") == "8.0.3.0"
    assert field(text, "UUID") == lab.vsphere.instance_uuid


def test_about_of_version_7(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False, version="7.0.3.0") as lab:
        assert field(govc_of(lab, tmp_path)("about"), "API version") == "7.0.3.0"


def test_find_and_ls(vm: VM, site: Site, govc: Govc) -> None:
    types = tuple(site.datacenter.vm_folder.props["childType"])
    folder = site.datacenter.vm_folder.add(Folder(vm.lab, "Tier", site.datacenter.vm_folder, types))
    site.vm("deep", folder=folder)
    assert govc("find", "/East/vm", "-type", "m").split() == ["/East/vm/web01", "/East/vm/Tier/deep"]
    assert set(govc("find", "/East", "-type", "h").split()) == {
        "/East/host/East-cluster/esx1.east.lab",
        "/East/host/East-cluster/esx2.east.lab",
    }
    assert govc("ls").split() == ["/East/vm", "/East/host", "/East/datastore", "/East/network"]
    assert govc("ls", "vm").split() == ["/East/vm/web01", "/East/vm/Tier"]
    assert govc("ls", "-l", "vm/web01").split() == ["/East/vm/web01", "(VirtualMachine)"]


def test_vm_info(vm: VM, govc: Govc) -> None:
    text = govc("vm.info", "web01")
    assert field(text, "UUID") == vm.uuid
    assert field(text, "Power state") == "poweredOn"
    assert field(text, "IP address") == "10.1.2.3"
    assert field(text, "Host") == "esx1.east.lab"
    described = json.loads(govc("vm.info", "-json", "web01"))["virtualMachines"][0]
    assert described["config"]["instanceUuid"] == vm.instance_uuid
    assert described["runtime"]["consolidationNeeded"] is False
    assert json.loads(govc("vm.info", "-json", "-vm.ip", "10.1.2.3"))["virtualMachines"]


def test_device_info(vm: VM, govc: Govc) -> None:
    text = govc("device.info", "-vm", "web01", "disk-*")
    assert re.findall(r"^ *Name: *(\S+)$", text, re.MULTILINE) == ["disk-1000-0", "disk-1000-1"]
    assert re.findall(r"^ *Summary: *(.+?) *$", text, re.MULTILINE) == ["65,536 KB", "16,384 KB"]
    assert "[East-store] web01/web01.vmdk" in text


def test_snapshots(vm: VM, govc: Govc) -> None:
    govc("snapshot.create", "-vm", "web01", "-m=false", "first")
    govc("snapshot.create", "-vm", "web01", "-m=false", "second")
    assert [line.strip() for line in govc("snapshot.tree", "-vm", "web01").splitlines()] == ["first", "second", "."]
    tree = govc("snapshot.tree", "-vm", "web01", "-i", "-f").splitlines()
    assert re.search(r"\[snapshot-\d+\] +first/second", tree[1])
    govc("snapshot.remove", "-vm", "web01", "first")
    assert [s.name for s in vm.snapshots] == ["second"]
    govc("snapshot.revert", "-vm", "web01", "second")
    govc("snapshot.remove", "-vm", "web01", "*")
    assert vm.snapshots == []


def test_datastores(vm: VM, site: Site, govc: Govc, tmp_path: Path) -> None:
    info = govc("datastore.info", "East-store")
    assert field(info, "Type") == "VMFS"
    assert field(info, "URL") == site.store.url
    assert "web01" in govc("datastore.ls", "-ds", "East-store").split()
    listed = govc("datastore.ls", "-ds", "East-store", "web01").split()
    assert {"web01.vmx", "web01.vmdk", "web01_1.vmdk"} <= set(listed)
    target = tmp_path / "web01.vmx"
    govc("datastore.download", "-ds", "East-store", "web01/web01.vmx", str(target))
    assert f'uuid.bios = "{vm.uuid}"' in target.read_text("utf-8")


def test_power(vm: VM, govc: Govc) -> None:
    govc("vm.power", "-off", "web01")
    assert vm.props["runtime"].powerState == "poweredOff"
    govc("vm.power", "-on", "web01")
    assert vm.props["runtime"].powerState == "poweredOn"


def test_events(vm: VM, govc: Govc) -> None:
    govc("vm.power", "-off", "web01")
    about_vm = govc("events", "vm/web01")
    assert "Task: PowerOffVM" in about_vm
    assert "web01" in govc("events", "-type", "VmPoweredOffEvent", "/East")
    assert "logged in as govc" in govc("events", "/")


def test_tasks(vm: VM, govc: Govc) -> None:
    govc("snapshot.create", "-vm", "web01", "-m=false", "first")
    row = govc("tasks", "vm/web01").splitlines()[1].split()
    assert row[:2] == ["CreateSnapshot", "web01"]
    assert "success" in row


def test_hosts_and_clusters(vm: VM, govc: Govc) -> None:
    text = govc("host.info", "-host", "East-cluster/esx1.east.lab")
    assert field(text, "State") == "connected"
    assert "esx2.east.lab" in govc("host.info", "East-cluster/*")
    assert "Resources" in govc("ls", "host/East-cluster")
    assert "East-net" in govc("ls", "network")
    assert govc("collect", "-s", "vm/web01", "runtime.powerState").strip() == "poweredOn"


def test_sessions_and_permissions(lab: Lab, vm: VM, govc: Govc) -> None:
    assert lab.user in govc("session.ls")
    lab.vsphere.grant("operator@lab", "secret", "ReadOnly", vm)
    assert re.search(r"ReadOnly +\S*web01 +operator@lab", govc("permissions.ls", "vm/web01"))
    assert "VirtualMachine.State.CreateSnapshot" in govc("role.ls", "VMwareConsolidatedBackupUser").split()


def test_a_named_missing_privilege(lab: Lab, vm: VM, site: Site, tmp_path: Path) -> None:
    lab.vsphere.grant("viewer@lab", "secret", "ReadOnly")
    govc = govc_of(lab, tmp_path, GOVC_DATACENTER="East", GOVC_USERNAME="viewer@lab", GOVC_PASSWORD="secret")
    assert "web01" in govc("find", "/East/vm")
    with pytest.raises(AssertionError, match="Permission to perform this operation was denied"):
        govc("snapshot.create", "-vm", "web01", "x")


def test_a_wrong_password_is_one_attempt(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="incorrect user name or password"):
        govc_of(lab, tmp_path, GOVC_PASSWORD="wrong")("ls")
    assert lab.vsphere.sessions.refused[lab.user] == 1


def test_an_esxi_host(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "lab", seed="small", guest=False, esx=True) as lab:
        govc = govc_of(lab, tmp_path)
        assert field(govc("about"), "API type") == "HostAgent"
        assert govc("ls", "/").split() == ["/ha-datacenter"]
        assert len(govc("find", "/", "-type", "m").split()) >= 2

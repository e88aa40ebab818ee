"""govc exports and imports OVF packages and reads datastores of the lab: a client that shares no code with us."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyVmomi import vim

from engine.lab import Lab
from engine.lab.vm import VM
from tests.lab.lease_client import CAPACITY, contents, make_vm, raw_image
from tests.tools import require_tool

Govc = Callable[..., str]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        yield running


@pytest.fixture
def govc(lab: Lab, tmp_path: Path) -> Govc:
    return govc_for(lab, tmp_path)


def govc_for(lab: Lab, tmp_path: Path) -> Govc:
    program = require_tool("govc")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GOVC_URL": lab.url,
        "GOVC_USERNAME": lab.user,
        "GOVC_PASSWORD": lab.password,
        "GOVC_TLS_CA_CERTS": str(lab.ca_file),
        "GOVC_PERSIST_SESSION": "false",
    }

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


def compare(raw: Path, image: Path) -> None:
    qemu_img = require_tool("qemu-img")
    subprocess.run([qemu_img, "check", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, image], check=True, stdout=subprocess.DEVNULL)


def vm_called(lab: Lab, name: str) -> VM:
    return next(vm for vm in lab.vsphere.all_of(vim.VirtualMachine) if vm.name == name)


def test_export_and_import(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    source = make_vm(lab, disks=(CAPACITY, 3 << 20))
    source.add_nic(lab.vsphere.all_of(vim.Network)[0])
    govc("export.ovf", "-vm", "web01", "-sha", "256", "-i", tmp_path)
    package = tmp_path / "web01"
    raw = raw_image(tmp_path / "source.raw", contents(source))
    compare(raw, package / "web01-disk-0.vmdk")
    for algorithm, name, digest in re.findall(r"(\w+)\((.+)\)= (\w+)", (package / "web01.mf").read_text()):
        assert algorithm == "SHA256"
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest
    govc("import.ovf", "-name", "web02", package / "web01.ovf")
    copy = vm_called(lab, "web02")
    for key, twin in zip(source.disks, copy.disks, strict=True):
        assert contents(copy, key=twin) == contents(source, key=key)
    govc("vm.power", "-on", "web02")
    govc("export.ovf", "-f", "-vm", "web01", tmp_path)


def test_import_verified_by_the_manifest(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    """govc compares the checksums that the import lease's manifest reports with the package's."""
    make_vm(lab)
    govc("export.ovf", "-vm", "web01", "-sha", "1", tmp_path)
    govc("import.ovf", "-m", "-name", "web02", tmp_path / "web01" / "web01.ovf")
    assert contents(vm_called(lab, "web02")) == contents(vm_called(lab, "web01"))


def test_export_of_a_running_vm_from_its_snapshot(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    vm = make_vm(lab, power="poweredOn")
    govc("snapshot.create", "-vm", "web01", "-m=false", "backup")
    frozen = contents(vm, vm.current)
    vm.write(next(iter(vm.disks)), 0, b"later" * 10_000)
    govc("export.ovf", "-vm", "web01", "-snapshot", "backup", tmp_path)
    compare(raw_image(tmp_path / "frozen.raw", frozen), tmp_path / "web01" / "web01-disk-0.vmdk")


def test_import_of_an_image_that_qemu_made(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    make_vm(lab)
    govc("export.ovf", "-vm", "web01", tmp_path)
    package = tmp_path / "web01"
    raw = raw_image(tmp_path / "other.raw", b"other contents" * 1000 + bytes(CAPACITY - 14_000))
    image = package / "web01-disk-0.vmdk"
    size = image.stat().st_size
    image.unlink()
    subprocess.run(
        [qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, image], check=True
    )
    descriptor = package / "web01.ovf"
    descriptor.write_text(descriptor.read_text().replace(str(size), str(image.stat().st_size)))
    govc("import.ovf", "-name", "other", descriptor)
    assert contents(vm_called(lab, "other")) == raw.read_bytes()


def test_an_esxi_host_exports_too(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "esx", seed="empty", guest=False, esx=True) as lab:
        govc = govc_for(lab, tmp_path)
        vm = make_vm(lab)
        govc("export.ovf", "-vm", "web01", tmp_path)
        compare(raw_image(tmp_path / "vm.raw", contents(vm)), tmp_path / "web01" / "web01-disk-0.vmdk")
        govc("import.ovf", "-name", "web02", tmp_path / "web01" / "web01.ovf")
        assert contents(vm_called(lab, "web02")) == contents(vm)


def test_the_lease_alone(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    make_vm(lab)
    lease = json.loads(govc("export.ovf", "-json", "-lease", "-vm", "web01", tmp_path))
    assert lease["state"] == "ready"
    assert [url["targetId"] for url in lease["info"]["deviceUrl"]] == ["disk-0.vmdk", "file-1.nvram"]


def test_datastore_ls(lab: Lab, govc: Govc) -> None:
    make_vm(lab)
    assert govc("datastore.ls").split() == ["web01"]
    assert "web01.vmx" in govc("datastore.ls", "web01").split()
    assert govc("datastore.ls", "web01/*.vmdk").split() == ["web01-flat.vmdk", "web01.vmdk"]
    assert re.search(r"web01/\s+web01\.vmx|web01\.vmx", govc("datastore.ls", "-R"))
    assert re.search(r"\d.*B.*web01\.vmx", govc("datastore.ls", "-l", "web01"))


def test_datastore_download(lab: Lab, govc: Govc, tmp_path: Path) -> None:
    vm = make_vm(lab)
    assert "displayName" in govc("datastore.download", "web01/web01.vmx", "-")
    govc("datastore.download", "web01/web01-flat.vmdk", tmp_path / "flat.raw")
    assert (tmp_path / "flat.raw").read_bytes() == contents(vm)
    note = tmp_path / "note.txt"
    note.write_text("hello")
    govc("datastore.upload", note, "web01/note.txt")
    assert govc("datastore.download", "web01/note.txt", "-") == "hello"

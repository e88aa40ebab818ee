"""README's section "Restore without this tool", run as it stands there: qemu-img and govc alone, no code of ours."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.restore.checks import frozen, point_of, same
from tests.tools import require_tool

README = Path(__file__).parents[2] / "README.md"


def commands(mark: str) -> str:
    """The shell block behind a mark in README."""
    return README.read_text().split(f"<!-- {mark} -->\n```sh\n")[1].split("```")[0]


def follow(proxy, point, out: Path, mark: str) -> str:
    """Runs the block with nothing but what the manual says; what it prints."""
    for tool in ("qemu-img", "govc"):
        require_tool(tool)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(out),
        "POINT": str(point.directory),
        "OUT": str(out),
        "GOVC_URL": proxy.lab.url,
        "GOVC_USERNAME": proxy.lab.user,
        "GOVC_PASSWORD": proxy.lab.password,
        "GOVC_TLS_CA_CERTS": str(proxy.lab.ca_file),
        "GOVC_PERSIST_SESSION": "false",
    }
    done = subprocess.run(
        ["bash", "-euc", commands(mark)], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_restored(proxy, point) -> None:
    vm = proxy.vm("web01-restored")
    for disk, original in zip(vm.disks.values(), frozen(proxy, point), strict=True):
        same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", original)
    assert (vm.home.path / f"{vm.stem}.nvram").read_bytes() == (point.directory / "vm.nvram").read_bytes()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    place = tmp_path / "out"
    place.mkdir()
    return place


def test_a_disk_and_the_vm_of_a_full_point(proxy, out):
    point = point_of(proxy)
    follow(proxy, point, out, "without us")
    same(out / "scsi0-0.raw", "raw", frozen(proxy, point)[0])
    assert_restored(proxy, point)


@pytest.mark.parametrize("export_format", ["flat", "sparse"])
def test_the_vm_of_a_point_that_no_import_takes_as_it_is(proxy, out, export_format):
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    follow(proxy, point, out, "without us, made whole")
    assert_restored(proxy, point)
    if export_format == "flat":
        entry = next(file for file in point.manifest.file if file.name == "scsi0-0-flat.vmdk")
        assert entry.blocks == 65536
        assert follow(proxy, point, out, "without us, the hash of blocks").strip() == entry.sha256

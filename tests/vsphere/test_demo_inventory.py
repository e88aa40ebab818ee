"""The demo's inventory holds every awkward case; this is what the client makes of it."""

import io
from collections.abc import Iterator

import pytest

from engine.errors import VmAmbiguous, VmNotFound
from engine.lab import Lab
from engine.vsphere import datastore_files
from engine.vsphere.inventory import VirtualMachine, inventory
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME
from tests.vsphere.conftest import Journal, log_in

Demo = tuple[Session, dict[str, VirtualMachine]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Read only: one lab for all tests here. VMs by path."""
    state = tmp_path_factory.mktemp("demo")
    with Lab.start(state, seed="demo", guest=False) as lab, log_in(lab, Journal()) as session:
        yield session, {vm.path: vm for vm in inventory(session)}


def named(demo: Demo, name: str) -> VirtualMachine:
    return next(vm for vm in demo[1].values() if vm.name == name)


def test_reasons_by_disk(demo: Demo) -> None:
    reasons = {
        (vm.name, disk.name): disk.skip.code for vm in demo[1].values() for disk in vm.disks if disk.skip is not None
    }
    assert reasons == {
        ("scratch01", "scsi0:0"): "independent",
        ("scratch01", "scsi0:1"): "independent",
        ("cluster01", "scsi0:1"): "shared",
        ("db01", "scsi0:1"): "independent",
        ("sap01", "scsi0:1"): "physical-rdm",
    }
    assert [disk.backing for disk in named(demo, "file01").disks] == ["flat", "rdm-virtual"]


def test_a_thin_disk_tells_what_it_holds(demo: Demo) -> None:
    disk = named(demo, "web01").disks[0]
    assert disk.thin
    assert disk.capacity == 72 << 30
    assert disk.allocated is not None
    assert disk.allocated < disk.capacity // 10


def test_states_are_told_apart(demo: Demo) -> None:
    assert named(demo, "golden-debian12").template
    assert named(demo, "archive01").power == "poweredOff"
    assert named(demo, "web02").cbt
    assert [each.name for each in named(demo, "mail01").snapshots] == [SNAPSHOT_NAME]
    assert not named(demo, "appliance01").tools_running


@pytest.mark.parametrize("spec", ["name:app01", "ipaddr:10.0.0.30"])
def test_duplicates_are_listed(demo: Demo, spec: str) -> None:
    with pytest.raises(VmAmbiguous) as caught:
        resolve(demo[0], parse_spec(spec, "name"))
    assert len(caught.value.candidates) == 2
    assert set(caught.value.candidates) <= set(demo[1])
    assert "moref:vm-" in caught.value.hint


def test_a_name_with_a_slash(demo: Demo) -> None:
    vm = named(demo, "Büro/Drucker")
    assert vm.path == "/Europe/Berlin/vm/Büro%2fDrucker"
    assert vm.datacenter == "Europe/Berlin"
    assert resolve(demo[0], parse_spec("name:Büro/Drucker", "ipaddr")) == vm.moref
    assert vm.vmx is not None
    assert datastore_files.download(demo[0], vm.datacenter, vm.vmx, io.BytesIO()) > 0


def test_a_vm_that_is_off_has_no_address(demo: Demo) -> None:
    with pytest.raises(VmNotFound) as caught:
        resolve(demo[0], parse_spec("archive01", "ipaddr"))
    assert "name:" in caught.value.hint


def test_a_near_miss_gets_a_proposal(demo: Demo) -> None:
    for wrong in ("Web01", "web1"):
        with pytest.raises(VmNotFound) as caught:
            resolve(demo[0], parse_spec(f"name:{wrong}", "name"))
        assert "name:web01" in caught.value.hint

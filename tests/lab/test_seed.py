"""The seeds: every case of the demo, morefs that stay, VMs without content that cost nothing."""

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from engine.lab import Lab, contents
from engine.lab.disks import Disk, Place
from engine.lab.sites import GIB, MIB
from tests.lab.model import end, model, named
from tests.lab.test_disks import Store


def identities(vsphere: Any) -> dict[str, str]:
    kinds = (vim.VirtualMachine, vim.Folder, vim.Datacenter, vim.ComputeResource, vim.HostSystem, vim.Datastore)
    return {mo.id: vsphere.path_of(mo) for mo in vsphere.all_of(*kinds)}


def test_the_demo_shows_every_case(tmp_path: Path) -> None:
    vsphere = model(tmp_path, "demo")
    vms = vsphere.all_of(vim.VirtualMachine)
    paths = {vsphere.path_of(vm) for vm in vms}
    assert {
        "Tokyo/vm/Web/web01",
        "Tokyo/vm/app01",
        "Europe/Berlin/vm/app01",
        "Europe/Berlin/vm/Büro%2fDrucker",
    } <= paths
    assert len(vsphere.all_of(vim.HostSystem)) == 3
    assert len(vsphere.all_of(vim.ClusterComputeResource)[0].hosts) == 2
    assert {store.kind for store in vsphere.all_of(vim.Datastore)} == {"VMFS", "NFS", "vsan"}

    web = named(vsphere, "web01")
    assert [disk.capacity for disk in web.disks.values()] == [72 * GIB, 8 * GIB]
    used = sum(length for _, length in web.disks[2000].allocated())
    assert 190 * MIB < used < 220 * MIB
    assert web.value("summary.storage.committed") < 260 * MIB

    assert all(slot.independent for slot in named(vsphere, "scratch01").definition.disks)
    db = named(vsphere, "db01")
    assert [slot.independent for slot in db.definition.disks] == [False, True]
    assert db.value("config.changeTrackingEnabled") is True
    assert db.disks[2000].tracking is not None
    kinds = {disk.kind for vm in vms for disk in vm.disks.values()}
    assert kinds == {"flat", "rdm-physical", "rdm-virtual"}
    assert any(slot.sharing == "sharingMultiWriter" for slot in named(vsphere, "cluster01").definition.disks)
    assert [s.name for s in named(vsphere, "web02").snapshots] == ["before upgrade"]
    assert [s.name for s in named(vsphere, "mail01").snapshots] == ["_VCB-BACKUP_"]
    assert named(vsphere, "stuck01").value("runtime.consolidationNeeded") is True
    assert named(vsphere, "stuck01").snapshots == []
    assert named(vsphere, "archive01").power == "poweredOff"
    assert named(vsphere, "golden-debian12").value("config.template") is True
    assert named(vsphere, "appliance01").value("guest.toolsStatus") == "toolsNotInstalled"
    assert [vm.name for vm in vms].count("app01") == 2
    addresses = [vm.value("guest.ipAddress") for vm in vms]
    assert addresses.count("10.0.0.30") == 2
    end(vsphere)


@pytest.mark.parametrize("seed", ["demo", "small", 5])
def test_morefs_stay_over_a_restart(tmp_path: Path, seed: str | int) -> None:
    first = model(tmp_path, seed)
    known = identities(first)
    states = {vm.id: (vm.uuid, vm.instance_uuid, vm.power) for vm in first.all_of(vim.VirtualMachine)}
    end(first)
    second = model(tmp_path, "empty")
    assert identities(second) == known, "a state keeps the seed it was made from"
    assert {vm.id: (vm.uuid, vm.instance_uuid, vm.power) for vm in second.all_of(vim.VirtualMachine)} == states
    end(second)


def test_owed_contents_are_written_once(tmp_path: Path) -> None:
    """Before they are written the lab may end; afterwards a guest's writes stay."""
    first = model(tmp_path, "small")
    end(first)
    second = model(tmp_path)
    vm = named(second, "web01")
    assert vm.disks[2000].filler is not None
    image = vm.read(2000, 0, 64 * MIB)
    assert 5 * MIB < sum(length for _, length in vm.disks[2000].allocated()) < 8 * MIB
    vm.write(2000, 0, b"the guest")
    third = model(tmp_path)  # the second was killed
    assert named(third, "web01").read(2000, 0, 64 * MIB) == b"the guest" + image[9:]
    end(third)


def test_contents_follow_from_the_recipe(tmp_path: Path) -> None:
    disks = [Disk(Place(Store(tmp_path), name), name, 32 * MIB) for name in ("a", "b")]
    for disk in disks:
        contents.write(disk, f"{4 * MIB}:recipe")
    assert disks[0].read(0, 32 * MIB) == disks[1].read(0, 32 * MIB)
    assert disks[0].read(510, 2) == b"\x55\xaa"


def test_vms_without_content_have_no_files(tmp_path: Path) -> None:
    vsphere = model(tmp_path, 50)
    vms = vsphere.all_of(vim.VirtualMachine)
    assert len(vms) == 50
    assert not list((tmp_path / "datastores" / "labstore").iterdir())
    for vm in vms:
        assert vm.value("summary.config.numVirtualDisks") == 1
        assert vm.value("layoutEx").file
    assert not list((tmp_path / "datastores" / "labstore").iterdir())
    snapshot = vms[0].take_snapshot("s")
    assert vms[0].read(2000, 0, 100, snapshot) == bytes(100)
    vms[0].remove_snapshot(snapshot)
    end(vsphere)


def test_an_unknown_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="demo, small, empty"):
        model(tmp_path, "large")


@pytest.mark.parametrize("esx", [False, True])
def test_the_small_lab_starts_saves_and_records(tmp_path: Path, esx: bool) -> None:
    with Lab.start(tmp_path, seed="small", esx=esx, record=True) as lab:
        vm = named(lab.vsphere, "web01")
        while lab.guest.writes < 3:
            vm.read(2000, 0, 512)
        snapshot = vm.take_snapshot("s")
        frozen = lab.frozen_image(snapshot.id, 2000)
        assert frozen.read_bytes() == vm.read(2000, 0, 64 * MIB, snapshot)
        moref = snapshot.id
    with Lab.start(tmp_path, seed="small", esx=esx, record=True, guest=False) as lab:
        assert [s.id for s in named(lab.vsphere, "web01").snapshots] == [moref]
        assert lab.frozen_image(moref, 2000) == frozen
        assert len(lab.vsphere.all_of(vim.VirtualMachine)) == 3

"""Datastores on LUN images: what guests write is on the LUN, outlives the lab, and is gone with the disk."""

from pathlib import Path

import pytest
from pyVmomi import vim

from engine.lab import Lab
from engine.lab.lun_store import LunStore

MIB = 1 << 20


def started(state: Path) -> Lab:
    return Lab.start(state, seed="small", guest=False, luns=True)


def disk_of(lab: Lab, name: str):
    vm = next(vm for vm in lab.vsphere.all_of(vim.VirtualMachine) if vm.name == name)
    disk = next(iter(vm.store.values()))
    disk.settle()
    return vm, disk


def test_identities_are_published_to_vcenter_and_as_links(tmp_path: Path) -> None:
    with started(tmp_path) as lab:
        volume = lab.vsphere.all_of(vim.Datastore)[0].volume()
        names = [extent.diskName for extent in volume.extent]
        assert volume.uuid == lab.vsphere.luns[0].uuid
        links = Path(str(lab.ready_facts()["san_devices"]))
        assert all((links / f"wwn-0x{name.removeprefix('naa.')}").resolve().is_file() for name in names)


def test_contents_come_back_with_the_lab(tmp_path: Path) -> None:
    with started(tmp_path) as lab:
        vm, disk = disk_of(lab, "off01")
        disk.write(40 * MIB + 5, b"kept" * 1000)
        before = disk.read(0, disk.capacity)
        assert not (disk.place.path / f"{disk.name}-flat.vmdk").exists()
    with started(tmp_path) as lab:
        vm, disk = disk_of(lab, "off01")
        assert disk.read(0, disk.capacity) == before
        disk.write(41 * MIB, b"more")
        assert disk.read(40 * MIB + 5, 4000) == b"kept" * 1000
        assert vm.name == "off01"


def test_a_snapshots_delta_is_merged_into_the_lun(tmp_path: Path) -> None:
    with started(tmp_path) as lab:
        vm, disk = disk_of(lab, "off01")
        frozen = disk.layers[0].storage
        vm.take_snapshot("before", "")
        disk.write(50 * MIB, b"after" * 100)
        seen = bytearray(500)
        frozen.read_into(memoryview(seen), 50 * MIB)
        assert not any(seen)
        disk.tidy([])
        frozen.read_into(memoryview(seen), 50 * MIB)
        assert bytes(seen) == b"after" * 100


def test_without_luns_nothing_changes_and_an_old_state_keeps_its_kind(tmp_path: Path) -> None:
    with Lab.start(tmp_path, seed="small", guest=False) as lab:
        assert lab.ready_facts()["san_devices"] == ""
    with started(tmp_path) as lab:
        assert lab.vsphere.luns == []


@pytest.mark.parametrize("version", [5, 6])
def test_a_store_is_read_back_as_it_was_left_without_a_clean_end(tmp_path: Path, version) -> None:
    def opened() -> LunStore:
        return LunStore(tmp_path / "luns", tmp_path / "by-id", "ds", ("naa.600a",), version)

    store = opened()
    file = store.file("vm1/vm1-flat.vmdk", 600 * MIB)  # more than a descriptor addresses itself
    for offset in (0, 300 * MIB, 599 * MIB):
        file.write(b"here", offset)
    store.file("vm2/vm2-flat.vmdk", 8 * MIB).write(b"gone", 0)
    store.remove("vm2/vm2-flat.vmdk")
    again = opened()
    other = again.file("vm3/vm3-flat.vmdk", 8 * MIB)
    other.write(b"new", MIB)
    found = bytearray(4)
    for offset in (0, 300 * MIB, 599 * MIB):
        again.file("vm1/vm1-flat.vmdk", 600 * MIB).read_into(memoryview(found), offset)
        assert found == b"here"
    assert again.file("vm3/vm3-flat.vmdk", 8 * MIB).extents()[0][0] >= 0
    again.close()

"""A datastore's LUNs among this machine's devices."""

from pathlib import Path

import pytest

from engine.errors import TransportError, VmfsError
from engine.lab.lun_store import LunStore
from engine.transport.san.flat_file import flat_file
from engine.transport.san.lun_lookup import DatastoreLuns, LunExtent, device_of, links, open_devices, read_volume

NAMES = ("naa.600a0b80001234560000000000000001", "naa.600a0b80001234560000000000000002")


def test_the_multipath_map_comes_before_its_paths(tmp_path: Path) -> None:
    name = NAMES[0]
    digits = name[4:]
    assert links(name) == [f"dm-uuid-mpath-3{digits}", f"wwn-0x{digits}", f"scsi-3{digits}"]
    for device in ("sda", "dm-0"):
        (tmp_path / device).touch()
    (tmp_path / f"wwn-0x{digits}").symlink_to(tmp_path / "sda")
    assert device_of(name, tmp_path) == tmp_path / "sda"
    (tmp_path / f"dm-uuid-mpath-3{digits}").symlink_to(tmp_path / "dm-0")
    assert device_of(name, tmp_path) == tmp_path / "dm-0"


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("eui.0025385b71b00d1e", "nvme-eui.0025385b71b00d1e"),
        ("eui.00A098000000AB12", "scsi-200a098000000ab12"),
        ("t10.ATA_____VMware_Virtual_0001", "scsi-1ATA_____VMware_Virtual_0001"),
    ],
)
def test_other_kinds_of_names(tmp_path: Path, name: str, link: str) -> None:
    (tmp_path / link).touch()
    assert device_of(name, tmp_path) == tmp_path / link


def test_what_is_not_here_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="is not presented to this proxy") as caught:
        device_of(NAMES[0], tmp_path)
    assert "Zone" in caught.value.hint
    with pytest.raises(TransportError, match="local disk of the ESXi host"):
        device_of("mpx.vmhba1:C0:T0:L0", tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LunStore:
    return LunStore(tmp_path / "luns", tmp_path / "by-id", "ds1", NAMES, 6)


def luns(store: LunStore, *names: str, uuid: str = "") -> DatastoreLuns:
    return DatastoreLuns("ds1", uuid or store.uuid, tuple(LunExtent(name, 1) for name in names or NAMES))


def test_all_extents_and_the_right_volume(store: LunStore, tmp_path: Path) -> None:
    file = store.file("vm1/vm1-flat.vmdk", 64 << 20)
    file.write(b"hello", 5 << 20)
    store.describe("vm1/vm1.vmdk", f'createType="vmfs"\nRW {(64 << 20) // 512} VMFS "vm1-flat.vmdk"\n')
    found = luns(store)
    devices = open_devices(found, tmp_path / "by-id")
    volume = read_volume(found, devices)
    flat = flat_file(volume, "[ds1] vm1/vm1.vmdk")
    assert (flat.path, flat.capacity) == ("vm1/vm1-flat.vmdk", 64 << 20)
    data = next(extent for extent in volume.extent_map(flat.path).extents if extent.kind == "data")
    assert devices[data.device].read(data.offset, 5) == b"hello"

    foreign = luns(store, uuid="5f1e7b2a-0c3d4e5f-6a7b-8c9d0e1f2a3b")
    with pytest.raises(TransportError, match="vCenter says 5f1e7b2a") as caught:
        read_volume(foreign, devices)
    assert "snapshot or replica" in caught.value.hint


def test_an_extent_that_lacks_or_comes_twice(store: LunStore, tmp_path: Path) -> None:
    one = luns(store, NAMES[0])
    with pytest.raises(VmfsError, match="has 2 extents; 1 were given"):
        read_volume(one, open_devices(one, tmp_path / "by-id"))
    with pytest.raises(TransportError, match="lead to one device"):
        open_devices(luns(store, NAMES[0], NAMES[0]), tmp_path / "by-id")
    with pytest.raises(TransportError, match="names no LUN"):
        open_devices(DatastoreLuns("ds1", store.uuid, ()), tmp_path / "by-id")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('RW 131072 VMFSSPARSE "vm1-000001-delta.vmdk"', "delta of another disk"),
        ('RW 131072 SESPARSE "vm1-000001-sesparse.vmdk"', "delta of another disk"),
        ('RW 131072 VMFSRDM "vm1-rdm.vmdk"', "raw device mapping"),
        ('RW 131072 OTHER "vm1-x.vmdk"', "of type OTHER"),
        ('RW 131072 VMFS "../vm2/vm2-flat.vmdk"', "another directory"),
        ("nothing", "names 0 extents"),
        ('RW 1 VMFS "a-flat.vmdk"\nRW 1 VMFS "b-flat.vmdk"', "names 2 extents"),
    ],
)
def test_what_is_no_flat_disk_is_refused(store: LunStore, tmp_path: Path, line: str, reason: str) -> None:
    store.describe("vm1/vm1.vmdk", f"# Disk DescriptorFile\n{line}\n")
    found = luns(store)
    volume = read_volume(found, open_devices(found, tmp_path / "by-id"))
    with pytest.raises(TransportError, match=reason) as caught:
        flat_file(volume, "[ds1] vm1/vm1.vmdk")
    assert "nbdssl" in caught.value.hint

"""Which block device an attached disk is: by its name, in whatever place the kernel tells it, and by nothing else."""

from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import TransportError
from engine.transport.hotadd import guest_disk

UUID = "6000C29a-bbcc-ddee-ff00-112233445566"
NAME = UUID.replace("-", "").lower()


def block(sysfs: Path, name: str, *, wwid: str = "", page: bytes = b"") -> Path:
    device = sysfs / "block" / name / "device"
    device.mkdir(parents=True)
    (device / "delete").touch()
    if wwid:
        (device / "wwid").write_text(wwid + "\n")
    if page:
        (device / "vpd_pg83").write_bytes(page)
    return device


def found(tmp_path: Path) -> set[str]:
    return {path.name for path in guest_disk.devices_of(UUID, tmp_path / "by-id", tmp_path)}


def test_by_wwid(tmp_path: Path) -> None:
    block(tmp_path, "sda", wwid="naa.6000c29000000000000000000000000a")
    block(tmp_path, "sdb", wwid=f"naa.{NAME}")
    block(tmp_path, "sdc")  # the newest
    assert found(tmp_path) == {"sdb"}


def test_by_the_identification_page(tmp_path: Path) -> None:
    page = b"\x00\x83\x00\x14\x01\x03\x00\x10" + bytes.fromhex(NAME)
    block(tmp_path, "sdb", wwid="t10.VMware  Virtual disk", page=page)
    assert found(tmp_path) == {"sdb"}


def test_a_neighbour_whose_name_is_no_text(tmp_path: Path) -> None:
    other = block(tmp_path, "sda")
    (other / "wwid").write_bytes(b"t10.\xff\xfe vendor\n")
    block(tmp_path, "sdb", wwid=f"naa.{NAME}")
    assert found(tmp_path) == {"sdb"}


@pytest.mark.parametrize("link", [f"wwn-0x{NAME}", f"scsi-3{NAME}"])
def test_by_udevs_links(tmp_path: Path, link: str) -> None:
    (tmp_path / "by-id").mkdir()
    (tmp_path / "sdb").touch()
    (tmp_path / "by-id" / link).symlink_to(tmp_path / "sdb")
    assert found(tmp_path) == {"sdb"}


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    block(tmp_path, "sda", wwid=f"naa.{NAME}")
    block(tmp_path, "sdb", wwid=f"naa.{NAME}")
    with pytest.raises(TransportError, match="Several devices"):
        guest_disk.await_device(UUID, tmp_path / "by-id", CancelToken(), tmp_path)


def test_one_that_never_shows_is_an_error_after_the_buses_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_disk, "PATIENCE", 0.2)
    scan = tmp_path / "class" / "scsi_host" / "host0" / "scan"
    scan.parent.mkdir(parents=True)
    scan.touch()
    block(tmp_path, "sda", wwid="naa.6000c29000000000000000000000000a")
    with pytest.raises(TransportError, match="did not show") as caught:
        guest_disk.await_device(UUID, tmp_path / "by-id", CancelToken(), tmp_path)
    assert "disk.EnableUUID" in caught.value.hint
    assert scan.read_text() == "- - -"


@pytest.mark.parametrize("uuid", ["", "6000C29a"])
def test_without_a_whole_uuid_no_device_is_believed(tmp_path: Path, uuid: str) -> None:
    block(tmp_path, "sda", wwid="naa.")
    with pytest.raises(TransportError, match="prove its device"):
        guest_disk.devices_of(uuid, tmp_path / "by-id", tmp_path)


def test_the_kernel_is_told_to_let_exactly_this_device_go(tmp_path: Path) -> None:
    other = block(tmp_path, "sda", wwid="naa.6000c29000000000000000000000000a")
    mine = block(tmp_path, "sdb", wwid=f"naa.{NAME}")
    guest_disk.forget(UUID, tmp_path / "by-id", tmp_path)
    assert (mine / "delete").read_text() == "1"
    assert (other / "delete").read_text() == ""


def test_a_device_of_another_size_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "sdb"
    image.write_bytes(bytes(8192))
    guest_disk.open_checked(image, 8192).close()
    with pytest.raises(TransportError, match="the frozen disk has 4,096"):
        guest_disk.open_checked(image, 4096)


def test_the_machines_own_uuid_in_both_byte_orders(tmp_path: Path) -> None:
    told = tmp_path / "class" / "dmi" / "id" / "product_uuid"
    with pytest.raises(TransportError, match="does not tell its BIOS UUID"):
        guest_disk.own_uuids("", tmp_path)
    told.parent.mkdir(parents=True)
    told.write_text("4237A1B2-C3D4-E5F6-0718-293A4B5C6D7E\n")
    assert guest_disk.own_uuids("", tmp_path) == (
        "4237a1b2-c3d4-e5f6-0718-293a4b5c6d7e",
        "b2a13742-d4c3-f6e5-0718-293a4b5c6d7e",
    )

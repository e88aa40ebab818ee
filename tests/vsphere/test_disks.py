"""Devices as the server sends them, as disks with addresses, sizes and reasons to be skipped."""

from xml.etree import ElementTree

import pytest

from engine.vsphere.decoding import decode
from engine.vsphere.disks import Disk, disks_of, places, read_devices

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
CONTROLLER = """<VirtualDevice xsi:type="{kind}"><key>{key}</key><deviceInfo><label>c</label><summary/></deviceInfo>
<busNumber>{bus}</busNumber>{shared}</VirtualDevice>"""
DISK = """<VirtualDevice xsi:type="VirtualDisk"><key>2000</key><deviceInfo><label>Hard disk 1</label>
<summary>x</summary></deviceInfo>
<backing xsi:type="{backing}"><fileName>[store 1] web/web.vmdk</fileName><diskMode>{mode}</diskMode>{more}
</backing><controllerKey>1000</controllerKey><unitNumber>3</unitNumber><capacityInKB>2048</capacityInKB>
<capacityInBytes>2097152</capacityInBytes></VirtualDevice>"""
FLAT = "VirtualDiskFlatVer2BackingInfo"
RDM = "VirtualDiskRawDiskMappingVer1BackingInfo"


def devices(*parts: str) -> list:
    body = "".join(parts)
    text = f'<val {XSI} xsi:type="ArrayOfVirtualDevice" xmlns="urn:vim25">{body}</val>'
    return read_devices(ElementTree.fromstring(text))


def one(
    backing: str = FLAT, mode: str = "persistent", more: str = "", *, kind: str = "ParaVirtualSCSIController"
) -> Disk:
    controller = CONTROLLER.format(kind=kind, key=1000, bus=1, shared="<sharedBus>noSharing</sharedBus>")
    (disk,) = disks_of(devices(controller, DISK.format(backing=backing, mode=mode, more=more)))
    return disk


def test_what_a_plain_disk_says() -> None:
    disk = one(more="<uuid>6000C29a-1</uuid><thinProvisioned>true</thinProvisioned><changeId>52 aa/7</changeId>")
    assert disk == Disk(
        key=2000,
        name="scsi1:3",
        label="Hard disk 1",
        capacity=2097152,
        allocated=None,
        file="[store 1] web/web.vmdk",
        datastore="store 1",
        mode="persistent",
        backing="flat",
        uuid="6000C29a-1",
        thin=True,
        change_id="52 aa/7",
        skip=None,
    )


@pytest.mark.parametrize(
    ("backing", "mode", "more", "kind", "code"),
    [
        (FLAT, "persistent", "", "flat", None),
        ("VirtualDiskSeSparseBackingInfo", "persistent", "", "sesparse", None),
        ("VirtualDiskSparseVer2BackingInfo", "persistent", "", "sparse", None),
        (RDM, "persistent", "<compatibilityMode>virtualMode</compatibilityMode>", "rdm-virtual", None),
        (
            RDM,
            "independent_persistent",
            "<compatibilityMode>virtualMode</compatibilityMode>",
            "rdm-virtual",
            "independent",
        ),
        (RDM, "persistent", "<compatibilityMode>physicalMode</compatibilityMode>", "rdm-physical", "physical-rdm"),
        (
            RDM,
            "independent_persistent",
            "<compatibilityMode>physicalMode</compatibilityMode>",
            "rdm-physical",
            "physical-rdm",
        ),
        (FLAT, "independent_persistent", "", "flat", "independent"),
        (FLAT, "independent_nonpersistent", "", "flat", "independent"),
        (FLAT, "persistent", "<sharing>sharingMultiWriter</sharing>", "flat", "shared"),
        (FLAT, "persistent", "<sharing>sharingNone</sharing>", "flat", None),
        (FLAT, "nonpersistent", "", "flat", "nonpersistent"),
        (FLAT, "undoable", "", "flat", "nonpersistent"),
        (FLAT, "append", "", "flat", "nonpersistent"),
        ("VirtualDiskLocalPMemBackingInfo", "persistent", "", "other", "unsupported"),
        ("VirtualDiskOfTheFutureBackingInfo", "persistent", "", "other", "unsupported"),
    ],
)
def test_which_disks_are_skipped_and_why(backing: str, mode: str, more: str, kind: str, code: str | None) -> None:
    disk = one(backing, mode, more)
    assert disk.backing == kind
    assert (disk.skip.code if disk.skip else None) == code
    assert disk.skip is None or disk.skip.text.endswith(".")


def test_a_shared_bus_excludes_its_disks() -> None:
    controller = CONTROLLER.format(
        kind="ParaVirtualSCSIController", key=1000, bus=0, shared="<sharedBus>physicalSharing</sharedBus>"
    )
    (disk,) = disks_of(devices(controller, DISK.format(backing=FLAT, mode="persistent", more="")))
    assert disk.skip is not None
    assert disk.skip.code == "shared"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("VirtualLsiLogicController", "scsi1:3"),
        ("VirtualLsiLogicSASController", "scsi1:3"),
        ("VirtualBusLogicController", "scsi1:3"),
        ("VirtualAHCIController", "sata1:3"),
        ("VirtualNVMEController", "nvme1:3"),
        ("VirtualIDEController", "ide1:3"),
    ],
)
def test_addresses_on_every_bus(kind: str, name: str) -> None:
    assert one(kind=kind).name == name


def test_other_devices_are_not_decoded() -> None:
    network = '<VirtualDevice xsi:type="VirtualVmxnet3"><key>4000</key></VirtualDevice>'
    assert devices(network) == []


def test_places_are_those_of_leases() -> None:
    controller = CONTROLLER.format(kind="ParaVirtualSCSIController", key=1000, bus=1, shared="")
    found = places(devices(controller, DISK.format(backing=FLAT, mode="persistent", more="")))
    assert found == {2000: "ParaVirtualSCSIController1:3"}


def test_allocated_is_the_data_of_the_whole_chain() -> None:
    controller = CONTROLLER.format(kind="ParaVirtualSCSIController", key=1000, bus=0, shared="")
    files = [
        {"key": 0, "name": "[s] w/w.vmdk", "type": "diskDescriptor", "size": 500},
        {"key": 1, "name": "[s] w/w-flat.vmdk", "type": "diskExtent", "size": 10_000},
        {"key": 2, "name": "[s] w/w-000001-delta.vmdk", "type": "diskExtent", "size": 600},
    ]
    chain = [{"fileKey": [0, 1]}, {"fileKey": [2]}]
    layout = {"layoutEx.file": files, "layoutEx.disk": [{"key": 2000, "chain": chain}]}
    (disk,) = disks_of(devices(controller, DISK.format(backing=FLAT, mode="persistent", more="")), layout)
    assert disk.allocated == 10_600


def test_unknown_types_and_members_do_not_stop_an_answer() -> None:
    text = f"""<val {XSI} xmlns="urn:vim25" xsi:type="ThingOfTheFuture"><a>1</a><b><c>2</c></b><b><c>3</c></b></val>"""
    assert decode(ElementTree.fromstring(text)) == {
        "_type": "ThingOfTheFuture",
        "a": "1",
        "b": [{"_type": "", "c": "2"}, {"_type": "", "c": "3"}],
    }
    text = f"""<val {XSI} xmlns="urn:vim25" xsi:type="Description"><label>l</label><colour>red</colour></val>"""
    assert decode(ElementTree.fromstring(text)) == {"_type": "Description", "label": "l", "colour": "red"}

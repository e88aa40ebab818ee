"""The VMDK text descriptor: ours read by ourselves and by qemu-img, foreign ones, and broken ones."""

import pytest

from engine.errors import ImageError
from engine.image.descriptor import Descriptor, ExtentLine, disk_database, new_cid, parse
from tests.image.disks import GIB, TIB

ESX = b"""# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=7C3A91e
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfs"

# Extent description
RW 150994944 VMFS "web 01-flat.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.longContentID = "0123456789abcdef0123456707c3a91e"
ddb.thinProvisioned = "1"
ddb.uuid = "60 00 C2 9a 00 00 00 00-00 00 00 00 00 00 00 01"
"""


def test_a_descriptor_of_esx() -> None:
    read = parse(ESX.replace(b"\n", b"\r\n") + bytes(1000))
    assert (read.cid, read.parent_cid, read.has_parent) == ("07c3a91e", "ffffffff", False)
    assert read.create_type == "vmfs"
    assert read.extents == (ExtentLine("RW", 150994944, "VMFS", "web 01-flat.vmdk"),)
    assert read.capacity == 72 * GIB
    assert read.ddb["ddb.thinprovisioned"] == "1"


def test_written_and_read_again() -> None:
    extent = ExtentLine("RW", 2048, "FLAT", "Büro \udcff-flat.vmdk", 0)
    one = Descriptor(
        "monolithicFlat", (extent,), parent_cid="00000001", parent_hint="base.vmdk", ddb={"ddb.adaptertype": "lsilogic"}
    )
    assert parse(one.encoded()) == one
    assert one.has_parent


def test_ids_are_random_and_never_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0xFFFFFFFF, 0xFFFFFFFE, 0x1A])
    monkeypatch.setattr("secrets.randbits", lambda bits: next(drawn))
    assert new_cid() == "0000001a"


@pytest.mark.parametrize(
    ("capacity", "cylinders", "heads", "sectors"),
    [(512, 1, 64, 32), (GIB, 1024, 64, 32), (2 * GIB, 1024, 128, 32), (72 * GIB, 9399, 255, 63)],
)
def test_geometry(capacity: int, cylinders: int, heads: int, sectors: int) -> None:
    ddb = disk_database(capacity)
    assert [int(ddb[f"ddb.geometry.{part}"]) for part in ("cylinders", "heads", "sectors")] == [
        cylinders,
        heads,
        sectors,
    ]
    assert int(disk_database(62 * TIB)["ddb.geometry.cylinders"]) * 255 * 63 * 512 <= 62 * TIB


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "does not begin"),
        (b"\x7fELF" + bytes(100), "does not begin"),
        (ESX.replace(b"CID=7C3A91e\n", b""), "no CID"),
        (ESX.replace(b"createType", b"otherType"), "no createType"),
        (ESX.replace(b"RW 150994944", b"# RW 1"), "no extents"),
        (ESX.replace(b"7C3A91e", b"hello"), "not a content id"),
        (ESX + b"what is this line\n", "Line 19 .*what is this line"),
        (ESX + b"#" * (1 << 20), "not plausible"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_broken_descriptors_are_told(text: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        parse(text)


@pytest.mark.parametrize("name", ['a"b', "a\nb"])
def test_names_that_would_break_the_text_are_refused(name: str) -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        ExtentLine("RW", 1, "FLAT", name, 0).text()

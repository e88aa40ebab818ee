"""Damaged input from outside, in stated numbers: only the engine's own errors come out, soon, and in bounded memory."""

import io
import os
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pytest

from engine.errors import ImageError, VcbError
from engine.image import descriptor
from engine.image.chain import open_disk
from engine.image.reader import open_image
from engine.image.stream_decoder import StreamDecoder
from engine.points import catalog, manifest as manifests, proof as proofs
from engine.vsphere.connection import Undecodable
from engine.vsphere.disks import read_devices
from engine.vsphere.properties import parse_objects
from tests.faults import scene as scenes
from tests.image.disks import MIB, export_all, random_disk

_INPUTS = int(os.environ.get("VCB_FUZZ_INPUTS", "300"))
"""Of each test of the default run; the exhaustive ones take twenty times as many."""
_MEMORY = 200 << 20
"""Bytes that this process may grow while it reads whatever comes."""


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Bits flipped, cut, doubled, blown up, numbers made extreme: one to four of these."""
    broken = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(max(1, len(broken)))
        match dice.randrange(6):
            case 0:
                broken[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del broken[at:]
            case 2:
                del broken[at : at + dice.randrange(1, 600)]
            case 3:
                broken[at:at] = broken[at : at + dice.randrange(1, 600)]
            case 4:
                number = dice.choice((0, 1, 0x7F, 0xFF, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1))
                broken[at : at + 8] = number.to_bytes(8, "little")
            case _:
                broken[at:at] = dice.choice((b"<", b"]]>", b"&x;", b"\0", b"[[", b'"', b"\xff\xfe", b"9" * 400))
    return bytes(broken)


def bounded(act: Callable[[], None]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    act()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < _MEMORY


def answers() -> list[bytes]:
    """What a server says: every kind of value, nested, missing, and a page's token."""
    devices = "".join(
        f'<VirtualDevice xsi:type="VirtualDisk"><key>{key}</key><backing xsi:type="VirtualDiskFlatVer2BackingInfo">'
        f"<fileName>[ds] web01/web01_{key}.vmdk</fileName><diskMode>persistent</diskMode><thinProvisioned>true"
        f"</thinProvisioned></backing><controllerKey>1000</controllerKey><unitNumber>{key - 2000}</unitNumber>"
        f"<capacityInKB>1024</capacityInKB><capacityInBytes>1048576</capacityInBytes></VirtualDevice>"
        for key in (2000, 2001)
    )
    values = {
        "name": '<val xsi:type="xsd:string">web01</val>',
        "runtime.powerState": '<val xsi:type="VirtualMachinePowerState">poweredOn</val>',
        "runtime.bootTime": '<val xsi:type="xsd:dateTime">2026-11-22T02:15:00Z</val>',
        "config.hardware.device": f'<val xsi:type="ArrayOfVirtualDevice">{devices}</val>',
        "parent": '<val type="Folder" xsi:type="ManagedObjectReference">group-v3</val>',
        "config.changeTrackingEnabled": '<val xsi:type="xsd:boolean">true</val>',
        "config.hardware.memoryMB": '<val xsi:type="xsd:int">4096</val>',
    }
    members = "".join(f"<propSet><name>{name}</name>{value}</propSet>" for name, value in values.items())
    objects = f'<objects><obj type="VirtualMachine">vm-7</obj>{members}</objects>' * 3
    return [
        (
            '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/'
            'envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-'
            'instance"><soapenv:Body><RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><token>1</token>'
            f"{objects}</returnval></RetrievePropertiesExResponse></soapenv:Body></soapenv:Envelope>"
        ).encode()
    ]


def read_answers(inputs: int, seed: int) -> None:
    """ParseError and Undecodable are what a session makes a ConnectError of."""
    dice, (good,) = random.Random(seed), answers()
    readers = {"config.hardware.device": read_devices}
    rows, token = parse_objects(io.BytesIO(good), readers)
    assert (len(rows), token) == (3, "1")
    for _ in range(inputs):
        with suppress(ParseError, Undecodable):
            parse_objects(io.BytesIO(damaged(good, dice)), readers)


def test_property_answers() -> None:
    bounded(lambda: read_answers(_INPUTS * 3, 1))


BOMB = b'<!DOCTYPE b [<!ENTITY a "%s">%s]><b>&l9;</b>' % (
    b"x" * 4096,
    b"".join(b'<!ENTITY l%d "%s">' % (n, (b"&l%d;" % (n - 1) if n else b"&a;") * 10) for n in range(10)),
)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(BOMB, id="entity bomb"),
        pytest.param(b"<a>" * 200_000, id="deep"),
        pytest.param(
            b'<o xmlns="urn:vim25"><objects><obj type="VirtualMachine">vm-1</obj><propSet><name>x</name><val>'
            + b"<a>" * 5_000 + b"</a>" * 5_000 + b"</val></propSet></objects></o>",
            id="deep value",
        ),
        pytest.param(b'<o xmlns="urn:vim25">' + b"<a/>" * 1_000_100 + b"</o>", id="endless object"),
        pytest.param(b'<o xmlns="urn:vim25"><objects><obj>vm-1</obj></objects></o>', id="no reference"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><o/>', id="unknown encoding"),
        pytest.param(b"", id="empty"),
    ],
)  # fmt: skip
def test_answers_made_to_hurt(answer: bytes) -> None:
    with pytest.raises((ParseError, Undecodable)):
        parse_objects(io.BytesIO(answer), {})


def read_images(directory: Path, inputs: int, seed: int) -> None:
    """The reader (headers, grain directory and tables, descriptors) and the decoder of streams."""
    dice = random.Random(seed)
    source = random_disk(seed, 3 * MIB, 8)
    goods = {}
    for kind in ("compact", "sparse", "flat"):
        export_all(source, directory / f"{kind}.vmdk", kind)
        goods[kind] = (directory / f"{kind}.vmdk").read_bytes()
    target = directory / "broken.vmdk"
    for number in range(inputs):
        good = goods["flat" if number % 5 == 0 else "compact"]
        head = dice.random() < 0.5  # most of a file is data: the tables get their share
        broken = damaged(good[:3072], dice) + good[3072:] if head else damaged(good, dice)
        if dice.random() < 0.3 and good is goods["compact"]:
            broken = good[:-2048] + damaged(good[-2048:], dice)
        target.write_bytes(broken)
        _read_whole(target)
        try:
            decoder = StreamDecoder()
            for at in range(0, len(broken), 70_000):
                decoder.feed(broken[at : at + 70_000])
            decoder.finish()
        except VcbError:
            pass


def _read_whole(path: Path) -> None:
    for opener in (open_image, open_disk):
        try:
            image = opener(path)
        except VcbError:
            continue
        try:
            buffer = memoryview(bytearray(min(image.capacity, 4 * MIB)))
            image.allocated()
            image.read_into(0, buffer)
        except VcbError:
            pass
        finally:
            image.close()


def test_images(tmp_path: Path) -> None:
    bounded(lambda: read_images(tmp_path, _INPUTS, 2))


def test_descriptors() -> None:
    dice = random.Random(3)
    good = (
        b'# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=fffffffe\nparentCID=ffffffff\n'
        b'createType="streamOptimized"\n\nRW 6144 SPARSE "disk.vmdk"\n\nddb.adapterType = "lsilogic"\n'
    )
    assert descriptor.parse(good).capacity == 6144 * 512
    for _ in range(_INPUTS * 5):
        with suppress(ImageError):
            descriptor.parse(damaged(good, dice))


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fuzz") / "template"
    scenes.build_template(directory)
    return next(directory.glob("backuproot/points/*/*"))


def test_manifests_and_proofs(point: Path, tmp_path: Path) -> None:
    dice = random.Random(4)
    root = tmp_path / "root"
    copy = root / "points" / "web01-vm-1" / point.name
    copy.mkdir(parents=True)
    for number in range(_INPUTS):
        for name in (manifests.FILE_NAME, proofs.FILE_NAME):
            (copy / name).write_bytes(damaged((point / name).read_bytes(), dice))
        for read in (manifests.read, proofs.read):
            with suppress(ImageError):
                read(copy)
        if number % 50 == 0:
            catalog.look(root, tmp_path / "state")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = " + "[" * 50_000, id="deep"),
        pytest.param("[a" + ".a" * 3_000 + "]", id="long key"),
        pytest.param("x = 1" * 10, id="no TOML"),
        pytest.param("format = 9e999", id="infinite"),
    ],
)
def test_manifests_made_to_hurt(tmp_path: Path, text: str) -> None:
    (tmp_path / manifests.FILE_NAME).write_text(text)
    with pytest.raises(ImageError):
        manifests.read(tmp_path)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_twenty_times_as_many(tmp_path: Path) -> None:
    bounded(lambda: read_answers(_INPUTS * 60, 5))
    bounded(lambda: read_images(tmp_path, _INPUTS * 20, 6))

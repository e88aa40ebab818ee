"""Damage on the whole way of a `san` backup: a datastore on two LUNs, the disk's descriptor, its map, every byte of it.

Whatever is damaged, the disk is read to its end or refused with an error that says what to do instead; never a crash,
a circle, or a read outside of a device. VMFS-5 and 6, the latter with large file blocks too.
"""

import random
from collections.abc import Sequence
from typing import cast

import pytest

from engine.errors import TransportError, VmfsError
from engine.extents import total
from engine.lab.vmfs.form import BLOCK
from engine.lab.vmfs.volume import Volume
from engine.transport.block_device import BlockDevice
from engine.transport.san.source import SanSource
from engine.transport.vmfs.directory import lookup
from engine.transport.vmfs.file_descriptor import Addressing
from engine.transport.vmfs.volume import open_volume
from tests.vmfs.damaged import Damaged, Image, image_of
from tests.vmfs.volumes import FLAT

FILE = f"[ds1] {FLAT.replace('-flat.vmdk', '.vmdk')}"
BIG = "a/b/big-flat.vmdk"
LVM = (1 << 20) + (1 << 20)
"""The LVM header: the partition begins at 1 MiB, and it lies 1 MiB behind its beginning."""


def _thin(volume: Volume) -> int:
    """Over the border of the two LUNs, with pointer blocks; beside it a disk that needs two levels of them."""
    first = volume.luns.group.size // 2 // BLOCK
    volume.allocate(volume.add_thin("filler", (first - volume.blocks_given - 16) * BLOCK))
    file = volume.add_thin(FLAT, 2 << 30)
    for slot in (*range(24), 1000, 2000):
        volume.write(file, slot * BLOCK, b"data")
    volume.write(volume.add_thin(BIG, 3 << 40 if volume.form.version == 6 else 300 << 30), 0, b"data")
    return file.length


def _large(volume: Volume) -> int:
    data = b"data" * (BLOCK // 4) + bytes(520 * BLOCK) + b"more" * (BLOCK // 4)
    volume.write(volume.add_thin(BIG, 3 << 40), 0, b"data")
    return volume.add_large(FLAT, data).length


CASES = [
    pytest.param((5, _thin, 512), id="vmfs5"),
    pytest.param((6, _thin, 512), id="vmfs6"),
    pytest.param((6, _large, 2048), id="vmfs6-large-blocks", marks=pytest.mark.exhaustive),
]


@pytest.fixture(scope="module", params=CASES)
def datastore(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """Two LUNs, with the disk on both."""
    version, fill, mebibytes = request.param
    paths = [tmp_path_factory.mktemp("vmfs") / name for name in ("lun1", "lun2")]
    volume = Volume.create(paths, version=version, size=mebibytes << 20, label="ds1", seed=version)
    length = fill(volume)
    volume.add_file(FILE.partition("] ")[2], f'createType="vmfs"\nRW {length // 512} VMFS "vm1-flat.vmdk"\n'.encode())
    volume.flush()
    volume.close()
    return [image_of(path) for path in paths]


def devices_of(datastore: Sequence[Image]) -> list[Damaged]:
    return [Damaged(*image) for image in datastore]


def backed_up(devices: Sequence[Damaged]) -> TransportError | None:
    """The disk read as a backup does, all that it holds; or the error that says why not."""
    try:
        _read(devices)
    except TransportError as error:
        refusal = error
    else:
        return None
    assert refusal.hint
    assert refusal.sentence.endswith((".", "?"))
    assert len(refusal.sentence) < 300
    assert refusal.sentence.isprintable()
    return refusal


def _read(devices: Sequence[Damaged]) -> None:
    blocks = cast(Sequence[BlockDevice], devices)
    source = SanSource(FILE, blocks, lambda: open_volume(blocks), pause=lambda _: None)
    extents = source.allocated()
    assert all(extent.start >= 0 and extent.end <= source.capacity for extent in extents)
    if total(extents) <= 64 << 20:  # a hole that became large blocks is mapped, not read
        for extent in extents:
            source.read_into(extent.start, memoryview(bytearray(extent.length)))
    source.check_map()


def live(datastore: Sequence[Image]) -> list[tuple[int, int, int]]:
    """(device, offset, length) of what a backup reads of the undamaged one, data left out."""
    devices = devices_of(datastore)
    assert backed_up(devices) is None
    assert all(device.ranges for device in devices)
    return sorted({(n, *place) for n, device in enumerate(devices) for place in device.ranges if place[1] < BLOCK})


def test_undamaged_it_lies_on_both_luns_and_is_read(datastore: list[Image]) -> None:
    devices = devices_of(datastore)
    kinds = {(extent.kind, extent.device) for extent in open_volume(devices).extent_map(FLAT).extents}
    assert ("data", 0) in kinds
    assert ("data", 1) in kinds
    assert backed_up(devices) is None


def flip(devices: Sequence[Damaged], places: Sequence[tuple[int, int, int]], chance: random.Random) -> None:
    device, offset, length = chance.choice(places)
    at = offset + chance.randrange(min(length, chance.choice((64, 512, length))))
    held = devices[device].read(at, 1)[0]
    devices[device].patches[at] = held ^ 1 << chance.randrange(8)


MANY = pytest.param(3_000, marks=[pytest.mark.endurance, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("rounds", [15, pytest.param(100, marks=pytest.mark.exhaustive), MANY])
def test_flipped_bits_of_whatever_is_read(datastore: list[Image], rounds: int) -> None:
    chance, places = random.Random(rounds), live(datastore)
    refused = 0
    for _ in range(rounds):
        devices = devices_of(datastore)
        for _ in range(chance.choice((1, 1, 1, 4))):
            flip(devices, places, chance)
        refused += backed_up(devices) is not None
    assert refused


@pytest.mark.parametrize("rounds", [8, pytest.param(80, marks=pytest.mark.exhaustive)])
def test_a_lun_that_is_shorter_than_its_volume(datastore: list[Image], rounds: int) -> None:
    chance = random.Random(rounds)
    for _ in range(rounds):
        devices = devices_of(datastore)
        short = chance.choice(devices)
        short.size = chance.choice((0, 511, 1 << 20, chance.randrange(short.size), short.size - BLOCK))
        assert backed_up(devices) is not None


def test_a_lun_whose_blocks_are_those_of_another_time(datastore: list[Image]) -> None:
    """Zeros, ones and noise where there was metadata: a page in each of its structures."""
    chance = random.Random(1)
    for device, offset, length in chance.sample(live(datastore), 12):
        for filling in (b"\0", b"\xff", None):
            devices = devices_of(datastore)
            size = min(length, 4096)
            noise = filling * size if filling else chance.randbytes(size)
            devices[device].patches.update({offset + n: value for n, value in enumerate(noise)})
            backed_up(devices)


def descriptor_at(devices: Sequence[Damaged]) -> tuple[int, int]:
    """(device, offset) of the text of the disk's descriptor."""
    for number, device in enumerate(devices):
        for page, data in device.pages:
            if (at := data.find(b'createType="vmfs"')) >= 0:
                return number, (page << 16) + at
    raise LookupError


TEXTS = [
    b"RW 99999999999999999999 VMFS",
    b'RW 0 VMFS ""',
    b'RW 8 VMFS ".."',
    b'RW 1 SESPARSE "vm1-flat.vmdk"',
    b'RW -5 VMFS "vm1-flat.vmdk"',
    b'RW 99999999999999999999 VMFS "vm1-flat.vmdk"',
    b'RW 8 VMFS "\xff\n\x1b[2J\r.vmdk"',
    b"\xff" * 24,
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_descriptor_that_says_what_can_not_be(datastore: list[Image], text: bytes) -> None:
    devices = devices_of(datastore)
    number, at = descriptor_at(devices)
    written = b"\n" + text + b"\n" + b"#" * (62 - len(text))
    devices[number].patches.update({at + n: value for n, value in enumerate(written)})
    assert backed_up(devices) is not None


def field(devices: Sequence[Damaged], number: int, at: int, value: int, size: int) -> None:
    devices[number].patches.update({at + n: byte for n, byte in enumerate(value.to_bytes(size, "little"))})


def test_an_lvm_table_that_leads_in_a_circle(datastore: list[Image]) -> None:
    for following in (1 << 20, 0, (1 << 20) + 4096):
        devices = devices_of(datastore)
        field(devices, 0, LVM + 0x6A, 200_000, 4)
        field(devices, 0, LVM + 0xC2, following, 8)
        assert isinstance(backed_up(devices), VmfsError)


def test_a_pointer_block_that_leads_to_itself(datastore: list[Image]) -> None:
    devices = devices_of(datastore)
    system = open_volume(devices)._system
    file = lookup(system, BIG)
    assert file.addressing is Addressing.DOUBLE_POINTER_BLOCKS
    top = next(address for address in file.pointers if address)
    system.pointer_block(top)  # once for all that leads there
    system._pointer_blocks.clear()
    for device in devices:
        device.ranges.clear()
    system.pointer_block(top)
    number, at = next((number, device.ranges[-1][0]) for number, device in enumerate(devices) if device.ranges)
    field(devices, number, at, top, system.superblock.pointer_size)
    with pytest.raises(VmfsError, match="comes twice"):
        open_volume(devices).extent_map(BIG)


def test_a_system_file_whose_blocks_are_found_only_through_itself(datastore: list[Image]) -> None:
    devices = devices_of(datastore)
    header = open_volume(devices)._system.superblock
    item, address, first = (4, 0x42, header.descriptor_size - 2560) if header.vmfs6 else (3, 0x43, 1024)
    at = header.descriptors_at + item * header.descriptor_size
    (piece,) = open_volume(devices)._system.volume.locate(at, 1)
    field(devices, piece.device, piece.offset + header.alignment + 0x44, Addressing.POINTER_BLOCKS, 4)
    for slot in range(2):
        place = piece.offset + first + slot * header.pointer_size
        field(devices, piece.device, place, address, header.pointer_size)
    error = backed_up(devices)
    assert error is not None
    assert "circle" in error.sentence

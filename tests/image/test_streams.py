"""Streams as they arrive: taken apart, checked, stored as they are or decoded to flat."""

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectionLost, ImageError, TargetFull
from engine.image.descriptor import parse
from engine.image.pipeline import ImageFormat
from engine.image.reader import open_image
from engine.image.sparse_header import GRAIN, SECTOR, UNIT, Marker, marker
from engine.image.stream_decoder import StreamDecoder
from engine.image.stream_spool import take_in
from engine.image.written import Progress, WrittenImage
from tests.image.disks import MIB, MemoryDisk, content, export_all, no_thread_left, nobody, random_disk, run, sha256_of
from tests.tools import require_tool

FORMATS: tuple[ImageFormat, ...] = ("compact", "sparse", "flat")


def cut(data: bytes, seed: int) -> Iterator[memoryview]:
    """The data in pieces of random sizes, in one reused buffer as a network reader gives them."""
    rng = random.Random(seed)
    buffer = bytearray(MIB)
    at = 0
    while at < len(data):
        size = min(rng.choice((1, 100, 511, 4096, 70_000, MIB)), len(data) - at)
        buffer[:size] = data[at : at + size]
        yield memoryview(buffer)[:size]
        at += size


def stream_of(source: MemoryDisk, directory: Path) -> bytes:
    path = directory / "stream.vmdk"
    export_all(source, path, "compact")
    data = path.read_bytes()
    path.unlink()
    return data


def take(chunks: Any, target: Path, kind: ImageFormat, **more: Any) -> WrittenImage:
    options: dict[str, Any] = {"cancel": CancelToken(), "progress": nobody} | more
    with no_thread_left():
        return take_in(chunks, target, format=kind, **options)


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_any_size_give_the_same_grains(tmp_path: Path, seed: int) -> None:
    source = random_disk(seed, random.Random(seed).randrange(1, 150_000) * 512, 25)
    truth = source.save(tmp_path / "truth.raw").read_bytes()
    decoder, disk = StreamDecoder(), bytearray(source.capacity)
    for piece in cut(stream_of(source, tmp_path), seed):
        for offset, grain in decoder.feed(piece):
            assert len(grain) == min(GRAIN, source.capacity - offset)
            disk[offset : offset + len(grain)] = grain
    decoder.finish()
    assert disk == truth


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_qemu_img_finds_the_disk_in_what_was_taken_in(tmp_path: Path, seed: int, kind: ImageFormat) -> None:
    qemu_img = require_tool("qemu-img")
    source = random_disk(seed, random.Random(seed).randrange(1, 200_000) * 512, 30)
    raw = source.save(tmp_path / "truth.raw")
    data = stream_of(source, tmp_path)
    image = take(cut(data, seed), tmp_path / "disk.vmdk", kind)
    run(qemu_img, "check", "-f", "vmdk", tmp_path / "disk.vmdk")
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "disk.vmdk")
    for file in image.files:
        assert sha256_of((tmp_path / file.name).read_bytes(), file.blocks) == file.sha256
    text = (tmp_path / "disk.vmdk").read_bytes()
    assert image.cid == parse(text[SECTOR : 21 * SECTOR] if kind != "flat" else text).cid
    if kind == "compact":
        assert text == data
        assert image.stored == len(data)


def test_zero_grains_in_a_stream_stay_holes_in_flat(tmp_path: Path) -> None:
    """A stream with a stored grain of zeros, as some writers make them: our own with one grain's data replaced."""
    import zlib  # noqa: PLC0415 - only this test makes grains by hand

    data = bytearray(stream_of(MemoryDisk(8 * MIB, [(MIB, b"x" * GRAIN)]), tmp_path))
    body = struct.pack("<QI", MIB // SECTOR, len(zlib.compress(bytes(GRAIN)))) + zlib.compress(bytes(GRAIN))
    data[128 * SECTOR : 129 * SECTOR] = body.ljust(SECTOR, b"\0")
    image = take([bytes(data)], tmp_path / "disk.vmdk", "flat")
    assert (image.read, image.zero, image.stored) == (GRAIN, GRAIN, 0)
    assert content(open_image(tmp_path / "disk.vmdk")) == bytes(8 * MIB)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.0, 0.00001, 0.3, 0.7, 0.999])
def test_a_stream_that_ends_early(tmp_path: Path, kind: ImageFormat, part: float) -> None:
    data = stream_of(random_disk(2, 100 * MIB, 30), tmp_path)
    with pytest.raises(ImageError, match="ends early"):
        take([data[: int(len(data) * part)]], tmp_path / "disk.vmdk", kind)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_lacks_its_last_sector_or_has_one_more(tmp_path: Path) -> None:
    data = stream_of(random_disk(2, 10 * MIB, 30), tmp_path)
    with pytest.raises(ImageError, match="ends early"):
        take([data[:-SECTOR]], tmp_path / "disk.vmdk", "compact")
    with pytest.raises(ImageError, match="goes on after its end"):
        take([data, b"\0"], tmp_path / "disk.vmdk", "compact")


FIRST = 128 * SECTOR


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (0, b"XXXX", "does not begin"),
        (8, struct.pack("<I", 1), "not a stream"),
        (56, struct.pack("<Q", 200), "not a stream"),
        (28, struct.pack("<Q", 4000), "place for the descriptor"),
        (64, struct.pack("<Q", 1 << 50), "place for the descriptor"),
        (SECTOR, b"garbage garbage garbage", "not a VMDK descriptor"),
        (FIRST, struct.pack("<Q", 128), "does not list|second time"),
        (FIRST, struct.pack("<Q", 5), "cannot be"),
        (FIRST, struct.pack("<Q", 1 << 40), "cannot be"),
        (FIRST + 8, struct.pack("<I", 1 << 30), "not plausible"),
        (FIRST, marker(Marker.FOOTER, 1), "cannot be here"),
        (FIRST, marker(Marker.END, 0), "cannot be here"),
        (FIRST, marker(Marker.GRAIN_DIRECTORY, 1 << 40), "cannot be here"),
        (FIRST, struct.pack("<QII", 1, 0, 99), "type 99 is unknown"),
        (-1024 + 56, struct.pack("<Q", 77), "footer"),
        (-1024 + 12, struct.pack("<Q", 77), "footer"),
        (-1536, marker(Marker.PROGRESS, 0), "not plausible"),
        (-2048, struct.pack("<I", 999), "grain directory"),
    ],
)
def test_a_stream_that_contradicts_itself(tmp_path: Path, at: int, data: bytes, says: str) -> None:
    stream = bytearray(stream_of(MemoryDisk(2 * UNIT, [(0, os.urandom(4 * GRAIN)), (UNIT, b"b" * 512)]), tmp_path))
    at %= len(stream)
    stream[at : at + len(data)] = data
    with pytest.raises(ImageError, match=says):
        take([bytes(stream)], tmp_path / "disk.vmdk", "compact")


def test_a_damaged_grain_is_told_when_it_is_decoded(tmp_path: Path) -> None:
    stream = bytearray(stream_of(MemoryDisk(MIB, [(0, os.urandom(GRAIN))]), tmp_path))
    stream[FIRST + 1000] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        take([bytes(stream)], tmp_path / "disk.vmdk", "flat")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_raises_image_errors_only(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    source = MemoryDisk(2 * UNIT, [(0, b"some text " * 200_000), (UNIT, rng.randbytes(3 * GRAIN))])
    stream = bytearray(stream_of(source, tmp_path))
    for _ in range(2):
        region = rng.choice(((0, 600), (FIRST, len(stream)), (len(stream) - 12 * SECTOR, len(stream))))
        at = rng.randrange(*region)
        stream[at : at + 4] = rng.randbytes(4)
    stream = stream[: rng.choice((len(stream), rng.randrange(len(stream))))]
    decoder, grains = StreamDecoder(), {}
    try:
        for piece in cut(bytes(stream), seed):
            grains.update(decoder.feed(piece))
        decoder.finish()
    except ImageError:
        return
    for offset, grain in grains.items():
        truth = bytearray(len(grain))
        source.read_into(offset, memoryview(truth))
        assert grain == truth


@pytest.mark.parametrize("kind", FORMATS)
def test_the_connection_drops(tmp_path: Path, kind: ImageFormat) -> None:
    data = stream_of(random_disk(2, 100 * MIB, 30), tmp_path)

    def dropping() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise ConnectionLost("The lease's connection dropped.")

    with pytest.raises(ConnectionLost):
        take(dropping(), tmp_path / "disk.vmdk", kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_cancel_in_mid_stream(tmp_path: Path, kind: ImageFormat) -> None:
    token, data = CancelToken(), stream_of(random_disk(2, 100 * MIB, 30), tmp_path)

    def cancelling() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        token.cancel()
        yield data[len(data) // 2 :]

    with pytest.raises(Cancelled):
        take(cancelling(), tmp_path / "disk.vmdk", kind, cancel=token)
    assert list(tmp_path.iterdir()) == []


def test_the_floor_of_free_space_ends_it(tmp_path: Path) -> None:
    def full(size: int) -> None:
        raise TargetFull("No room.")

    with pytest.raises(TargetFull):
        take([stream_of(random_disk(2, 100 * MIB, 30), tmp_path)], tmp_path / "disk.vmdk", "compact", reserve=full)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_bytes_of_the_disk(tmp_path: Path) -> None:
    told: list[Progress] = []
    source = MemoryDisk(100 * MIB, [(0, b"x" * 20 * MIB)])
    take(cut(stream_of(source, tmp_path), 1), tmp_path / "disk.vmdk", "compact", progress=told.append, to_read=20 * MIB)
    assert (told[-1].read, told[-1].to_read) == (20 * MIB, 20 * MIB)
    assert told[-1].bottleneck in told[-1].busy

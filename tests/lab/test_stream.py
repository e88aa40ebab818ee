"""The lab's streamOptimized writer and reader, judged by qemu-img and by each other."""

import json
import random
import subprocess
from pathlib import Path

import pytest

from engine.lab.stream import GRAIN, SECTOR, TABLE_GRAINS, Decoded, StreamError, StreamWriter, decode
from tests.tools import require_tool

MIB = 1 << 20


def sparse_disk(path: Path, capacity: int, writes: dict[int, bytes]) -> list[tuple[int, int]]:
    with path.open("wb") as file:
        file.truncate(capacity)
        for offset, data in writes.items():
            file.seek(offset)
            file.write(data)
    return sorted((offset, len(data)) for offset, data in writes.items())


def stream_of(disk: Path, extents: list[tuple[int, int]]) -> tuple[bytes, StreamWriter]:
    with disk.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        writer = StreamWriter(disk.stat().st_size, "disk-0.vmdk", "12345678", read, extents)
        return b"".join(writer.chunks()), writer


def decoded(stream: bytes, piece: int = 70_001) -> tuple[Decoded, dict[int, bytes]]:
    grains: dict[int, bytes] = {}
    chunks = (stream[at : at + piece] for at in range(0, len(stream), piece))
    return decode(chunks, grains.__setitem__), grains


CASES = {
    "one grain": (MIB, {0: b"x" * 10}),
    "over the border of two tables": (GRAIN * TABLE_GRAINS * 3, {GRAIN * TABLE_GRAINS - 700: b"border" * 700}),
    "capacity off the grain": (5 * MIB + 3 * SECTOR, {5 * MIB + SECTOR: b"tail" * 256}),
    "nothing": (10 * MIB, {}),
    "tables left out between": (200 * MIB, {3 * MIB: b"a" * 300_000, 190 * MIB + 512: b"b" * 2 * MIB}),
    "what does not deflate": (8 * MIB, {MIB + 4096: random.Random(1).randbytes(3 * MIB)}),
}


@pytest.mark.parametrize("case", CASES)
def test_qemu_reads_what_the_writer_wrote(case: str, tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    capacity, writes = CASES[case]
    disk, image = tmp_path / "disk.raw", tmp_path / "disk.vmdk"
    stream, writer = stream_of(disk, sparse_disk(disk, capacity, writes))
    image.write_bytes(stream)
    info = json.loads(subprocess.check_output([qemu_img, "info", "--output=json", image]))
    assert info["virtual-size"] == capacity
    assert info["format-specific"]["data"]["create-type"] == "streamOptimized"
    subprocess.run([qemu_img, "check", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "vmdk", disk, image], check=True, stdout=subprocess.DEVNULL)
    assert writer.size == len(stream)


@pytest.mark.parametrize("case", CASES)
def test_reader_gives_back_the_disk(case: str, tmp_path: Path) -> None:
    capacity, writes = CASES[case]
    disk = tmp_path / "disk.raw"
    stream, writer = stream_of(disk, sparse_disk(disk, capacity, writes))
    result, grains = decoded(stream)
    back = bytearray(capacity)
    for offset, data in grains.items():
        back[offset : offset + len(data)] = data
    assert back == disk.read_bytes()
    assert (result.capacity, result.populated) == (capacity, writer.populated)


def test_reader_takes_what_qemu_wrote(tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    disk, image = tmp_path / "disk.raw", tmp_path / "disk.vmdk"
    sparse_disk(disk, 70 * MIB, {0: b"boot" * 100, 33 * MIB: random.Random(2).randbytes(MIB)})
    subprocess.run([qemu_img, "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", disk, image], check=True)
    result, grains = decoded(image.read_bytes())
    back = bytearray(result.capacity)
    for offset, data in grains.items():
        back[offset : offset + len(data)] = data
    assert back == disk.read_bytes()


def test_only_extents_are_read_and_zeros_are_left_out(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return bytes(length)

    writer = StreamWriter(1 << 40, "big.vmdk", "0badcafe", read, [(1 << 39, GRAIN), ((1 << 39) + 100, GRAIN)])
    stream = b"".join(writer.chunks())
    assert asked == [(1 << 39, GRAIN), ((1 << 39) + GRAIN, GRAIN)]
    assert writer.populated == 0
    assert decoded(stream)[1] == {}


def test_a_cut_stream_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    stream, _ = stream_of(disk, sparse_disk(disk, 4 * MIB, {0: random.Random(3).randbytes(300_000)}))
    for cut in (0, 100, SECTOR, GRAIN - 1, GRAIN, GRAIN + 5000, len(stream) - SECTOR, len(stream) - 1):
        with pytest.raises(StreamError):
            decoded(stream[:cut])


@pytest.mark.parametrize("at", [0, 8, 2 * GRAIN], ids=["magic", "flags", "grain"])
def test_a_damaged_stream_is_refused(at: int, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    stream, _ = stream_of(disk, sparse_disk(disk, 4 * MIB, {0: random.Random(4).randbytes(300_000)}))
    broken = bytearray(stream)
    broken[at : at + 4] = bytes(byte ^ 0xFF for byte in broken[at : at + 4])
    with pytest.raises(StreamError):
        decoded(bytes(broken))

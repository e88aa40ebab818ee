"""Reads past the page cache: whatever offset, length and memory, the bytes are those of the device."""

import os
import random
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from engine.errors import TransportError
from engine.image.units import AlignedBytes
from engine.transport.block_device import BlockDevice
from tests.tools import require_tool

SIZE = (3 << 20) + 512 * 3  # its end is no multiple of 4 KiB


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    data = random.Random(7).randbytes(SIZE)
    path = tmp_path_factory.mktemp("device") / "image"
    path.write_bytes(data)
    return path, data


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, SIZE), length=st.integers(0, 2 << 20), shift=st.integers(0, 600))
def test_any_range_into_any_memory(image: tuple[Path, bytes], offset: int, length: int, shift: int) -> None:
    path, data = image
    length = min(length, SIZE - offset)
    device = BlockDevice(path)
    view = memoryview(bytearray(length + shift))[shift:]
    device.read_into(offset, view)
    assert view == data[offset : offset + length]
    device.close()


def test_aligned_memory_is_read_into_without_a_copy(image: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = image
    device = BlockDevice(path)
    assert device.direct
    monkeypatch.setattr(device, "_read_through", lambda *_: pytest.fail("a copy"))
    buffer = AlignedBytes(1 << 20)
    device.read_into(1 << 20, buffer.view)
    assert buffer.view == data[1 << 20 : 2 << 20]


def test_nothing_outside_of_the_device_is_read(image: tuple[Path, bytes]) -> None:
    device = BlockDevice(image[0])
    for offset, length in ((-1, 1), (SIZE, 1), (SIZE - 10, 11)):
        with pytest.raises(TransportError, match="outside"):
            device.read(offset, length)
    assert device.read(SIZE, 0) == b""


def test_a_device_that_is_gone_or_forbidden(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="can't be opened") as caught:
        BlockDevice(tmp_path / "none")
    assert (caught.value.fault, caught.value.hint) == ("ENOENT", "Is the LUN still presented to this proxy?")


def test_a_device_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 20))
    device = BlockDevice(path)
    os.truncate(path, 1 << 19)
    with pytest.raises(TransportError, match="can't be read at byte"):
        device.read((1 << 20) - 4096, 4096)


def test_many_threads_at_once(image: tuple[Path, bytes]) -> None:
    path, data = image
    device = BlockDevice(path)
    wrong: list[int] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            offset = chance.randrange(SIZE - 70_000)
            if device.read(offset, 65_537) != data[offset : offset + 65_537]:
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="loop devices need root")
def test_a_loop_device_and_dd_see_the_same(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(random.Random(8).randbytes(4 << 20))
    loop = subprocess.run(
        [require_tool("losetup"), "-f", "--show", "-r", str(path)], capture_output=True, text=True, check=False
    )
    if loop.returncode:
        pytest.skip(f"no loop device can be had: {loop.stderr.strip()}")
    name = Path(loop.stdout.strip())
    try:
        device = BlockDevice(name)
        assert device.direct
        assert device.size == 4 << 20
        told = subprocess.run(
            ["dd", f"if={name}", "bs=1M", "iflag=direct", "status=none"], capture_output=True, check=True
        )
        assert device.read(0, device.size) == told.stdout
        assert device.read(12_345, 70_000) == told.stdout[12_345:82_345]
        device.close()
    finally:
        subprocess.run(["losetup", "-d", str(name)], check=True)

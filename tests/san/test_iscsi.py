"""A datastore over iSCSI, both ends in user space: Debian's tgt exports the LUNs, and libiscsi (in qemu-nbd) is the
initiator of our reader. SCSI lies between us and the images, and a LUN is known by what the target says of itself."""

import hashlib
import os
import random
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest

from engine.lab.lun_store import LunStore
from engine.lab.vmfs.form import Version
from engine.transport.block_device import BlockDevice
from engine.transport.san.lun_lookup import DatastoreLuns, LunExtent, read_volume
from engine.transport.san.source import SanSource
from tests.san.nbd_device import NbdDevice
from tests.tools import require_tool

NAMES = ("naa.600a0b80001234560000000000000011", "naa.600a0b80001234560000000000000012")
CAPACITY = 48 << 20
FILE = "[ds1] vm1/vm1.vmdk"
PATIENCE = 20.0


def until(ready: Callable[[], object], what: str) -> None:
    """A deadline only for what will never be."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, f"{what} did not come up"
        time.sleep(0.02)


def _free_portal() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


class Target:
    """tgtd on a loopback port of its own, with a control socket of its own: no other tgtd is seen or touched."""

    def __init__(self, directory: Path) -> None:
        self._environ = {**os.environ, "TGT_IPC_SOCKET": str(directory / "ipc")}
        self._tgtadm, tgtd = require_tool("tgtadm"), require_tool("tgtd")
        self.name = f"iqn.2026-11.lab.vcb:{secrets.token_hex(4)}"
        self.portal = _free_portal()
        self._process = subprocess.Popen(
            [tgtd, "-f", "-C", "7", "--iscsi", f"portal={self.portal}"],
            env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def export(self, luns: Sequence[tuple[str, Path]]) -> None:
        until(lambda: not self._say("--op", "show", "--mode", "target").returncode, "tgtd")
        while self.portal not in self._say("--op", "show", "--mode", "portal").stdout:  # somebody was faster
            self.portal = _free_portal()
            self._say("--op", "new", "--mode", "portal", "--param", f"portal={self.portal}")
        self._must("--op", "new", "--mode", "target", "--tid", "1", "-T", self.name)
        for number, (name, image) in enumerate(luns, start=1):
            lun = ("--mode", "logicalunit", "--tid", "1", "--lun", str(number))
            self._must("--op", "new", *lun, "-b", str(image))
            self._must("--op", "update", *lun, "--params", f"scsi_id={name},readonly=1")
        self._must("--op", "bind", "--mode", "target", "--tid", "1", "-I", "127.0.0.1")

    def url(self, lun: int) -> str:
        return f"iscsi://{self.portal}/{self.name}/{lun}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _say(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [self._tgtadm, "-C", "7", "--lld", "iscsi", *words]
        return subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)

    def _must(self, *words: str) -> None:
        done = self._say(*words)
        assert done.returncode == 0, (words, done.stderr)


@contextmanager
def initiated(target: Target, lun: int, directory: Path) -> Iterator[NbdDevice]:
    """The LUN through libiscsi."""
    path = directory / f"lun{lun}.sock"
    command = [require_tool("qemu-nbd"), "-r", "-t", "-f", "raw", "-k", str(path), target.url(lun)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: path.exists() or process.poll() is not None, "qemu-nbd")
        assert process.poll() is None, process.communicate()[1]
        device = NbdDevice(path)
        try:
            yield device
        finally:
            device.close()
    finally:
        process.kill()
        process.communicate()


def identity(target: Target, lun: int) -> str:
    """SCSI's device identification page (VPD 0x83), as libiscsi's own tool reads it."""
    command = [require_tool("iscsi-inq"), "-e", "1", "-c", "131", target.url(lun)]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode("ascii", "replace")


def filled(store: LunStore) -> bytes:
    """A thin disk, written in no order, so that it lies in many pieces; its content."""
    chance = random.Random(store.uuid)
    data, file = bytearray(CAPACITY), store.file("vm1/vm1-flat.vmdk", CAPACITY)
    for _ in range(24):
        at, piece = chance.randrange(CAPACITY - 400_000), chance.randbytes(chance.randrange(1, 400_000))
        data[at : at + len(piece)] = piece
        file.write(piece, at)
    store.describe("vm1/vm1.vmdk", f'createType="vmfs"\nRW {CAPACITY // 512} VMFS "vm1-flat.vmdk"\n')
    return bytes(data)


@pytest.mark.parametrize(("version", "luns"), [(5, 1), (6, 2)])
def test_a_disk_read_over_iscsi_is_identical(tmp_path: Path, version: Version, luns: int) -> None:
    names = NAMES[:luns]
    store = LunStore(tmp_path / "luns", tmp_path / "by-id", "ds1", names, version)
    truth = filled(store)
    images = [(name, tmp_path / "luns" / f"{name}.lun") for name in names]
    store.close()
    before = [image.stat().st_mtime_ns for _, image in images]
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vcb-iscsi-")))  # short enough a path
        target = Target(sockets)
        stack.callback(target.close)
        target.export(images)
        told = [identity(target, lun) for lun in range(1, luns + 1)]
        assert all(name in page for name, page in zip(names, told, strict=True))
        devices = [stack.enter_context(initiated(target, lun, sockets)) for lun in range(1, luns + 1)]
        assert all(device.read_only for device in devices)
        datastore = DatastoreLuns("ds1", store.uuid, tuple(LunExtent(name, 1) for name in names))
        blocks = cast(Sequence[BlockDevice], devices)
        source = SanSource(FILE, blocks, lambda: read_volume(datastore, blocks), pause=lambda _: None)
        assert source.capacity == CAPACITY
        assert len(source.allocated()) > 1
        found = memoryview(bytearray(CAPACITY))
        for at in range(0, CAPACITY, 3_000_064):  # across all borders
            source.read_into(at, found[at : at + 3_000_064])
        source.check_map()
    assert hashlib.sha256(found).digest() == hashlib.sha256(truth).digest()
    assert [image.stat().st_mtime_ns for _, image in images] == before

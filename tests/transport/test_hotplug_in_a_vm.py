"""A true SCSI hot-plug: a disk attached to a running guest of qemu (emulated, with VMware's PVSCSI controller), found
in it on a real kernel by the finder of `hotadd`, read past its page cache, let go and detached.

By hand: it takes qemu-system-x86, a Debian kernel (installed, or unpacked with `dpkg -x` where VCB_GUEST_KERNEL says),
and half a minute. qemu's disks have NAA names of 8 bytes, VMware's of 16; so the uuid stands in the other designator of
the identification page, and is found there.
"""

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid as uuids
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from tests.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
INIT = Path(__file__).with_name("guest_init.py")
SERIAL = "vcb-frozen-disk1"  # 16 characters, whose bytes are the disk's uuid
UUID = str(uuids.UUID(bytes=SERIAL.encode()))
CAPACITY = (24 << 20) + 512 * 8
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import ctypes, encodings.ascii, encodings.utf_8, hashlib, traceback, engine.transport.hotadd.guest_disk
print("\\n".join(sorted({m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)})))
"""


def kernel() -> tuple[Path, Path]:
    """(image, its modules)."""
    base = Path(os.environ.get("VCB_GUEST_KERNEL", "/"))
    for image in sorted(base.glob("boot/vmlinuz-*-amd64"), reverse=True):
        modules = base / "lib/modules" / image.name.removeprefix("vmlinuz-")
        if modules.is_dir():
            return image, modules
    pytest.skip(
        f"no Debian kernel under {base}: apt-get download linux-image-amd64's package, dpkg -x, VCB_GUEST_KERNEL"
    )


def in_order(modules: Path, *wanted: str) -> list[Path]:
    """The kernel modules, each behind those it needs, as its own .modinfo says."""
    files = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: list[Path] = []

    def need(name: str) -> None:
        path = files[name]
        if path in order:
            return
        needs = path.read_bytes().partition(b"\0depends=")[2].partition(b"\0")[0].decode()
        for other in filter(None, needs.split(",")):
            need(other.replace("-", "_"))
        order.append(path)

    for name in wanted:
        need(name)
    return order


def python_of_this_machine() -> tuple[Path, list[Path]]:
    """(the interpreter, all files that the guest's program needs of it), by running that program's imports."""
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()
    command = [python, "-SEsB", "-c", _PROGRAM, str(ROOT)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    files = [Path(line) for line in told.stdout.split("\n") if line and Path(line).suffix in (".py", ".so")]
    return python, files


def libraries(files: Sequence[Path]) -> set[Path]:
    """What the dynamic linker will want for them, under the names by which it asks."""
    told = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=True).stdout
    words = (word for line in told.splitlines() for word in line.split() if not line.endswith(":"))
    return {Path(word) for word in words if word.startswith("/") and Path(word).is_file()}


def initrd(target: Path, modules: Sequence[Path]) -> None:
    """A cpio archive of the newc form (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    python, files = python_of_this_machine()
    binaries = [python, *(file for file in files if file.suffix == ".so")]
    held = {str(file): file.read_bytes() for file in {python, *files, *libraries(binaries)} if ROOT not in file.parents}
    held |= {f"/{file.relative_to(ROOT)}": file.read_bytes() for file in files if ROOT in file.parents}
    held |= {f"/modules/{number:02d}-{file.name}": file.read_bytes() for number, file in enumerate(modules)}
    held["/init"] = f"#!{python} -SEsB\n".encode() + INIT.read_bytes()
    directories = {str(parent) for name in held for parent in Path(name).parents} - {"/"} | {"/proc", "/sys", "/dev"}
    with target.open("wb") as archive:
        for number, name in enumerate([*sorted(directories), *sorted(held), "TRAILER!!!"], start=1):
            data, path = held.get(name, b""), name.lstrip("/").encode() + b"\0"
            mode = 0o040755 if name in directories else 0o100755 if name in held else 0
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
            archive.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


class Guest:
    """A running qemu: what it says, and QMP."""

    def __init__(self, directory: Path, image: Path, system: Path, archive: Path) -> None:
        command = [
            require_tool("qemu-system-x86_64"), "-accel", "tcg", "-cpu", "max", "-m", "512", "-display", "none",
            "-nodefaults", "-no-reboot", "-serial", "stdio", "-qmp", f"unix:{directory}/qmp,server=on,wait=off",
            "-kernel", str(image), "-initrd", str(archive), "-append",
            f"console=ttyS0 quiet panic=-1 vcb.uuid={UUID} vcb.capacity={CAPACITY}",
            "-device", "pvscsi,id=scsi0",
            "-blockdev", f"driver=file,filename={system},node-name=system,read-only=on",
            "-device", "scsi-hd,bus=scsi0.0,drive=system,serial=system-disk,device_id=system-disk-0001",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._said: Queue[str] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._socket = directory / "qmp"
        self._qmp: Any = None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print(line, end="")
            if line.startswith("@"):
                self._said.put(line[1:].strip())

    def told(self, word: str) -> str:
        """What the guest says next, which must be this."""
        try:
            said, _, value = self._said.get(timeout=150).partition(" ")
        except Empty:
            pytest.fail(f"the guest never said {word}")
        assert said == word, value
        return value

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def qmp(self, execute: str, **arguments: Any) -> None:
        if self._qmp is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self._socket))
            self._qmp = connection.makefile("rw")
            self._qmp.readline()
            self.qmp("qmp_capabilities")
        self._qmp.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self._qmp.flush()
        answer = next(line for line in self._answers() if "event" not in line)
        assert "return" in answer, answer

    def event(self, name: str, device: str) -> None:
        assert next(a for a in self._answers() if a.get("event") == name and a["data"].get("device") == device)

    def attach(self, file: Path, name: str, identity: str) -> None:
        self.qmp("blockdev-add", driver="file", filename=str(file), **{"node-name": name, "read-only": True})
        self.qmp("device_add", driver="scsi-hd", bus="scsi0.0", drive=name, id=f"disk-{name}", device_id=identity)

    def _answers(self) -> Iterator[dict[str, Any]]:
        while line := self._qmp.readline():
            yield json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.endurance
@pytest.mark.timeout(600)
def test_attached_found_read_and_detached() -> None:
    image, modules = kernel()
    directory = Path(tempfile.mkdtemp(prefix="vcb-guest-"))
    try:
        files = {name: directory / name for name in ("system", "frozen", "decoy")}
        for name, file in files.items():
            file.write_bytes(random.Random(name).randbytes(CAPACITY))
        initrd(directory / "initrd", in_order(modules, "vmw_pvscsi", "sd_mod"))
        guest = Guest(directory, image, files["system"], directory / "initrd")
        try:
            assert guest.told("READY") == "[]"
            guest.attach(files["frozen"], "frozen", SERIAL)
            guest.attach(files["decoy"], "decoy", SERIAL[:-1] + "2")  # the newest, and as large
            assert guest.told("FOUND").startswith("/dev/sdb of sda sdb sdc")
            assert guest.told("DIRECT") == "True"
            assert guest.told("HASH") == hashlib.sha256(files["frozen"].read_bytes()).hexdigest()
            assert guest.told("FORGOTTEN") == "[]"
            guest.qmp("device_del", id="disk-frozen")
            guest.event("DEVICE_DELETED", "disk-frozen")
            guest.tell()
            assert guest.told("GONE") == "[] 2"
        finally:
            guest.close()
    finally:
        shutil.rmtree(directory)

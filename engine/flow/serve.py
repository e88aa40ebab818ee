"""A point's disks as read-only NBD exports, by a well-kept server: qemu-nbd, or nbdkit for flat disks.

qemu-nbd reads every kind of point, chains included, with its own VMDK code. Nothing of the point is written: the
server is told so, and so is every client.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from engine.cancel import CancelToken
from engine.config.secrets import child_environment
from engine.errors import TargetError, VcbError, VerifyError
from engine.image.chain import open_disk
from engine.points.manifest import DiskEntry
from engine.points.restore_files import Point, entries_of
from engine.reporter import Reporter

PORT = 10809
"""NBD's own (IANA); further disks get the ports behind it."""
_ADDRESS = "127.0.0.1"
_PATIENCE = 20.0
_LOOK = 0.05
_CLIENTS = "8"


@dataclass(frozen=True, slots=True)
class Export:
    """One disk's export; `url` as every NBD client takes it."""

    disk: str
    label: str
    capacity: int
    url: str
    server: str


class NbdServers:
    """One server a disk. As a context manager: ready inside the block, ended behind it."""

    def __init__(
        self, point: Point, disks: Sequence[DiskEntry], *, port: int, sockets: Path | None, report: Reporter
    ) -> None:
        """`sockets`: a directory for Unix sockets, instead of TCP on the loopback interface from `port` on."""
        self._point, self._disks, self._port, self._sockets, self._report = point, disks, port, sockets, report
        self._processes: list[subprocess.Popen[bytes]] = []
        self._work = tempfile.TemporaryDirectory(prefix="vcb-serve-")
        self.exports: tuple[Export, ...] = ()

    def __enter__(self) -> "NbdServers":
        try:
            self.exports = tuple(self._start(number, disk) for number, disk in enumerate(self._disks))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def run(self, cancel: CancelToken) -> None:
        """Until the operator says stop. Raises `TargetError` when a server ends by itself."""
        while not cancel.cancelled:
            for export, process in zip(self.exports, self._processes, strict=True):
                if process.poll() is not None:
                    raise TargetError(f"The server of {export.disk} has ended: {self._said(process)}")
            try:
                cancel.wait(0.5)
            except VcbError:
                return

    def _start(self, number: int, disk: DiskEntry) -> Export:
        image = self._point.image(disk)
        flat = self._check(image)
        name = disk.name.replace(":", "-")
        socket = (self._sockets / f"{name}.sock").absolute() if self._sockets else None
        if socket is not None and socket.exists():
            raise TargetError(f"{socket} exists already.", hint="Name another directory, or remove it.")
        pid_file = Path(self._work.name) / f"{name}.pid"
        server, command = _command(image, flat, name, pid_file)
        if socket is not None:
            where, url = ["-k" if server == "qemu-nbd" else "-U", str(socket)], f"nbd+unix:///{name}?socket={socket}"
        else:
            port = str(self._port + number)
            where = ["-b" if server == "qemu-nbd" else "-i", _ADDRESS, "-p", port]
            url = f"nbd://{_ADDRESS}:{port}/{name}"
        process = subprocess.Popen(  # noqa: S603 - a program of the system and files of ours
            [command[0], *where, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for us, who then end it
        )
        self._processes.append(process)
        self._await(process, pid_file, disk)
        self._report.step(f"{disk.name}: {server} serves {image} as {url}, read-only")
        return Export(disk.name, disk.label, disk.capacity, url, server)

    @staticmethod
    def _check(image: Path) -> Path | None:
        """Whether all that the disk needs is there, with the sizes that the manifests say; the data of a flat disk."""
        disk = open_disk(image)
        disk.close()
        for directory, entries in entries_of(disk.links).items():
            for entry in entries:
                if (directory / entry.name).stat().st_size != entry.size:
                    raise VerifyError(
                        f"{directory / entry.name} does not have the {entry.size:,} bytes it was left with."
                    )
        return disk.links[0] if disk.links[0] != image else None

    def _await(self, process: subprocess.Popen[bytes], pid_file: Path, disk: DiskEntry) -> None:
        """Both servers write their pid when they listen, and not before."""
        deadline = time.monotonic() + _PATIENCE
        while not (pid_file.exists() and pid_file.stat().st_size):
            if process.poll() is not None:
                raise TargetError(f"{disk.name} cannot be served: {self._said(process)}")
            if time.monotonic() > deadline:
                raise TargetError(f"The server of {disk.name} did not begin to listen.")
            time.sleep(_LOOK)

    @staticmethod
    def _said(process: subprocess.Popen[bytes]) -> str:
        assert process.stderr is not None
        text = " ".join(process.stderr.read(2000).decode(errors="replace").split())
        return text or f"exit code {process.returncode}"

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()
        self._work.cleanup()
        for export in self.exports:
            if "?socket=" in export.url:  # nbdkit leaves it
                Path(export.url.partition("?socket=")[2]).unlink(missing_ok=True)


def _command(image: Path, flat: Path | None, name: str, pid_file: Path) -> tuple[str, list[str]]:
    """The server and its command line, without the address."""
    if qemu_nbd := shutil.which("qemu-nbd"):
        options = ["--read-only", "--persistent", f"--shared={_CLIENTS}", "--format=vmdk", "--export-name", name]
        return "qemu-nbd", [qemu_nbd, *options, "--pid-file", str(pid_file), str(image)]
    nbdkit = shutil.which("nbdkit")
    if nbdkit and flat is not None:
        return "nbdkit", [nbdkit, "-f", "-r", "-e", name, "-P", str(pid_file), "file", str(flat)]
    needed = "No NBD server is installed." if not nbdkit else f"nbdkit serves flat disks alone, not {image.name}."
    raise TargetError(needed, hint="Install qemu-nbd (Debian: apt install qemu-utils).")

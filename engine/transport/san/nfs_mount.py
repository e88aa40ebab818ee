"""A frozen disk read from an NFS datastore's export, which this proxy has mounted read-only: `san` without a LUN.

ESXi keeps the same `-flat.vmdk` on NFS as on VMFS. The mount is found by what the kernel tells of it (proc(5),
mountinfo), never by asking DNS: a name that only resolves to the same server may be another export tomorrow.
"""

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TransportError
from engine.extents import Extent
from engine.transport.block_device import BlockDevice
from engine.transport.san.flat_file import INSTEAD, flat_file

MOUNTINFO = Path("/proc/self/mountinfo")
_DESCRIPTOR_LIMIT = 65536


@dataclass(frozen=True)
class Export:
    """An NFS datastore as vCenter tells it (HostNasVolume). `hosts`: remoteHost and all of remoteHostNames."""

    name: str
    hosts: tuple[str, ...]
    path: str

    def is_source(self, source: str) -> bool:
        """Whether a mount's `host:/path` is this export."""
        host, separator, path = source.rpartition(":/")
        names = {_host(each) for each in self.hosts}
        return bool(separator) and _host(host) in names and _path("/" + path) == _path(self.path)

    @property
    def mount_command(self) -> str:
        host = f"[{_host(self.hosts[0])}]" if ":" in self.hosts[0] else self.hosts[0]
        source, point = shlex.quote(f"{host}:{_path(self.path)}"), shlex.quote(f"/mnt/{self.name}")
        return f"mount -t nfs -o ro,nosuid,nodev,noexec {source} {point}"


@dataclass(frozen=True)
class Mount:
    """`device`: major and minor, which every file of it has as its st_dev."""

    point: Path
    device: int
    source: str
    kind: str
    root: str
    read_only: bool


def look_up(export: Export, mountinfo: Path | None = None) -> tuple[Mount | None, str]:
    """(the read-only mount of the export, or None; why there is none that may be used, with what to mount)."""
    if not export.hosts or not export.path:
        return None, "vCenter does not tell which NFS export it is"
    text = (mountinfo or MOUNTINFO).read_text("utf-8", "surrogateescape")
    visible = {mount.point: mount for mount in _mounts(text)}  # the last mounted on a directory hides the others
    found = [
        mount
        for mount in visible.values()
        if mount.kind in ("nfs", "nfs4") and mount.root == "/" and export.is_source(mount.source)
    ]
    for mount in found:
        if mount.read_only:
            return mount, ""
    if found:
        return None, (
            f"its NFS export is mounted at {found[0].point} for writing, and san reads only from a read-only mount "
            f"({export.mount_command})"
        )
    return None, f"its NFS export is not mounted on this proxy ({export.mount_command})"


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 3:
            continue
        major, _, minor = fields[2].partition(":")
        yield Mount(
            point=Path(_plain(fields[4])),
            device=os.makedev(int(major), int(minor)),
            source=_plain(rest[1]),
            kind=rest[0],
            root=_plain(fields[3]),
            read_only="ro" in fields[5].split(",") or "ro" in rest[2].split(","),
        )


def _plain(field: str) -> str:
    """Blanks and backslashes are octal escapes in mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _host(name: str) -> str:
    return name.strip().removeprefix("[").removesuffix("]").rstrip(".").lower()


def _path(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)


class NfsSource:
    """A `DiskSource`. Stays open until `release`: it is probed first and read later."""

    transport = "san"

    def __init__(self, file: str, mount: Mount) -> None:
        """`file`: `[ds] vm1/vm1.vmdk`. Raises TransportError for what is no flat disk, lies behind a symbolic link or
        has another size than its descriptor says."""
        self.file, self.mount = file, mount
        flat = flat_file(self, file)
        self._path = flat.path
        self._descriptor = self._open(flat.path)
        try:
            # The very file that was found below the mount point, opened anew so that O_DIRECT can be tried.
            self._device = BlockDevice(Path(f"/proc/self/fd/{self._descriptor}"))
            self._device.path = mount.point / flat.path
            self._state = _state(self._descriptor)
            if self._device.size != flat.capacity:
                self._device.close()
                raise TransportError(
                    f"{file} has {flat.capacity:,} bytes, its file {self._device.path} {self._device.size:,}.",
                    hint=INSTEAD,
                )
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def capacity(self) -> int:
        return self._device.size

    @property
    def direct(self) -> bool:
        """Past the page cache."""
        return self._device.direct

    def allocated(self) -> Sequence[Extent]:
        """What the server tells is no hole (NFS 4.2; older ones call all of it data)."""
        found: list[Extent] = []
        at = 0
        while at < self.capacity:
            try:
                start = os.lseek(self._descriptor, at, os.SEEK_DATA)
                at = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data after `at`
                    break
                raise self._failure(self._path, error) from error
            found.append(Extent(start, min(at, self.capacity) - start))
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        view = memoryview(buffer).cast("B")
        if not self.direct:
            os.posix_fadvise(self._descriptor, offset, len(view), os.POSIX_FADV_DONTNEED)
        self._device.read_into(offset, view)

    def check_map(self, when: str = "while it was read") -> None:
        """TransportError when another file has its name now, or it was written to. Opening it again makes the NFS
        client ask the server for its attributes (nfs(5), close-to-open)."""
        descriptor = self._open(self._path)
        try:
            now = _state(descriptor)
        finally:
            os.close(descriptor)
        if now != self._state:
            raise TransportError(
                f"{self.file} moved or changed on its datastore {when}: what was read of it can't be used.",
                hint="Did Storage vMotion or a consolidation run meanwhile? Run the backup again, or use nbdssl.",
            )

    def read_small(self, path: str) -> bytes:
        """The descriptor's text."""
        descriptor = self._open(path)
        try:
            return os.pread(descriptor, _DESCRIPTOR_LIMIT, 0)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing: it is read again after its probe."""

    def release(self) -> None:
        """Safe twice."""
        self._device.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, path: str) -> int:
        """Directory by directory below the mount point; no symbolic link is followed, and nothing but a file read."""
        *directories, name = path.split("/")
        if any(part in ("", ".", "..") for part in (*directories, name)):
            raise TransportError(f"{self.file} is no path below its datastore's root.", hint=INSTEAD)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        at = -1
        try:
            at = os.open(self.mount.point, flags | os.O_DIRECTORY)
            if os.fstat(at).st_dev != self.mount.device:
                raise TransportError(f"{self.mount.point} is no longer the mount of {self.mount.source}.", hint=INSTEAD)
            for part in directories:
                below = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            found = os.open(name, flags | os.O_NONBLOCK, dir_fd=at)
        except OSError as error:
            raise self._failure(path, error) from error
        finally:
            with suppress(OSError):
                os.close(at)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise TransportError(f"{self.mount.point / path} is no regular file.", hint=INSTEAD)
        return found

    def _failure(self, path: str, error: OSError) -> TransportError:
        link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        why = "a symbolic link, or no directory, lies on its path" if link else error.strerror
        name = errno.errorcode.get(error.errno or 0, "")
        return TransportError(f"{self.mount.point / path} can't be read: {why}.", fault=name, hint=INSTEAD)


def _state(descriptor: int) -> tuple[int, int, int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

"""The block devices that a guest sees of disks attached to its VM while it runs: what a backup proxy reads.

As root with /dev/loop-control they are loop devices, which the kernel takes back by itself when the lab's process ends,
however it does; else plain files stand in for them, and `kind` says so. Udev's links name them by the disk's uuid.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.lab.frozen import copy_image

if TYPE_CHECKING:
    from engine.lab.disks import Disk

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A  # ioctls of linux/loop.h
_READ_ONLY, _AUTOCLEAR = 1, 4
_ATTEMPTS = 16


class GuestDevices:
    """Of all VMs of a lab; each has its own directory, as if `/dev/disk/by-id` of its guest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kind = _kind()
        self._shown: dict[tuple[str, str], tuple[Path, int | None]] = {}  # (VM, disk): (image, loop descriptor)

    def by_id(self, vm_id: str) -> Path:
        return self.root / vm_id / "by-id"

    def refresh(self, vm: Any) -> None:
        """Shows what has been attached, and takes away what is not attached any more."""
        borrowed = {(vm.id, slot.disk): vm.store[slot.disk] for slot in vm.definition.disks}
        borrowed = {key: disk for key, disk in borrowed.items() if disk.borrowed is not None}
        for key in [each for each in self._shown if each[0] == vm.id and each not in borrowed]:
            self._hide(key)
        for key, disk in borrowed.items():
            if key not in self._shown:
                self._show(key, disk)

    def close(self) -> None:
        for key in list(self._shown):
            self._hide(key)

    def _show(self, key: tuple[str, str], disk: Disk) -> None:
        image = self.root / key[0] / f"{disk.id}.raw"
        copy_image(disk, None, image)
        device, descriptor = _loop(image) if self.kind == "loop devices" else (image, None)
        self._shown[key] = image, descriptor
        by_id = self.by_id(key[0])
        by_id.mkdir(parents=True, exist_ok=True, mode=0o700)
        assert disk.borrowed is not None
        name = disk.borrowed.disk.uuid.replace("-", "").lower()
        for link in (by_id / f"wwn-0x{name}", by_id / f"scsi-3{name}"):
            link.unlink(missing_ok=True)  # of a lab that was killed
            link.symlink_to(device.resolve())

    def _hide(self, key: tuple[str, str]) -> None:
        image, descriptor = self._shown.pop(key)
        device = image.resolve() if descriptor is None else Path(f"/proc/self/fd/{descriptor}").readlink()
        for link in self.by_id(key[0]).iterdir():
            if link.readlink() == device:
                link.unlink()
        if descriptor is not None:
            os.close(descriptor)
        image.unlink(missing_ok=True)


def _kind() -> str:
    usable = os.geteuid() == 0 and os.access(_CONTROL, os.R_OK | os.W_OK)
    return "loop devices" if usable else "files in place of devices (loop devices need root and /dev/loop-control)"


def _loop(image: Path) -> tuple[Path, int]:
    """A read-only loop device, and the descriptor that keeps it: it is gone when the last one is closed."""
    with Path(_CONTROL).open("rb", buffering=0) as control, image.open("rb") as file:
        for _ in range(_ATTEMPTS):
            device = Path(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
            descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            info = struct.pack("=5Q4I64s64s32s2Q", *(0,) * 8, _READ_ONLY | _AUTOCLEAR, b"", b"", b"", 0, 0)
            try:
                fcntl.ioctl(descriptor, _CONFIGURE, struct.pack("=2I", file.fileno(), 0) + info + bytes(64))
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.EBUSY:  # another process was quicker
                    raise
            else:
                return device, descriptor
    raise OSError(errno.EBUSY, "no loop device could be had", _CONTROL)

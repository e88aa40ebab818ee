"""The guests' own work: running VMs keep writing to their disks while backups run."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from pyVmomi import vim

from engine.lab.disks import Disk

if TYPE_CHECKING:
    from engine.lab.vsphere import VSphere

RATE = 20  # writes a second, over all VMs
PAGE = 4096
GROWTH = 64 << 20  # bytes that the workload appends to one disk before it begins to overwrite them
PATTERNS = ("hot", "hot", "hot", "append", "append", "zero")


class Workload:
    """Writes to the disks of running VMs: a hot region rewritten again and again, new areas filled, old ones zeroed.

    The sequence follows from `seed` and the VMs present; `step()` makes one write, the thread makes `rate` a second."""

    def __init__(self, vsphere: VSphere, *, rate: float = RATE, seed: int = 1) -> None:
        self.vsphere, self.rate = vsphere, rate
        self.writes = 0
        self._source = random.Random(seed)
        self._noise = self._source.randbytes(1 << 18)
        self._appended: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="guest", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Returns when no guest writes any more."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(1 / self.rate):
            self.step()

    def step(self) -> tuple[str, int, int] | None:
        """One write: (disk id, offset, length) in bytes; None when no VM runs or the disk was just deleted."""
        disks = self._disks()
        if not disks:
            return None
        disk = self._source.choice(disks)
        offset, data = self._next(disk)
        try:
            disk.write(offset, data)
        except FileNotFoundError:  # the VM was deleted between choice and write
            return None
        self.writes += 1
        return disk.id, offset, len(data)

    def _disks(self) -> list[Disk]:
        """Disks of running VMs; those without files or still owed contents are left in peace."""
        return [
            disk
            for vm in self.vsphere.all_of(vim.VirtualMachine)
            if vm.power == "poweredOn" and vm.on_datastore
            for disk in vm.disks.values()
            if disk.filler is None and disk.borrowed is None
        ]

    def _next(self, disk: Disk) -> tuple[int, memoryview | bytes]:
        length = min(self._source.randrange(PAGE, 1 << 17, PAGE), disk.capacity // 4)
        start = self._source.randrange(0, len(self._noise) - length)
        pattern = self._source.choice(PATTERNS)
        if pattern == "hot":  # a journal or a database page: a sixteenth of the disk, at most 32 MiB
            span = max(length, min(disk.capacity // 16, 32 << 20))
            offset = self._source.randrange(0, span - length + 512, 512)
            return offset, memoryview(self._noise)[start : start + length]
        if pattern == "append":
            return self._append(disk, length), memoryview(self._noise)[start : start + length]
        offset = self._source.randrange(0, disk.capacity - length, 512)
        return offset, bytes(min(length, 2 * PAGE))

    def _append(self, disk: Disk, length: int) -> int:
        """The next place in the upper half of the disk, which grows until GROWTH and then begins again."""
        span = min(disk.capacity // 2, GROWTH)
        place = self._appended.get(disk.id, 0)
        if place + length > span:
            place = 0
        self._appended[disk.id] = place + length
        return disk.capacity // 2 + place

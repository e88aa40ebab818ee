"""What a path and a ticket open: one image of a virtual disk, with its whole chain of deltas resolved.

- The file must be a disk of the ticket's VM; a ticket for one disk opens that disk only, at any level of its chain.
- The top of a running VM's chain is locked by the VM: make a snapshot and open its frozen parent.
- Writing needs a writable ticket, the top of the chain, and a VM that does not run; anything else is read-only.
- Who writes has the file to himself: VMFS gives one exclusive lock, and none while the file is open for reading.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

from pyVmomi import vim

from engine.lab.disks import Disk, DiskHandle
from engine.lab.layers import Layer
from engine.lab.nfc.messages import SECTOR, ErrorCode, Refusal
from engine.lab.nfc.tickets import Ticket

HEADS, SECTORS_PER_TRACK = 255, 63

_locking = threading.Lock()
_readers: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
"""Of each open image, how many have it open for reading; -1 for the one that writes."""


class Volume:
    """An open disk. Methods raise Refusal when the disk cannot serve them any more."""

    def __init__(self, path: str, disk: Disk, layer: Layer, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._disk, self._layer = disk, layer
        self._lock()
        try:
            self._handle: DiskHandle = disk.open(None if writable else layer)
        except BaseException:
            self._unlock()
            raise
        self.capacity: int = self._handle.capacity
        self._allocated = self._handle.allocated() if writable else None

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Cylinders, heads, sectors."""
        return max(1, self.capacity // SECTOR // (HEADS * SECTORS_PER_TRACK)), HEADS, SECTORS_PER_TRACK

    @property
    def ddb(self) -> dict[str, str]:
        """The descriptor's disk database, keys without `ddb.`."""
        cylinders, heads, sectors = self.geometry
        digits = self._disk.uuid.replace("-", "").lower()
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        return {
            "adapterType": "lsilogic",
            "geometry.cylinders": str(cylinders),
            "geometry.heads": str(heads),
            "geometry.sectors": str(sectors),
            "uuid": " ".join(pairs[:8]) + "-" + " ".join(pairs[8:]),
            "virtualHWVersion": "21",
        } | ({"thinProvisioned": "1"} if self._disk.provisioning == "thin" else {})

    def check_range(self, offset: int, length: int) -> None:
        if not length or offset % SECTOR or length % SECTOR or offset + length > self.capacity:
            text = f"{offset}+{length} is not a run of sectors on a disk of {self.capacity} bytes"
            raise Refusal(ErrorCode.INVALID_ARGUMENT, text)

    def read_into(self, offset: int, view: memoryview) -> None:
        try:
            self._handle.read_into(offset, view)
        except OSError as error:
            raise Refusal(ErrorCode.FILE_ERROR, str(error)) from error

    def allocated(self) -> list[tuple[int, int]]:
        """(offset, length) runs in bytes; of a writable volume, as they were when it was opened."""
        try:
            return self._handle.allocated() if self._allocated is None else self._allocated
        except OSError as error:
            raise Refusal(ErrorCode.FILE_ERROR, str(error)) from error

    def write(self, offset: int, data: bytes) -> None:
        if not self.writable:
            raise Refusal(ErrorCode.READ_ONLY, f"{self.path} was opened read-only")
        try:
            self._disk.write(offset, data)
        except OSError as error:
            raise Refusal(ErrorCode.FILE_ERROR, str(error)) from error

    def close(self) -> None:
        self._handle.close()
        self._unlock()

    def _lock(self) -> None:
        with _locking:
            now = _readers.get(self._layer, 0)
            if now < 0 or (now and self.writable):
                raise Refusal(ErrorCode.ALREADY_LOCKED, f"{self.path} is open elsewhere")
            _readers[self._layer] = -1 if self.writable else now + 1

    def _unlock(self) -> None:
        with _locking:
            _readers[self._layer] = 0 if self.writable else _readers[self._layer] - 1


def open_volume(vsphere: Any, ticket: Ticket, path: str, *, writable: bool) -> Volume:
    """Raises Refusal with the code that says why not."""
    machine = vsphere.objects.get(ticket.vm)
    if machine is None:
        raise Refusal(ErrorCode.FILE_NOT_FOUND, f"the VM {ticket.vm} is gone")
    disk, layer = _find(machine, path) or _foreign(vsphere, path)
    if ticket.disk not in (None, disk.id):
        raise Refusal(ErrorCode.ACCESS_ERROR, f"the ticket is for another disk than {path}")
    if disk.kind == "rdm-physical":
        raise Refusal(ErrorCode.NOT_SUPPORTED, f"{path} is a raw device in physical mode")
    if writable and not (ticket.writable and layer is disk.top):
        raise Refusal(ErrorCode.READ_ONLY, f"{path} is read-only with this ticket")
    if layer is disk.top and machine.power != "poweredOff":
        raise Refusal(ErrorCode.ALREADY_LOCKED, f"the VM holds the lock of {path}")
    try:
        return Volume(path, disk, layer, writable=writable)
    except OSError as error:
        raise Refusal(ErrorCode.FILE_NOT_FOUND, str(error)) from error


def _find(machine: Any, path: str) -> tuple[Disk, Layer] | None:
    for disk in list(machine.store.values()):
        if disk.borrowed is not None or disk.dead:
            continue  # another VM's disk, hot-added: it is opened with that VM's ticket
        for layer in list(disk.layers):
            if disk.file(layer) == path:
                return disk, layer
    return None


def _foreign(vsphere: Any, path: str) -> tuple[Disk, Layer]:
    """The path is not the ticket's VM's: say whether it exists at all."""
    for other in vsphere.all_of(vim.VirtualMachine):
        if _find(other, path):
            raise Refusal(ErrorCode.ACCESS_ERROR, f"{path} belongs to another VM than the ticket's")
    raise Refusal(ErrorCode.FILE_NOT_FOUND, f"no disk is called {path}")

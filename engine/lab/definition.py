"""What a VM's .vmx says, as plain data: the same for the running VM, for a snapshot and for the saved state."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

FROZEN_MODES = ("persistent", "append", "undoable", "nonpersistent")  # disk modes that a snapshot takes part in
RESERVED_UNIT = 7  # of the SCSI controller itself


@dataclass
class Controller:
    """kind: a SCSI controller type of device.CONTROLLERS; sharing: noSharing, virtualSharing or physicalSharing."""

    key: int
    bus: int
    kind: str = "pvscsi"
    sharing: str = "noSharing"


@dataclass
class DiskSlot:
    """A disk in a VM: where it sits and how it is used. `disk` is the id of the Disk."""

    key: int
    disk: str
    controller: int
    unit: int
    label: str
    mode: str = "persistent"
    sharing: str = "sharingNone"

    @property
    def independent(self) -> bool:
        return self.mode.startswith("independent")


@dataclass
class Nic:
    key: int
    network: str  # moref
    network_name: str
    mac: str
    address_type: str = "assigned"
    connected: bool = True


@dataclass
class Definition:
    name: str
    guest_id: str = "debian12_64Guest"
    guest_name: str = "Debian GNU/Linux 12 (64-bit)"
    version: str = "vmx-21"
    firmware: str = "efi"
    memory_mb: int = 1024
    cpus: int = 1
    annotation: str = ""
    change_tracking: bool = False
    template: bool = False
    fault_tolerant: bool = False
    encrypted: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    controllers: list[Controller] = field(default_factory=list)
    disks: list[DiskSlot] = field(default_factory=list)
    nics: list[Nic] = field(default_factory=list)

    def copy(self) -> Definition:
        return copy.deepcopy(self)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Definition:
        data = dict(data)
        data["controllers"] = [Controller(**c) for c in data["controllers"]]
        data["disks"] = [DiskSlot(**d) for d in data["disks"]]
        data["nics"] = [Nic(**n) for n in data["nics"]]
        return cls(**data)

    def slot(self, key: int) -> DiskSlot | None:
        return next((slot for slot in self.disks if slot.key == key), None)

    def controller(self, key: int) -> Controller | None:
        return next((c for c in self.controllers if c.key == key), None)

    def units(self, controller: Controller) -> int:
        """Unit numbers of a controller: 64 on PVSCSI from hardware version 14, else 16."""
        return 64 if controller.kind == "pvscsi" and self.hardware_version >= 14 else 16

    @property
    def hardware_version(self) -> int:
        return int(self.version.removeprefix("vmx-"))

    def free_unit(self, controller: Controller) -> int | None:
        used = {slot.unit for slot in self.disks if slot.controller == controller.key} | {RESERVED_UNIT}
        return next((unit for unit in range(self.units(controller)) if unit not in used), None)

    def disk_key(self, controller: Controller, unit: int) -> int:
        """The device key that vSphere gives a SCSI disk: 2000 + 16 (64 on large controllers) per bus + unit."""
        key = 2000 + controller.bus * self.units(controller) + unit
        used = {slot.key for slot in self.disks}
        while key in used:
            key += 1000
        return key

    def next_label(self) -> str:
        used = {slot.label for slot in self.disks}
        return next(label for n in range(1, 1 << 16) if (label := f"Hard disk {n}") not in used)

    def add_controller(self, kind: str = "pvscsi", sharing: str = "noSharing", bus: int | None = None) -> Controller:
        """ValueError when all four SCSI buses are taken."""
        free = [b for b in range(4) if b not in {c.bus for c in self.controllers}]
        if (bus is None and not free) or (bus is not None and bus not in free):
            raise ValueError("no free SCSI bus")
        number = free[0] if bus is None else bus
        controller = Controller(1000 + number, number, kind, sharing)
        self.controllers.append(controller)
        return controller

    def add_disk(
        self, disk: str, *, controller: Controller | None = None, unit: int | None = None, mode: str = "persistent",
        sharing: str = "sharingNone",
    ) -> DiskSlot:  # fmt: skip
        """Put a disk into the first free place, or the given one; ValueError when that is taken."""
        if controller is None:
            controller = next((c for c in self.controllers if self.free_unit(c) is not None), None)
            controller = controller or self.add_controller()
        place = self.free_unit(controller) if unit is None else unit
        if place is None or place == RESERVED_UNIT or not 0 <= place < self.units(controller):
            raise ValueError(f"SCSI unit {place} cannot hold a disk")
        if any(s.unit == place and s.controller == controller.key for s in self.disks):
            raise ValueError(f"SCSI unit {place} is taken")
        slot = DiskSlot(self.disk_key(controller, place), disk, controller.key, place, self.next_label(), mode, sharing)
        self.disks.append(slot)
        return slot

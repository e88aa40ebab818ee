"""What a backup of one VM would do, disk by disk, decided by the code that then does it.

A plan reads (vCenter, BACKUPROOT), decides, and touches nothing.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.options import Settings
from engine.config.rules import Finding
from engine.errors import VcbError, VmUnsuitable
from engine.flow.incremental import DiskMethod
from engine.flow.policies import SnapshotDecision
from engine.image.pipeline import ImageFormat
from engine.points.mount_point import Found
from engine.vsphere.disks import Disk, SkipReason
from engine.vsphere.inventory import VirtualMachine
from engine.vsphere.snapshots import SNAPSHOT_NAME

EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class PlannedDisk:
    """One disk and its fate. `to_read` is bytes: what is allocated as far as vCenter knows, else the capacity; of an
    incremental (`method`) it is the most that may come, since the changes are known only after the snapshot."""

    disk: Disk
    skip: SkipReason | None
    method: DiskMethod | None = None

    @property
    def to_read(self) -> int:
        if self.skip:
            return 0
        return self.disk.capacity if self.disk.allocated is None else min(self.disk.allocated, self.disk.capacity)


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes in BACKUPROOT: the most that the files can take, what is free, and the floor that must stay free."""

    needed: int
    free: int
    keep_free: int

    @property
    def short(self) -> int:
        """Bytes missing for the worst case; 0 when all is well."""
        return max(0, self.needed + self.keep_free - self.free)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was decided before anything was touched. `vcenter` is its instance UUID, in which the VM's moref
    means this VM; `obstacle` is the error the run would end with."""

    vm: VirtualMachine
    vcenter: str
    disks: tuple[PlannedDisk, ...]
    transport: str
    export_format: ImageFormat
    quiesce: str
    policy: str
    snapshot: SnapshotDecision | None
    owners: dict[str, str]
    enable_tracking: bool
    mount_point: Found
    space: Space
    privileges_missing: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    obstacle: VcbError | None

    @property
    def exported(self) -> tuple[PlannedDisk, ...]:
        return tuple(planned for planned in self.disks if planned.skip is None)

    @property
    def skipped(self) -> tuple[PlannedDisk, ...]:
        return tuple(planned for planned in self.disks if planned.skip is not None)

    def to_json(self) -> dict[str, Any]:
        return {
            "vm": self.vm.name,
            "moref": self.vm.moref,
            "vcenter": self.vcenter,
            "path": self.vm.path,
            "power": self.vm.power,
            "transport": self.transport,
            "format": self.export_format,
            "quiesce": {"asked": self.quiesce, "possible": self.vm.tools_running and self.vm.power == "poweredOn"},
            "snapshot": self._snapshot_json(),
            "snapshots": [
                {"name": s.name, "moref": s.moref, "created": s.created.isoformat(), "owner": self.owners[s.moref]}
                for s in self.vm.snapshots
            ],
            "enable_change_tracking": self.enable_tracking,
            "mount_point": {"path": str(self.mount_point.path), "found": self.mount_point.state.value},
            "disks": [_disk_json(planned) for planned in self.disks],
            "disks_skipped": [
                {"disk": planned.disk.name, "code": planned.skip.code, "reason": planned.skip.text}
                for planned in self.skipped
                if planned.skip
            ],
            "bytes_provisioned": sum(planned.disk.capacity for planned in self.disks),
            "bytes_allocated": sum(planned.disk.allocated or 0 for planned in self.disks),
            "bytes_to_read": sum(planned.to_read for planned in self.disks),
            "space": {"needed": self.space.needed, "free": self.space.free, "keep_free": self.space.keep_free},
            "privileges_missing": [
                {"entity": entity, "privilege": privilege} for entity, privilege in self.privileges_missing
            ],
            "findings": [
                {"rule": f.rule_id, "severity": str(f.severity), "text": f.text, "options": list(f.options)}
                for f in self.findings
            ],
            "warnings": list(self.warnings),
            "error": self.obstacle.to_json() if self.obstacle else None,
        }

    def _snapshot_json(self) -> dict[str, Any]:
        decision = self.snapshot
        if decision is None:
            return {"policy": self.policy, "action": "", "name": SNAPSHOT_NAME}
        return {"policy": self.policy, "action": decision.why, "name": SNAPSHOT_NAME}


def plan_disks(vm: VirtualMachine, excluded: Sequence[str]) -> tuple[PlannedDisk, ...]:
    """Every disk with its fate. `excluded` names disks (scsi0:1) or labels (Hard disk 2); raises VmUnsuitable when a
    name fits no disk, so that a typing error doesn't export what was meant to stay out."""
    unknown = [name for name in excluded if not any(_names(disk, name) for disk in vm.disks)]
    if unknown:
        raise VmUnsuitable(
            f"EXCLUDE_DISKS names {', '.join(unknown)}, which {vm.name} does not have.",
            hint="It has " + ", ".join(f"{disk.name} ({disk.label})" for disk in vm.disks) + ".",
        )
    return tuple(PlannedDisk(disk, fate(disk, excluded)) for disk in vm.disks)


def fate(disk: Disk, excluded: Sequence[str]) -> SkipReason | None:
    """Why a backup leaves this disk out, if it does; `excluded` as in EXCLUDE_DISKS."""
    if any(_names(disk, name) for name in excluded):
        return SkipReason(EXCLUDED, "The operator leaves it out (EXCLUDE_DISKS).")
    return disk.skip


def _names(disk: Disk, name: str) -> bool:
    return name.casefold() in (disk.name.casefold(), disk.label.casefold())


def check_suitable(vm: VirtualMachine) -> None:
    """Raises VmUnsuitable for what no backup can be made of, with the reason."""
    if vm.template:
        raise VmUnsuitable(f"{vm.name} is a template, which can't be snapshotted.", hint="Clone it or convert it.")
    if vm.fault_tolerant:
        raise VmUnsuitable(f"{vm.name} is protected by Fault Tolerance, which allows no snapshot.")
    if vm.connection != "connected":
        raise VmUnsuitable(
            f"{vm.name} is {vm.connection} in the inventory.", hint="Reconnect its host, or register the VM again."
        )
    shared = [disk.name for disk in vm.disks if disk.skip and disk.skip.code == "shared"]
    if shared:
        raise VmUnsuitable(
            f"{vm.name} shares {', '.join(shared)} with other VMs; it can't be snapshotted.",
            hint="Back it up from inside the guest, or end the sharing.",
        )


def measure_space(disks: Sequence[PlannedDisk], root: Path, settings: Settings) -> Space:
    """The worst case: nothing compresses. Deflate adds at most a few bytes to each 64 KiB grain, plus the tables."""
    usage = shutil.disk_usage(root)
    worst = sum(planned.to_read + planned.to_read // 512 + (1 << 20) for planned in disks if planned.skip is None)
    return Space(worst, usage.free, settings.KEEP_FREE.bytes_of(usage.total))


def _disk_json(planned: PlannedDisk) -> dict[str, Any]:
    disk = planned.disk
    return {
        "key": disk.key,
        "name": disk.name,
        "label": disk.label,
        "file": disk.file,
        "datastore": disk.datastore,
        "mode": disk.mode,
        "backing": disk.backing,
        "capacity": disk.capacity,
        "allocated": disk.allocated,
        "to_read": planned.to_read,
        "skipped": {"code": planned.skip.code, "reason": planned.skip.text} if planned.skip else None,
        "method": method_json(planned.method),
    }


def method_json(method: DiskMethod | None) -> dict[str, Any] | None:
    """None for a disk that is left out. `chain` counts the points that hold the disk together, this one included."""
    if method is None:
        return None
    return {"kind": method.kind, "reason": method.reason, "parent": method.parent_point, "chain": method.chain}

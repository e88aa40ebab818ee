"""What VMs are sorted and filtered by, beside their names."""

import re
from collections.abc import Sequence

from engine.jobs.inventory_rows import MachineRow, PointRow

SORTS: dict[str, str] = {
    "name": "by name",
    "power": "running first",
    "size": "largest first",
    "point": "oldest restore point first",
    "proof": "oldest proof first",
}
TAGS: dict[str, str] = {
    "#on": "running",
    "#off": "powered off",
    "#suspended": "suspended",
    "#template": "a template",
    "#snap": "with snapshots",
    "#leftover": "with a snapshot of a backup",
    "#locked": "locked by another product",
    "#consolidate": "disks need consolidation",
    "#nocbt": "without changed block tracking",
    "#skip": "with disks that a backup skips",
    "#never": "without any restore point",
    "#flaw": "with a damaged restore point",
    "#lost": "disconnected or inaccessible",
}
"""Words by which VMs can be filtered beside their names and addresses."""


def sort_value(sort: str, vm: MachineRow, points: Sequence[PointRow], proven: float | None) -> float:
    """Ascending; `points` newest first, `proven` when the last of them was. By name all are alike."""
    match sort:
        case "power":
            return {"poweredOn": 0, "suspended": 1}.get(vm.power, 2) + 3 * vm.template
        case "size":
            return -vm.allocated
        case "point":
            return points[0].created if points else 0
        case "proof":
            return proven or 0
    return 0


def tags_of(vm: MachineRow, points: Sequence[PointRow]) -> list[str]:
    """Those of TAGS that hold for a VM."""
    told = {
        "#on": vm.power == "poweredOn",
        "#off": vm.power == "poweredOff",
        "#suspended": vm.power == "suspended",
        "#template": vm.template,
        "#snap": vm.snapshots,
        "#leftover": any(snapshot.owner for snapshot in vm.snapshots),
        "#locked": vm.locked,
        "#consolidate": vm.consolidation,
        "#nocbt": not vm.cbt,
        "#skip": vm.skipped,
        "#never": not points,
        "#flaw": any(point.flaw for point in points),
        "#lost": vm.connection != "connected",
    }
    return [tag for tag, holds in told.items() if holds]


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """vm2 before vm10."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)

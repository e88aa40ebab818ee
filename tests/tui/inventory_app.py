"""The inventory pane alone in an app, with an estate that shows every case, and no vCenter."""

from pathlib import Path

from engine.config.options import Settings
from engine.jobs.inventory_rows import (
    Asked,
    DiskRow,
    MachineRow,
    PlaceRow,
    Planned,
    PointRow,
    Points,
    Rows,
    SnapshotRow,
    Status,
    Trouble,
    VmPoints,
)
from tui.app import VcbApp
from tui.models.inventory import JobMark
from tui.panes.inventory import InventoryPane
from tui.panes.pane import Pane
from tui.terminal import TerminalProfile

NOW = 1_700_000_000.0
HOUR, DAY, GIB = 3600.0, 86400.0, 1 << 30


def disk(key: int, used: int, size: int, code: str = "", reason: str = "") -> DiskRow:
    return DiskRow(
        key=2000 + key,
        name=f"scsi0:{key}",
        label=f"Hard disk {key + 1}",
        capacity=size * GIB,
        allocated=used * GIB,
        datastore="vmfs01",
        file=f"[vmfs01] vm/disk_{key}.vmdk",
        thin=True,
        code=code,
        reason=reason,
        mode="independent_persistent" if code else "persistent",
    )


def vm(number: int, name: str, folder: str, **facts: object) -> MachineRow:
    known = {"power": "poweredOn", "tools": True, "cbt": True, "disks": (disk(0, 6, 72),), "host": "host-1", **facts}
    return MachineRow(id=f"vm-{number}", name=name, folder=folder, **known)  # type: ignore[arg-type]


def snapshot(age: float, owner: str = "") -> SnapshotRow:
    name = "_VCB-BACKUP_" if owner else "before the update"
    return SnapshotRow(id="snapshot-1", name=name, created=NOW - age, owner=owner)


PLACES = (
    PlaceRow(id="dc-1", kind="datacenter", name="Berlin"),
    PlaceRow(id="group-v1", kind="folder", name="vm", parent="dc-1"),
    PlaceRow(id="group-web", kind="folder", name="Web", parent="group-v1"),
    PlaceRow(id="group-db", kind="folder", name="Databases", parent="group-v1"),
    PlaceRow(id="group-h1", kind="folder", name="host", parent="dc-1"),
    PlaceRow(id="cluster-1", kind="cluster", name="Gold", parent="group-h1"),
    PlaceRow(id="host-1", kind="host", name="esx01.example.org", parent="cluster-1"),
)
INDEPENDENT = disk(1, 20, 20, "independent", "Its mode is independent_persistent: snapshots leave it out.")
MACHINES = (
    vm(1, "web01", "group-web", ip="10.0.0.7", hostname="web01.example.org", guest="Debian GNU/Linux 12 (64-bit)"),
    vm(2, "web02", "group-web", snapshots=(snapshot(12 * DAY),), cbt=False),
    vm(3, "db01", "group-db", disks=(disk(0, 31, 200), INDEPENDENT)),
    vm(4, "db02", "group-db", snapshots=(snapshot(2 * HOUR, "ours"),), locked=("RelocateVM_Task",)),
    vm(5, "mail01", "group-v1", consolidation=True, task="VirtualMachine.createSnapshot"),
    vm(6, "archive01", "group-v1", power="poweredOff"),
    vm(7, "golden-debian12", "group-v1", power="poweredOff", template=True),
    vm(8, "Büro/Drucker 日本", "group-v1", power="suspended", connection="connected"),
    vm(9, "lost01", "group-v1", connection="disconnected"),
)


def point(number: int, age: float, *, proven: float | None = None, flaw: str = "", kind: str = "full") -> PointRow:
    when = None if flaw else NOW - (proven or age)
    return PointRow(
        name=f"2023110{number}T020000Z",
        directory=f"/backup/points/web01/2023110{number}T020000Z",
        created=NOW - age,
        kind=kind,
        stored=3 * GIB,
        proven=when,
        depth="files",
        flaw=flaw,
    )


POINTS = (
    VmPoints(
        vcenter="v", vm="vm-1", points=(point(2, 3 * HOUR, kind="incremental"), point(1, 9 * DAY, proven=2 * DAY))
    ),
    VmPoints(vcenter="v", vm="vm-3", points=(point(3, 40 * DAY, flaw="scsi0-0.vmdk has another SHA-256"),)),
)
LIVE = Status(
    state="live", since=NOW, vcenter="v", host="vc.example.org:443", user="backup", trust="ca", loaded=9, total=9
)
LOST = Status(
    state="lost",
    since=NOW - 90,
    vcenter="v",
    trouble=Trouble(code="connect", sentence="vc.example.org:443: nothing listens there."),
)


class QuietConfig(Pane, can_focus=True):
    pane_id, pane_title, purpose = "config", "Configuration", "Not of interest here."


class QuietLog(Pane, can_focus=True):
    pane_id, pane_title, purpose = "job_log", "Job log", "Not of interest here."


class InventoryApp(VcbApp):
    """`told` is what the pane's worker would have been asked."""

    def __init__(self, settings: Settings | None = None, *, profile: TerminalProfile | None = None) -> None:
        panes = (InventoryPane, QuietConfig, QuietLog)
        super().__init__(settings or Settings.of(), Path("/etc/vcb/config.js"), panes=panes, profile=profile)
        self.told: list[Asked] = []

    @property
    def pane(self) -> InventoryPane:
        assert self.main_screen is not None
        pane = self.main_screen.panes["inventory"]
        assert isinstance(pane, InventoryPane)
        return pane

    def fill(self) -> None:
        """Everything that a worker would have told by now."""
        self.pane.model.clock = lambda: NOW
        for message in (LIVE, Rows(rows=(*PLACES, *MACHINES)), Points(vms=POINTS)):
            self.pane._changed(self.pane.model.apply(message))
        self.pane._tell("")
        self.pane.tree_view.go(0)

    @property
    def screen_lines(self) -> list[str]:
        """The tree as text."""
        tree = self.pane.tree_view
        return [tree.render_line(y).text.rstrip() for y in range(tree.size.height)]

    def line_of(self, name: str) -> str:
        return next((line for line in self.screen_lines if name in line), "")


def plan(vm: MachineRow, **facts: object) -> dict[str, object]:
    """A plan's JSON form, as the worker sends it."""
    skipped = [{"disk": one.name, "code": one.code, "reason": one.reason} for one in vm.skipped]
    return {
        "vm": vm.name,
        "moref": vm.id,
        "path": f"/Berlin/vm/{vm.name}",
        "power": vm.power,
        "transport": "nbdssl",
        "format": "compact",
        "quiesce": {"asked": "auto", "possible": True},
        "snapshot": {"policy": "automatic", "action": "A snapshot is created and removed at the end."},
        "snapshots": [],
        "enable_change_tracking": False,
        "mount_point": {"path": f"/backup/fullvm-{vm.name}", "found": "nothing"},
        "disks": [_planned_disk(one) for one in vm.disks],
        "disks_skipped": skipped,
        "bytes_provisioned": vm.provisioned,
        "bytes_allocated": vm.allocated,
        "bytes_to_read": sum(one.allocated or 0 for one in vm.disks if not one.code),
        "space": {"needed": 32 * GIB, "free": 500 * GIB, "keep_free": GIB},
        "privileges_missing": [],
        "findings": [],
        "warnings": [],
        "error": None,
        **facts,
    }


def _planned_disk(one: DiskRow) -> dict[str, object]:
    skip = {"code": one.code, "reason": one.reason} if one.code else None
    method = None if skip else {"kind": "full", "reason": "It is the first restore point.", "parent": "", "chain": 1}
    return {
        "key": one.key,
        "name": one.name,
        "label": one.label,
        "file": one.file,
        "datastore": one.datastore,
        "mode": one.mode,
        "backing": one.backing,
        "capacity": one.capacity,
        "allocated": one.allocated,
        "to_read": 0 if skip else one.allocated,
        "skipped": skip,
        "method": method,
    }


def answers(app: InventoryApp, **facts: object) -> None:
    """From now on the worker answers requests for plans at once."""

    async def answer(specs: list[str], settings: Settings) -> Planned:
        app.told.append(Asked(do="plan", specs=tuple(specs)))
        machines = {f"moref:{one.id}": one for one in MACHINES}
        return Planned(request=1, plans=tuple(plan(machines[spec], **facts) for spec in specs))

    app.pane.feed.plan = answer  # type: ignore[method-assign]


__all__ = ["DAY", "HOUR", "LIVE", "LOST", "MACHINES", "NOW", "PLACES", "POINTS", "InventoryApp", "JobMark", "answers"]

"""What the inventory worker says to the console, one JSON message a line. No pyVmomi here: both ends import it.

Times are seconds since the epoch, sizes bytes. Fields that have their default are left out on the wire.
"""

from typing import Any

import msgspec

from engine.errors import VcbError
from engine.secret import redact

CHUNK = 250
"""Rows a message: small enough that reading one never holds up a key press (facts/terminal.md, 4)."""


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="is"):
    """Base of rows and messages."""


class PlaceRow(Wire, frozen=True, kw_only=True, tag="place"):
    """See engine.vsphere.inventory_watch.Place."""

    id: str
    kind: str
    name: str
    parent: str = ""


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`owner`: "ours" (provably this proxy's), "backup" (another's backup snapshot, or one without proof) or ""."""

    id: str
    name: str
    created: float
    owner: str = ""
    quiesced: bool = False
    parent: str = ""


class DiskRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`code` and `reason` say why a backup leaves it out; both "" for a disk that is exported. `allocated` is None
    where the server tells no size."""

    key: int
    name: str
    label: str
    capacity: int
    allocated: int | None = None
    datastore: str = ""
    file: str = ""
    mode: str = "persistent"
    backing: str = "flat"
    thin: bool | None = None
    code: str = ""
    reason: str = ""

    @property
    def mark(self) -> str:
        """As VCB's log named what it left out: VMDK(INDEPENDENT)."""
        return f"VMDK({self.code.upper().replace('PHYSICAL-', '')})" if self.code else ""


class MachineRow(Wire, frozen=True, kw_only=True, tag="vm"):
    """One VM with all that the tree and the detail panel show. `locked` are the methods that a backup needs and that
    vCenter has disabled; `task` is what the server does with it just now."""

    id: str
    name: str
    folder: str = ""
    host: str = ""
    power: str = ""
    connection: str = "connected"
    template: bool = False
    fault_tolerant: bool = False
    encrypted: bool = False
    tools: bool = False
    cbt: bool = False
    cbt_supported: bool = False
    consolidation: bool = False
    locked: tuple[str, ...] = ()
    task: str = ""
    ip: str = ""
    hostname: str = ""
    guest: str = ""
    hardware: str = ""
    uuid: str = ""
    vmx: str = ""
    snapshots: tuple[SnapshotRow, ...] = ()
    disks: tuple[DiskRow, ...] = ()

    @property
    def provisioned(self) -> int:
        return sum(disk.capacity for disk in self.disks)

    @property
    def allocated(self) -> int:
        return sum(disk.allocated or 0 for disk in self.disks)

    @property
    def skipped(self) -> tuple[DiskRow, ...]:
        return tuple(disk for disk in self.disks if disk.code)


Row = PlaceRow | MachineRow


class PointRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One restore point. `proven` is when it was last proven, None once damage was found, which `flaw` tells; `depth`
    how deeply (engine.points.proof.Depth). `drilled` is when it was last drilled, `drill` how that ended
    (engine.events.ResultState)."""

    name: str
    directory: str
    created: float
    kind: str = ""
    stored: int = 0
    proven: float | None = None
    depth: str = ""
    flaw: str = ""
    drilled: float | None = None
    drill: str = ""


class VmPoints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All points of one VM of one vCenter, newest first; none once the last one is gone. `drilled` and `drill` as in
    PointRow, of the VM's last drill, whose point may be gone."""

    vcenter: str
    vm: str
    points: tuple[PointRow, ...]
    drilled: float | None = None
    drill: str = ""


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An engine error: see engine.errors.VcbError."""

    code: str
    sentence: str
    fault: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: VcbError) -> "Trouble":
        return cls(code=error.code, sentence=redact(error.sentence), fault=error.fault, hint=redact(error.hint))


class Status(Wire, frozen=True, kw_only=True, tag="status"):
    """`state`: connecting, loading (`loaded` of `total` VMs), live, lost (tries again by itself at `again`) or refused
    (doesn't try again before it is told to). `since` is when it got there. `trust`: pinned (one approved certificate),
    ca (a CA bundle) or "" before a connection."""

    state: str
    since: float
    loaded: int = 0
    total: int = 0
    host: str = ""
    user: str = ""
    server: str = ""
    vcenter: str = ""
    trust: str = ""
    again: float = 0.0
    trouble: Trouble | None = None


class Rows(Wire, frozen=True, kw_only=True, tag="rows"):
    """Rows that appeared or changed, and the ids of those that went."""

    rows: tuple[Row, ...] = ()
    gone: tuple[str, ...] = ()


class Points(Wire, frozen=True, kw_only=True, tag="points"):
    """VMs whose restore points differ from what was told before."""

    vms: tuple[VmPoints, ...]


class Planned(Wire, frozen=True, kw_only=True, tag="planned"):
    """The answer to a request for a plan: a plan (engine.flow.plan.Plan.to_json) or an error for each specification."""

    request: int
    plans: tuple[dict[str, Any], ...] = ()
    troubles: dict[str, Trouble] = {}


Message = Status | Rows | Points | Planned
decode = msgspec.json.Decoder(Message).decode
encode = msgspec.json.Encoder().encode


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the console says. `do`: plan (of `specs`, with the `settings` of the moment), reconnect (after a refusal, or
    instead of waiting) or points (look at BACKUPROOT now)."""

    do: str
    request: int = 0
    specs: tuple[str, ...] = ()
    settings: dict[str, Any] = {}


asked = msgspec.json.Decoder(Asked).decode

"""One thing that a job left behind, or that looks like it: whose it is, and whether it may go."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.vsphere.delta import Delta


class Verdict(StrEnum):
    """What is known of it. Only what is OURS is ever touched."""

    OURS = "ours"
    """Provably this proxy's, and its job is dead: it goes."""
    GONE = "gone"
    """A ledger still tells of it, but it is not there any more: the ledger is told."""
    RUNNING = "running"
    """A job that lives works with it."""
    KEPT = "kept"
    """Stays on purpose: SNAPSHOT_POLICY, or mounted until vcb unmount."""
    FOREIGN = "foreign"
    """Another proxy's."""
    UNPROVEN = "unproven"
    """Perhaps ours; nothing proves it, or nothing proves that it may go. For the operator to decide."""
    UNCHECKED = "unchecked"
    """It could not be looked at."""


Record = tuple[str, int]
"""A job, and the number of an entry of its ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """`id` names it within its kind (a moref, a task, a path). `vcenter` and `vm` (a moref) say whose lock guards it;
    both may be "". `since` is in seconds since the epoch. `records` are told when it is gone."""

    kind: str
    verdict: Verdict
    id: str
    text: str
    why: str = ""
    job: str = ""
    owner: str = ""
    vcenter: str = ""
    vm: str = ""
    vm_name: str = ""
    since: float | None = None
    delta: Delta | None = None
    records: tuple[Record, ...] = ()

    def to_json(self) -> dict[str, Any]:
        delta = self.delta
        return {
            "kind": self.kind,
            "verdict": self.verdict.value,
            "id": self.id,
            "text": self.text,
            "why": self.why,
            "job": self.job,
            "owner": self.owner,
            "vcenter": self.vcenter,
            "vm": self.vm,
            "vm_name": self.vm_name,
            "since": self.since,
            "delta_bytes": delta.size if delta else None,
            "datastore": delta.datastore if delta else None,
            "datastore_free_bytes": delta.free if delta else None,
            "datastore_capacity_bytes": delta.capacity if delta else None,
        }

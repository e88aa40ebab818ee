"""SNAPSHOT_POLICY and PREEXISTING_VCB_SNAPSHOT as pure decisions (facts: VCB's config.js, one row a value).

| policy     | needs                     | creates | removes at the end |
|------------|---------------------------|---------|--------------------|
| automatic  | none (PREEXISTING speaks) | yes     | yes                |
| createonly | none (PREEXISTING speaks) | yes     | no                 |
| manual     | exactly one               | no      | never              |
| deleteonly | exactly one, ours         | no      | yes                |

What isn't provably ours is never removed: a snapshot counts as ours when its description carries our token for this
proxy, this vCenter and this VM, or when the operator adopted it by its moref.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.errors import PolicyError
from engine.vsphere.snapshots import SNAPSHOT_NAME, Snapshot


@dataclass(frozen=True, slots=True)
class SnapshotDecision:
    """What a run does about snapshots."""

    remove_first: tuple[Snapshot, ...]
    """Left-over backup snapshots of ours that go before the new one is made."""
    create: bool
    use: Snapshot | None
    """The existing snapshot that is read, when none is created."""
    remove_after: bool
    why: str


def decide_snapshot(
    policy: str, preexisting: str, existing: Sequence[Snapshot], ours: Callable[[Snapshot], bool]
) -> SnapshotDecision:
    """`existing` are all snapshots of the VM. Raises PolicyError where the policies forbid going on."""
    backups = tuple(snapshot for snapshot in existing if snapshot.name == SNAPSHOT_NAME)
    if policy in ("manual", "deleteonly"):
        return _use_existing(policy, backups, ours)
    remove_after = policy == "automatic"
    kept = "and removed at the end" if remove_after else "and left in place (createonly)"
    if not backups:
        return SnapshotDecision((), True, None, remove_after, f"A snapshot is created {kept}.")
    if preexisting == "fail":
        raise PolicyError(
            f"The VM already has {_list(backups)}, and PREEXISTING_VCB_SNAPSHOT is fail.",
            hint="Find out which run left it; remove it, or set PREEXISTING_VCB_SNAPSHOT to delete.",
        )
    strangers = tuple(snapshot for snapshot in backups if not ours(snapshot))
    if strangers:
        raise PolicyError(
            f"PREEXISTING_VCB_SNAPSHOT is delete, but {_list(strangers)} is not provably this proxy's.",
            hint="If it may be removed, name it: --adopt " + strangers[0].moref,
        )
    return SnapshotDecision(
        backups, True, None, remove_after, f"{_list(backups)} is removed first; a snapshot is created {kept}."
    )


def _use_existing(policy: str, backups: tuple[Snapshot, ...], ours: Callable[[Snapshot], bool]) -> SnapshotDecision:
    if len(backups) != 1:
        found = "there is none" if not backups else f"there are {len(backups)}: {_list(backups)}"
        raise PolicyError(
            f"SNAPSHOT_POLICY {policy} needs exactly one snapshot named {SNAPSHOT_NAME}; {found}.",
            hint="Create it first (SNAPSHOT_POLICY createonly does), or use automatic.",
        )
    snapshot = backups[0]
    if policy == "manual":
        return SnapshotDecision((), False, snapshot, False, f"{_list(backups)} is read and left untouched (manual).")
    if not ours(snapshot):
        raise PolicyError(
            f"SNAPSHOT_POLICY deleteonly would remove {_list(backups)}, which is not provably this proxy's.",
            hint="If it may be removed at the end, name it: --adopt " + snapshot.moref,
        )
    return SnapshotDecision(
        (), False, snapshot, True, f"{_list(backups)} is read, and removed at the end (deleteonly)."
    )


def _list(snapshots: Sequence[Snapshot]) -> str:
    return ", ".join(f"{s.name} ({s.moref}, of {s.created:%Y-%m-%d %H:%M})" for s in snapshots)

"""How much a snapshot costs: what was written since it was made, and the room that is left where that grows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.vsphere.properties import Ref, get, get_one
from engine.vsphere.session import Session
from engine.vsphere.snapshots import Snapshot

_LAYOUT = ["layoutEx.file", "layoutEx.disk", "layoutEx.snapshot", "datastore"]


@dataclass(frozen=True, slots=True)
class Delta:
    """All in bytes; `free` and `capacity` are those of `datastore`, the fullest one that the delta lies on."""

    size: int
    datastore: str
    free: int
    capacity: int


def deltas(session: Session, vm_moref: str, snapshots: Iterable[Snapshot]) -> dict[str, Delta]:
    """By the moref of each snapshot: the files that hold what the VM wrote between it and the next one, or until now.

    Sizes are those of layoutEx, which vCenter refreshes with some delay while the VM runs.
    """
    values = get_one(session, Ref("VirtualMachine", vm_moref), _LAYOUT)
    files = {each["key"]: each for each in values.get("layoutEx.file", ())}
    frozen = {each["key"].moid: _keys(each.get("disk", ())) for each in values.get("layoutEx.snapshot", ())}
    live = _keys(values.get("layoutEx.disk", ()))
    rooms = _rooms(session, values.get("datastore", ()))
    found: dict[str, Delta] = {}
    for snapshot in snapshots:
        above = [frozen.get(child, set()) for child in snapshot.children] or [live]
        own = set().union(*above) - frozen.get(snapshot.moref, set())
        names = {files[key]["name"].partition("]")[0].lstrip("[") for key in own if key in files}
        free, capacity, datastore = min((rooms[name] for name in names if name in rooms), default=(0, 0, ""))
        found[snapshot.moref] = Delta(
            sum(files[key].get("size", 0) for key in own if key in files), datastore, free, capacity
        )
    return found


def _keys(disks: Iterable[Mapping[str, Any]]) -> set[int]:
    return {key for disk in disks for link in disk.get("chain", ()) for key in link.get("fileKey", ())}


def _rooms(session: Session, datastores: Iterable[Ref]) -> dict[str, tuple[int, int, str]]:
    rows = get(session, list(datastores), ["name", "summary.freeSpace", "summary.capacity"]).values()
    return {
        row["name"]: (row.get("summary.freeSpace", 0), row.get("summary.capacity", 0), row["name"])
        for row in rows
        if "name" in row
    }

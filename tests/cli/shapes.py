"""Plans, outcomes and event streams as the engine gives them (the JSON forms of engine.flow)."""

from collections.abc import Iterator
from typing import Any

from engine.events import (
    DiskEnded,
    DiskProgress,
    DiskSkipped,
    DiskStarted,
    Event,
    LogRecord,
    PlanMade,
    Result,
    StageEnded,
    StageStarted,
)

GIB, MIB = 1 << 30, 1 << 20
TWENTY = range(1, 21)
START = 1_767_323_045.0  # 2026-01-02 03:04:05 UTC

INDEPENDENT = {"code": "independent", "reason": "an independent disk takes no part in snapshots"}


def disk(key: int, name: str, label: str, **changes: Any) -> dict[str, Any]:
    shape = {
        "key": key,
        "name": name,
        "label": label,
        "file": f"[datastore1] web01/web01{'' if key == 2000 else f'_{key - 2000}'}.vmdk",
        "datastore": "datastore1",
        "mode": "persistent",
        "backing": "flat",
        "capacity": 72 * GIB,
        "allocated": GIB,
        "to_read": GIB,
        "skipped": None,
    }
    return shape | changes


def plan(**changes: Any) -> dict[str, Any]:
    shape = {
        "vm": "web01",
        "moref": "vm-21",
        "path": "/Tokyo/vm/Web/web01",
        "power": "poweredOn",
        "transport": "nbdssl",
        "format": "compact",
        "quiesce": {"asked": "auto", "possible": True},
        "snapshot": {
            "policy": "automatic",
            "action": "A snapshot is created and removed at the end.",
            "name": "_VCB-BACKUP_",
        },
        "snapshots": [
            {"name": "before update", "moref": "snapshot-9", "created": "2020-01-01T00:00:00+00:00", "owner": "foreign"}
        ],
        "mount_point": {"path": "/srv/vcb/fullvm-web01-vm-21", "found": "nothing"},
        "disks": [
            disk(2000, "scsi0:0", "Hard disk 1"),
            disk(
                2001, "scsi0:1", "Hard disk 2", mode="independent_persistent", capacity=10 * GIB, allocated=None,
                to_read=0, skipped=INDEPENDENT,
            ),
        ],
        "disks_skipped": [{"disk": "scsi0:1", **INDEPENDENT}],
        "bytes_provisioned": 82 * GIB,
        "bytes_allocated": GIB,
        "bytes_to_read": GIB,
        "space": {"needed": 1027 * MIB, "free": 20 * GIB, "keep_free": GIB},
        "privileges_missing": [],
        "findings": [],
        "warnings": ["The guest tools are old."],
        "error": None,
    }  # fmt: skip
    return shape | changes


def outcome(**changes: Any) -> dict[str, Any]:
    first, second = plan()["disks"]
    done = {
        "read": GIB,
        "stored": 412 * MIB,
        "seconds": 10.5,
        "transport": "nbdssl",
        "bottleneck": "deflate",
        "files": [{"name": "web01.vmdk", "size": 412 * MIB, "sha256": "0" * 64}],
    }
    untouched = {"read": 0, "stored": 0, "seconds": 0.0, "transport": "", "files": []}
    shape = plan() | {
        "job": "job-1",
        "result": "completed with exceptions",
        "state": "completed with exceptions",
        "sentence": "scsi0:1 (Hard disk 2) was skipped: an independent disk takes no part in snapshots.",
        "quiesce": {"asked": "auto", "possible": True, "reached": "quiesced"},
        "snapshot": {"policy": "automatic", "name": "_VCB-BACKUP_", "moref": "snapshot-31", "fate": "removed"},
        "disks": [first | done, second | untouched],
        "point": "/srv/vcb/fullvm-web01-vm-21",
        "points": ["/srv/vcb/fullvm-web01-vm-21"],
        "bytes_read": GIB,
        "bytes_stored": 412 * MIB,
        "stages": [
            {"stage": "lookup", "seconds": 0.1, "outcome": "ok"},
            {"stage": "export", "seconds": 10.6, "outcome": "ok"},
            {"stage": "remove snapshot", "seconds": 75.0, "outcome": "ok"},
        ],
        "exceptions": ["scsi0:1 (Hard disk 2) was skipped: an independent disk takes no part in snapshots."],
        "leftovers": [],
    }
    return shape | changes


FAULT = {
    "code": "busy",
    "sentence": "Another task holds web01.",
    "fault": "vim.fault.TaskInProgress",
    "hint": "Wait for it, or set MAX_RETRIES.",
    "transient": True,
}


def failed_outcome() -> dict[str, Any]:
    return outcome(
        result="failure",
        state="failure",
        sentence=FAULT["sentence"],
        error=FAULT,
        point=None,
        points=[],
        bytes_read=0,
        bytes_stored=0,
        disks=plan()["disks"],
        snapshot={"policy": "automatic", "name": "_VCB-BACKUP_", "moref": "", "fate": ""},
        quiesce={"asked": "auto", "reached": "not reached"},
        stages=[{"stage": "snapshot", "seconds": 0.3, "outcome": "failed"}],
        warnings=[],
        leftovers=["snapshot snapshot-31 of web01"],
    )


def events() -> Iterator[Event]:
    """A run from lookup to result, one second apart."""
    at = START
    scope: dict[str, Any] = {"vm": "web01"}
    read = {"disk": "scsi0:0", "stage": "export"}
    bodies: list[tuple[type[Event], dict[str, Any]]] = [
        (StageStarted, {"stage": "lookup"}),
        (StageEnded, {"stage": "lookup", "seconds": 0.1}),
        (StageStarted, {"stage": "checks"}),
        (PlanMade, {"stage": "checks", "plan": plan()}),
        (LogRecord, {"level": 2, "text": "The guest tools are old.", "hint": "Update them."}),
        (DiskSkipped, {"disk": "scsi0:1", **INDEPENDENT}),
        (StageEnded, {"stage": "checks", "seconds": 0.2}),
        (StageStarted, {"stage": "export"}),
        (DiskStarted, {**read, "transport": "nbdssl", "capacity": 72 * GIB, "to_read": GIB}),
        *(
            (DiskProgress, {**read, "read": n * GIB // 20, "to_read": GIB, "stored": n * 20 * MIB})
            for n in range(1, 21)
        ),
        (DiskEnded, {**read, "read": GIB, "stored": 412 * MIB, "seconds": 20.0, "bottleneck": "deflate"}),
        (LogRecord, {**read, "level": 4, "text": "a step\x1b[31m that tries to paint"}),
        (StageEnded, {"stage": "export", "seconds": 21.0}),
        (Result, {"state": "success", "sentence": "1 disk backed up.", "summary": {}}),
    ]
    for kind, body in bodies:
        yield kind(at=at, **scope | body)
        at += 1

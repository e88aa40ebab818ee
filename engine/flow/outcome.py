"""How a job ended: what it did to each disk, what it left, and why."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import VcbError
from engine.events import ResultState
from engine.flow.incremental import DiskMethod
from engine.flow.plan import EXCLUDED, Plan, method_json
from engine.image.written import WrittenFile
from engine.points.manifest import FileEntry
from engine.vsphere.disks import Disk


@dataclass(slots=True)
class DiskOutcome:
    """One exported disk; all sizes bytes. `read` is what the transport delivered, `audited` bytes of them to audit CBT;
    `stored` the size of its files. `method` is what was done in the end; `alarm` says that CBT was caught lying."""

    disk: Disk
    transport: str
    read: int
    stored: int
    seconds: float
    cid: str
    files: tuple[WrittenFile, ...]
    method: DiskMethod
    grains: FileEntry | None = None
    audited: int = 0
    alarm: str = ""
    bottleneck: str = ""
    levels: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """Filled while the job runs; `state` is derived from what is in it."""

    job: str
    act: str = "backup"
    """backup, mount or unmount: what the job was asked for."""
    vm: str = ""
    plan: Plan | None = None
    point: Path | None = None
    transport: str = ""
    quiesced: str = "not reached"
    """quiesced, crash-consistent, powered off, or not reached."""
    snapshot: str = ""
    snapshot_fate: str = ""
    disks: list[DiskOutcome] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    """What makes a success one with exceptions."""
    warnings: list[str] = field(default_factory=list)
    error: VcbError | None = None
    leftovers: list[str] = field(default_factory=list)

    @property
    def state(self) -> ResultState:
        return ResultState.of(self.error, self.exceptions)

    @property
    def sentence(self) -> str:
        if self.error is not None:
            return self.error.sentence
        if self.exceptions:
            return " ".join(self.exceptions)
        disks = "1 disk" if len(self.disks) == 1 else f"{len(self.disks)} disks"
        if self.act == "mount":
            return f"{disks} exported to {self.point}, until vcb unmount."
        if self.act == "unmount":
            return f"{self.point} is removed."
        return f"{disks} backed up."

    def note_skipped(self) -> None:
        """A disk that the operator excluded is no exception; any other left out is one, told with its reason."""
        assert self.plan is not None
        for planned in self.plan.skipped:
            assert planned.skip is not None
            if planned.skip.code != EXCLUDED:
                self.exceptions.append(f"{planned.disk.name} ({planned.disk.label}) was skipped: {planned.skip.text}")

    def to_json(self) -> dict[str, Any]:
        shape: dict[str, Any] = self.plan.to_json() if self.plan else {"disks": [], "disks_skipped": []}
        exported = {done.disk.key: done for done in self.disks}
        for row in shape["disks"]:
            row.update(_exported_json(exported.get(row["key"])))
        if self.vm:
            shape["vm"] = self.vm
        shape.update(
            job=self.job,
            act=self.act,
            result=self.state.value,
            state=self.state.value,
            sentence=self.sentence,
            transport=self.transport or shape.get("transport", ""),
            quiesce={**shape.get("quiesce", {}), "reached": self.quiesced},
            snapshot={**shape.get("snapshot", {}), "moref": self.snapshot, "fate": self.snapshot_fate},
            point=str(self.point) if self.point else None,
            points=[str(self.point)] if self.point and self.act == "backup" else [],
            cbt_to_reset=[done.disk.name for done in self.disks if done.alarm],
            bytes_read=sum(done.read for done in self.disks),
            bytes_stored=sum(done.stored for done in self.disks),
            stages=self.stages,
            exceptions=self.exceptions,
            warnings=[*shape.get("warnings", []), *self.warnings],
            leftovers=self.leftovers,
            error=self.error.to_json() if self.error else None,
        )
        return shape


def _exported_json(done: DiskOutcome | None) -> dict[str, Any]:
    if done is None:
        return {"read": 0, "stored": 0, "seconds": 0.0, "transport": "", "files": []}
    return {
        "read": done.read,
        "stored": done.stored,
        "seconds": done.seconds,
        "transport": done.transport,
        "method": method_json(done.method),
        "audited": done.audited,
        "bottleneck": done.bottleneck,
        "levels": done.levels,
        "files": [asdict(file) for file in done.files],
    }

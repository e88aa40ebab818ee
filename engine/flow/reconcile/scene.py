"""What the search looks at: the ledgers of this proxy, BACKUPROOT, and the VMs of the vCenter, if it can be reached."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import VcbError
from engine.flow import ledger
from engine.flow.ledger import Entry, Kind, Ledger
from engine.flow.reconcile.leftover import Record, Verdict
from engine.points import mount_point as mounts
from engine.points.mount_point import Marker
from engine.points.naming import MOUNT_PREFIX
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from engine.vsphere.properties import Ref, collect, get
from engine.vsphere.session import Session
from engine.vsphere.snapshots import TREE, Snapshot, snapshots_of

SETTLER = "vcb reconcile"
"""Who told a dead job's ledger that its things are gone."""
_PATHS = ["name", "runtime.consolidationNeeded", TREE]


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job as its ledger tells it; `running` when it still lives."""

    id: str
    directory: Path
    entries: tuple[Entry, ...]
    running: bool

    @property
    def header(self) -> dict[str, Any]:
        """Of the VM, its vCenter, and this proxy; empty when the job died before it knew."""
        return next((entry.details for entry in self.entries if entry.kind is Kind.JOB), {})

    def open(self, kind: Kind) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry.open and entry.kind is kind)


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM of the vCenter: what the search wants to know."""

    moref: str
    name: str
    consolidation_needed: bool
    snapshots: tuple[Snapshot, ...]


@dataclass(slots=True)
class Scene:
    """`session` is None when no vCenter could be reached, `root` when BACKUPROOT can't be used; `unchecked` says why.
    `adopted` are snapshots (morefs) that the operator declared removable."""

    settings: Settings
    state: StateDirectory
    report: Reporter
    cancel: CancelToken
    session: Session | None = None
    adopted: frozenset[str] = frozenset()
    root: Path | None = None
    jobs: dict[str, PastJob] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)

    @property
    def vcenter(self) -> str:
        return self.session.instance_uuid if self.session else ""

    def read_local(self) -> None:
        """The ledgers and BACKUPROOT."""
        self.jobs = {}
        for path in sorted(self.state.jobs.glob(f"*/{ledger.FILE_NAME}")):
            job = path.parent.name
            running = ledger.in_use(path)  # first: what it wrote before it ended is then read
            try:
                self.jobs[job] = PastJob(job, path.parent, tuple(ledger.read(path)), running)
            except (OSError, ValueError, KeyError) as error:
                self.unchecked.append(f"The ledger of job {job} can't be read ({type(error).__name__}): {path}")
        try:
            self.root = mounts.backuproot(self.settings.BACKUPROOT)
        except VcbError as error:
            self.root = None
            self.unchecked.append(error.sentence)

    def read_machines(self) -> None:
        """Every VM that the user may see."""
        assert self.session is not None
        rows = collect(self.session, "VirtualMachine", _PATHS)
        self.machines = {row.ref.moid: _machine(row.ref, row.values) for row in rows}

    def read_again(self, vm: str) -> None:
        """The ledgers, and this VM: before something of it is touched."""
        self.unchecked.clear()
        self.read_local()
        if self.session is not None and vm:
            ref = Ref("VirtualMachine", vm)
            values = get(self.session, [ref], _PATHS).get(ref)
            self.machines.pop(vm, None)
            if values is not None:
                self.machines[vm] = _machine(ref, values)

    def busy(self, vcenter: str, vm: str) -> PastJob | None:
        """The job that works on this VM now."""
        for job in self.jobs.values():
            if job.running and (job.header.get("vcenter"), job.header.get("vm")) == (vcenter, vm):
                return job
        return None

    def dead(self) -> Iterator[PastJob]:
        return (job for job in self.jobs.values() if not job.running)

    def name_of(self, vm: str) -> str:
        return self.machines[vm].name if vm in self.machines else vm

    def verdict_elsewhere(self, job: PastJob) -> tuple[Verdict, str] | None:
        """What keeps this session from looking at the things of a job; None when nothing does."""
        if self.session is None:
            return Verdict.UNCHECKED, "no vCenter was reached"
        if job.header.get("vcenter") != self.vcenter:
            return Verdict.UNCHECKED, f"it belongs to another vCenter ({job.header.get('vcenter', 'unknown')})"
        return None

    def mount_points(self) -> Iterator[tuple[Path, Marker | None]]:
        """The directories of runs in BACKUPROOT, finished or not; symlinks are not followed."""
        if self.root is None:
            return
        for path in sorted(self.root.glob(f"{MOUNT_PREFIX}*")):
            if path.is_dir() and not path.is_symlink():
                yield path, mounts.read_marker(path)

    def settle(self, records: tuple[Record, ...]) -> None:
        """Tells the ledgers of dead jobs that something of theirs is gone."""
        for job_id in dict.fromkeys(job for job, _ in records):
            told = Ledger.resume(self.state.job(job_id))
            try:
                for entry in told.entries:
                    if (job_id, entry.number) in records and entry.open:
                        told.undone(entry.number, by=SETTLER)
            finally:
                told.close()


def _machine(ref: Ref, values: dict[str, Any]) -> Machine:
    return Machine(
        ref.moid,
        values.get("name", ref.moid),
        bool(values.get("runtime.consolidationNeeded")),
        snapshots_of(values.get(TREE, ())),
    )

"""What dead jobs leave in BACKUPROOT: directories, removals of restore points that were cut off, the lock file."""

from collections.abc import Iterator
from pathlib import Path

from engine.errors import PolicyError
from engine.flow.ledger import Entry, Fate, Kind
from engine.flow.locks import abandoned, root_lock
from engine.flow.reconcile.leftover import Leftover, Record, Verdict
from engine.flow.reconcile.scene import PastJob, Scene
from engine.image.carve import abandoned as abandoned_scratch
from engine.points import mount_point as mounts, unmarked
from engine.points.mount_point import Marker
from engine.points.naming import PARTIAL_SUFFIX
from engine.points.removal import finish_removal, tombstones


class Directories:
    kind = "directory"
    action = "remove the directory with what the job wrote into it"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        there: set[Path] = set()
        for path, marker in scene.mount_points():
            there.add(path)
            yield _judged(scene, path, marker, _told(scene, path, marker))
        for job in scene.jobs.values():
            for entry in job.open(Kind.DIRECTORY):
                path = Path(entry.details.get("path", ""))
                if path not in there and not job.running:
                    yield _recorded_only(scene, job, entry, path)

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.root is not None
        path = Path(leftover.id)
        with root_lock(scene.root, scene.state, "reconcile"):
            marker = mounts.read_marker(path)
            if marker is not None:
                mounts.remove(path, marker, scene.root)
            else:
                unmarked.remove(path, scene.root)
        scene.report.step(f"Removed {path}.")


class Removals:
    kind = "removal"
    action = "complete the removal of the restore point"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for path in tombstones(scene.root) if scene.root else ():
            yield Leftover(
                kind=self.kind,
                verdict=Verdict.OURS,
                id=str(path),
                text=f"restore point {path.name}, whose removal was cut off",
                why="its removal had been confirmed",
                owner="this BACKUPROOT",
                since=path.lstat().st_mtime,
            )

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.root is not None
        with root_lock(scene.root, scene.state, "reconcile"):
            finish_removal(scene.root, Path(leftover.id))


class Scratches:
    kind = "scratch"
    action = "remove the scratch"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for path in abandoned_scratch(scene.root) if scene.root else ():
            yield Leftover(
                kind=self.kind,
                verdict=Verdict.OURS,
                id=str(path),
                text=f"scratch {path} of a drill",
                why="no process holds it",
                owner="this BACKUPROOT",
                since=path.lstat().st_mtime,
            )

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.root is not None
        for path in abandoned_scratch(scene.root):
            if str(path) == leftover.id:
                path.unlink(missing_ok=True)


class RootLocks:
    kind = "lock"
    action = "remove the lock file"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        left = abandoned(scene.root) if scene.root else None
        if left is None or (left.holder is not None and left.holder.proxy != scene.state.proxy_id):
            return
        holder = left.holder
        yield Leftover(
            kind=self.kind,
            verdict=Verdict.OURS,
            id=str(left.path),
            text=f"lock file {left.path}",
            why=f"job {holder.job} died" if holder else "it names nobody, and nobody holds it: its job died at once",
            job=holder.job if holder else "",
            owner="this proxy" if holder else "this BACKUPROOT",
            since=holder.since if holder else None,
        )

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.root is not None
        with root_lock(scene.root, scene.state, "reconcile"):
            scene.report.step(f"{leftover.id} goes with its last user.")


def _told(scene: Scene, path: Path, marker: Marker | None) -> list[tuple[PastJob, Entry]]:
    """The entries about this directory, oldest first; a mount point is named by its partial form until it is told."""
    names = {str(path), str(mounts.partial(path))} if not path.name.endswith(PARTIAL_SUFFIX) else {str(path)}
    found = [
        (job, entry)
        for job in scene.jobs.values()
        for entry in job.entries
        if entry.kind is Kind.DIRECTORY and entry.details.get("path") in names
        if entry.details.get("path") == str(path) or (marker is not None and marker.job == job.id)
    ]
    return sorted(found, key=lambda pair: pair[1].at)


def _judged(scene: Scene, path: Path, marker: Marker | None, told: list[tuple[PastJob, Entry]]) -> Leftover:
    open_records: tuple[Record, ...] = tuple((job.id, entry.number) for job, entry in told if entry.open)
    job = marker.job if marker else (told[-1][0].id if told else "")
    header = told[-1][0].header if told else {}
    vcenter, vm = (marker.vcenter, marker.vm) if marker else (header.get("vcenter", ""), header.get("vm", ""))
    verdict, why = _verdict(scene, path, marker, told, (vcenter, vm))
    owner = "this proxy" if verdict is Verdict.OURS or told else "unknown"
    if marker is not None:
        owner = "this proxy" if marker.proxy == scene.state.proxy_id else f"proxy {marker.proxy}"
    return Leftover(
        kind=Directories.kind,
        verdict=verdict,
        id=str(path),
        text=f"directory {path}",
        why=why,
        job=job,
        owner=owner,
        vcenter=vcenter,
        vm=vm,
        vm_name=marker.vm_name if marker else scene.name_of(vm),
        since=path.lstat().st_mtime,
        records=open_records,
    )


def _verdict(  # noqa: PLR0911 - one verdict a line, the most certain first
    scene: Scene, path: Path, marker: Marker | None, told: list[tuple[PastJob, Entry]], vm: tuple[str, str]
) -> tuple[Verdict, str]:
    if marker is not None and marker.proxy != scene.state.proxy_id:
        return Verdict.FOREIGN, f"made by job {marker.job} of proxy {marker.proxy}"
    if any(job.running for job, _ in told):
        return Verdict.RUNNING, f"job {told[-1][0].id} is running"
    if busy := scene.busy(*vm):
        return Verdict.RUNNING, f"job {busy.id} works on the VM"
    if not told and marker is None:
        return Verdict.UNPROVEN, "no marker in it and no ledger tells whose it is"
    finished = not path.name.endswith(PARTIAL_SUFFIX)
    if finished and (not told or told[-1][1].fate is Fate.LEFT):
        return Verdict.KEPT, "mounted until vcb unmount"
    if marker is not None and marker.snapshot and marker.vcenter != scene.vcenter:
        # The marker is a record of the snapshot: it stays until that has been looked for.
        return Verdict.UNCHECKED, f"its snapshot {marker.snapshot} could not be looked for"
    try:
        if marker is not None:
            mounts.require_only_ours(path, marker)
        else:
            unmarked.require_only_ours(path)
    except PolicyError as error:
        return Verdict.UNPROVEN, error.sentence
    return Verdict.OURS, f"job {marker.job if marker else told[-1][0].id} died"


def _recorded_only(scene: Scene, job: PastJob, entry: Entry, path: Path) -> Leftover:
    """A ledger tells of a directory that is not among BACKUPROOT's mount points."""
    verdict, why = Verdict.GONE, "it is not there any more, or became a restore point"
    if path.is_symlink() or path.exists():
        verdict, why = Verdict.UNPROVEN, "it lies outside BACKUPROOT, where nothing is ever deleted: remove it by hand"
    elif scene.root is None:
        verdict, why = Verdict.UNCHECKED, "BACKUPROOT can't be looked at"
    return Leftover(
        kind=Directories.kind,
        verdict=verdict,
        id=str(path),
        text=f"directory {path}",
        why=why,
        job=job.id,
        owner="this proxy",
        vcenter=job.header.get("vcenter", ""),
        vm=job.header.get("vm", ""),
        vm_name=scene.name_of(job.header.get("vm", "")),
        since=entry.at,
        records=((job.id, entry.number),),
    )

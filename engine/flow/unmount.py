"""vcb unmount: the mount point and its snapshot go, as the policy says that the mount was made with."""

from pathlib import Path

from engine.errors import PolicyError
from engine.events import Stage
from engine.flow.consolidation import settle_consolidation
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind
from engine.flow.locks import root_lock, vm_lock
from engine.flow.outcome import Outcome
from engine.flow.snapshot_step import remove_leftover
from engine.points import mount_point as mounts
from engine.points.mount_point import Marker
from engine.vsphere import snapshots
from engine.vsphere.snapshots import consolidation_needed

_REMOVES = ("automatic", "deleteonly")


def unmount_directory(job: JobContext, directory: Path, outcome: Outcome) -> None:
    """Raises PolicyError for anything but a mount point of ours under BACKUPROOT, CleanupError naming a snapshot that
    stays. The directory goes before the snapshot: while it exists, someone may still read it."""
    root = mounts.backuproot(job.settings.BACKUPROOT)
    path = _under(root, directory)
    marker = _prove_ours(job, path)
    outcome.point, outcome.vm = path, marker.vm_name
    if marker.adopted:
        job.adopted |= {marker.snapshot}
    with vm_lock(job.state, marker.vcenter, marker.vm, job.id), root_lock(root, job.state, job.id, outcome.leftovers):
        job.ledger.intent(Kind.JOB, vm=marker.vm, vcenter=marker.vcenter, proxy=marker.proxy)
        removes_snapshot = bool(marker.snapshot) and marker.snapshot_policy in _REMOVES
        before = removes_snapshot and consolidation_needed(job.session, marker.vm)
        with job.report.stage(Stage.UNMOUNT) as report:
            snapshot = job.ledger.intent(Kind.SNAPSHOT, moref=marker.snapshot, vm=marker.vm) if marker.snapshot else 0
            number = job.ledger.intent(Kind.DIRECTORY, path=str(path), snapshot=marker.snapshot)
            mounts.remove(path, marker, root)
            job.ledger.undone(number)
            report.step(f"{path} is removed.")
        outcome.snapshot = marker.snapshot
        if not removes_snapshot:
            why = f"SNAPSHOT_POLICY {marker.snapshot_policy}"
            outcome.snapshot_fate = f"left in place by {why}"
            if snapshot:
                job.ledger.left(snapshot, why, policy=marker.snapshot_policy)
            return
        with job.report.stage(Stage.REMOVE_SNAPSHOT):
            outcome.snapshot_fate = _remove_snapshot(job, marker, snapshot)
        with job.report.stage(Stage.CONSOLIDATION) as report:
            settle_consolidation(job, marker.vm, marker.vm_name, outcome, report, before=before)


def _under(root: Path, directory: Path) -> Path:
    """A bare name is taken in BACKUPROOT; any other path must lead straight into it."""
    path = root / directory if directory.parent == Path() else directory.absolute()
    if path.parent.resolve() != root:
        raise PolicyError(f"{directory} does not lie in BACKUPROOT {root}; nothing outside it is ever deleted.")
    return root / path.name


def _prove_ours(job: JobContext, path: Path) -> Marker:
    marker = None if path.is_symlink() or not path.is_dir() else mounts.read_marker(path)
    if marker is None:
        raise PolicyError(f"{path} is not a mount point of vcb-console: it holds no readable {mounts.MARKER}.")
    if (marker.proxy, marker.vcenter) != (job.state.proxy_id, job.session.instance_uuid):
        raise PolicyError(
            f"{path} was mounted by proxy {marker.proxy} from vCenter {marker.vcenter}.",
            hint="Unmount it on that proxy, with that vCenter as HOST.",
        )
    return marker


def _remove_snapshot(job: JobContext, marker: Marker, number: int) -> str:
    for snapshot in snapshots.read(job.session, marker.vm):
        if snapshot.moref == marker.snapshot:
            remove_leftover(job, marker.vm, snapshot, number)
            return "removed"
    job.ledger.undone(number)
    return "gone already"

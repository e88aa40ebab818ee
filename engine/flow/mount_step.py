"""The directory of a run: cleared as PREEXISTING_MOUNTPOINT says, made, filled, and then kept, moved or discarded."""

from datetime import datetime
from pathlib import Path

import msgspec

from engine.errors import TargetError
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind
from engine.flow.plan import Plan
from engine.flow.snapshot_step import remove_leftover
from engine.flow.survey import existing_mount_point
from engine.points import mount_point as mounts
from engine.points.mount_point import Found, Marker, State
from engine.points.naming import POINTS, mount_point, point_name, vm_directory
from engine.vsphere import snapshots


class MountStep:
    """`directory` is where the run writes (`<mount point>.partial`); everything in it was announced in its marker."""

    def __init__(self, job: JobContext, plan: Plan, contents: list[str]) -> None:
        self._job, self._plan = job, plan
        self._root = mounts.backuproot(job.settings.BACKUPROOT)
        self._final = self._root / mount_point(plan.vm.name, plan.vm.moref)
        self._entry = 0
        self._marker = Marker(
            job=job.id,
            proxy=job.state.proxy_id,
            vcenter=job.session.instance_uuid,
            vm=plan.vm.moref,
            vm_name=plan.vm.name,
            snapshot_policy=plan.policy,
            contents=contents,
        )
        self.directory = mounts.partial(self._final)

    def prepare(self) -> None:
        """Clears what PREEXISTING_MOUNTPOINT allows (the plan has refused the rest), then makes the directory."""
        found = existing_mount_point(self._job, self._plan.vm.moref, self._final)
        while found.state is not State.ABSENT:
            clear(self._job, found, self._root)
            found = existing_mount_point(self._job, self._plan.vm.moref, self._final)
        self._entry = self._job.ledger.intent(Kind.DIRECTORY, path=str(self.directory))
        mounts.create(self.directory, self._marker)
        self._job.ledger.done(self._entry)
        self._job.report.step(f"Made {self.directory}.")

    def belongs(self, snapshot_moref: str) -> None:
        """Records the snapshot that belongs to the mount point, so that whoever removes one finds the other."""
        adopted = snapshot_moref in self._job.adopted
        self._marker = msgspec.structs.replace(self._marker, snapshot=snapshot_moref, adopted=adopted)
        mounts.write_marker(self.directory, self._marker)

    def publish_mount(self) -> Path:
        """The proven directory becomes the mount point, to be taken away by `vcb unmount`."""
        return self._publish(self._final, "mounted until vcb unmount")

    def publish_point(self, moment: datetime) -> Path:
        """The proven directory becomes a restore point: BACKUPROOT/points/<vm>/<time>."""
        home = self._root / POINTS / vm_directory(self._plan.vm.name, self._plan.vm.moref)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"{home} can't be created: {error.strerror}.", fault=type(error).__name__) from None
        return self._publish(_free(home / point_name(moment)), "a restore point")

    def discard(self) -> None:
        """Removes the unfinished directory; safe to call when there is none."""
        if not self._entry:
            return
        number, self._entry = self._entry, 0
        if self.directory.exists():
            mounts.remove(self.directory, self._marker, self._root)
        self._job.ledger.undone(number)

    def _publish(self, target: Path, why: str) -> Path:
        if target.exists():
            raise TargetError(f"{target} already exists.", hint="Another job published it meanwhile; run again.")
        try:
            if target != self._final:
                (self.directory / mounts.MARKER).unlink()
            self.directory.rename(target)
            mounts.fsync_directory(target.parent)
            mounts.fsync_directory(self._root)
        except OSError as error:
            raise TargetError(f"{target} can't be made: {error.strerror}.", fault=type(error).__name__) from None
        self._job.ledger.left(self._entry, why, path=str(target))
        self._entry = 0
        return target


def _free(point: Path) -> Path:
    """Two runs within one second: the later one is `...Z-2`, which still sorts behind."""
    candidate, number = point, 1
    while candidate.exists():
        number += 1
        candidate = point.with_name(f"{point.name}-{number}")
    return candidate


def clear(job: JobContext, found: Found, root: Path) -> None:
    """Removes a mount point of ours together with the snapshot that belongs to it: the snapshot first, because the
    directory is the record of it. Raises what stops it; then the job must fail."""
    assert found.marker is not None
    marker = found.marker
    if marker.snapshot:
        for snapshot in snapshots.read(job.session, marker.vm):
            if snapshot.moref == marker.snapshot:
                remove_leftover(job, marker.vm, snapshot)
    number = job.ledger.intent(Kind.DIRECTORY, path=str(found.path), leftover=True)
    mounts.remove(found.path, marker, root)
    job.ledger.undone(number)
    job.report.step(f"Removed the mount point {found.path} of job {marker.job}.")

"""Points of a chain as one: merged into the newest of them, or the newest made whole (a synthetic full).

Production is not asked: stored grains are copied from the points' files. The new images keep the point's name and their
content ids, so that the points that need it still find it. They are proven like a backup's, by the hashes that were
taken at the source, before anything of the old goes (`points/replacement.py`).
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import BusyError, PolicyError, VcbError
from engine.events import Stage
from engine.flow.locks import root_lock, vm_lock
from engine.flow.merged_point import MergedPoint
from engine.flow.proof import prove
from engine.points import catalog
from engine.points.catalog import Catalogue, Point
from engine.points.naming import disk_file, grains_file
from engine.points.removal import require_only_ours
from engine.points.replacement import Plan, Replacement, unfinished
from engine.reporter import Reporter
from engine.state_directory import StateDirectory, new_job_id


@dataclass(frozen=True, slots=True)
class Merge:
    """`absorbed` (newest first) become part of `point` and go; none of them: the point is made whole."""

    point: Point
    absorbed: tuple[Point, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files of these points."""
        return sum(each.stored for each in (self.point, *self.absorbed))


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of one: the points that went, and the bytes of all before and of the one after."""

    point: Path
    absorbed: list[Path]
    before: int
    after: int


def parents_merge(catalogue: Catalogue, point: Point) -> Merge:
    """The point and the one it was made on. Raises PolicyError when that can't be given up."""
    parents = [link for link in catalogue.points if link.directory in point.parents]
    if not parents:
        raise PolicyError(
            f"{point.directory} needs no other point: there is nothing to merge into it.",
            hint="Name the newer one of two points; the older one goes.",
        )
    merge = Merge(point, tuple(reversed(parents)))
    _require_possible(catalogue, merge)
    return merge


def whole(catalogue: Catalogue, point: Point) -> Merge:
    """The point made whole. Raises PolicyError for one that needs no other."""
    if not point.parents:
        raise PolicyError(f"{point.directory} needs no other point: it is whole already.")
    merge = Merge(point)
    _require_possible(catalogue, merge)
    return merge


def merge_points(
    merge: Merge, settings: Settings, root: Path, state: StateDirectory, *, report: Reporter, cancel: CancelToken
) -> Merged:
    """Carries it out under the VM's lock. Raises BusyError, PolicyError, ImageError, VerifyError, TargetError,
    Cancelled; the points are as before then, or, when only the removal of the old failed, the next run completes it."""
    vcenter, moref = merge.point.identity
    job = new_job_id()
    with vm_lock(state, vcenter, moref, job), root_lock(root, state, job):
        settle_interrupted(root, state, report, held=merge.point.identity)
        now = catalog.look(root, state.root)
        merge = _same(now, merge)
        _require_possible(now, merge)
        scoped = report.bind(vm=merge.point.manifest.vm.name)
        return _carried_out(merge, settings, root, state, job=job, report=scoped, cancel=cancel)


def settle_interrupted(
    root: Path,
    state: StateDirectory,
    report: Reporter,
    *,
    held: tuple[str, str] | None = None,
    others: bool = True,
) -> list[VcbError]:
    """Completes or undoes what was cut off, but for VMs that another job works on; `held` is the VM whose lock the
    caller has, the only one when not `others`. Returns why some could not be settled."""
    errors: list[VcbError] = []
    try:
        for change in unfinished(root):
            identity = (change.plan.vcenter, change.plan.vm)
            if identity != held and not others:
                continue
            with ExitStack() as locks:
                try:
                    if identity != held:
                        locks.enter_context(vm_lock(state, *identity, change.plan.job))
                    completed = change.settle(partial(catalog.forget, root, state.root))
                except BusyError:
                    continue  # it is under way
                except VcbError as error:
                    errors.append(error)
                    continue
                report.step(f"{'Completed' if completed else 'Undid'} the merge of {change.point} that was cut off.")
    except VcbError as error:
        errors.append(error)
    for error in errors:
        report.error(error)
    return errors


def _same(catalogue: Catalogue, merge: Merge) -> Merge:
    """As the points are now."""
    names = [merge.point.directory, *(point.directory for point in merge.absorbed)]
    if gone := next((name for name in names if name not in catalogue.by_directory), None):
        raise BusyError(f"{gone} is gone meanwhile; nothing was changed.")
    point, *absorbed = (catalogue.by_directory[name] for name in names)
    return Merge(point, tuple(absorbed))


def _require_possible(catalogue: Catalogue, merge: Merge) -> None:
    """Raises PolicyError unless the point is sound and nothing else needs what goes."""
    if flaw := catalogue.flaw(merge.point):
        raise PolicyError(
            f"{merge.point.directory} is not proven, so nothing is merged into it: {flaw}",
            hint="vcb verify --depth chain tells what is wrong with it.",
        )
    staying = {merge.point.directory, *(point.directory for point in merge.absorbed)}
    for point in merge.absorbed:
        for other in catalogue.points:
            if point.directory in other.parents and other.directory not in staying:
                raise PolicyError(f"{point.directory} can't go: {other.directory} was made on it too.")
        require_only_ours(point.directory)
    require_only_ours(merge.point.directory)


def _carried_out(
    merge: Merge,
    settings: Settings,
    root: Path,
    state: StateDirectory,
    *,
    job: str,
    report: Reporter,
    cancel: CancelToken,
) -> Merged:
    point = merge.point
    made = MergedPoint(point, merge.absorbed, root, settings.KEEP_FREE, job=job, cancel=cancel)
    change = Replacement(root, _plan(merge, job))
    with report.stage(Stage.EXPORT) as exporting:
        made.check_space(exporting)
    try:
        with report.stage(Stage.EXPORT) as exporting:
            manifest = made.fill(change.begin(), exporting)
        with report.stage(Stage.VERIFY) as verifying:
            prove(change.new, manifest, point.directory.parent, cancel, verifying)
        change.swap()
    finally:
        if change.work.exists():
            change.settle(partial(catalog.forget, root, state.root))  # undone or completed, as far as it came
    names = ", ".join(each.name for each in merge.absorbed)
    report.step(f"{point.name} now holds {names} too." if names else f"{point.name} is whole now.")
    return Merged(point.directory, change.merged, merge.bytes, sum(file.size for file in manifest.file))


def _plan(merge: Merge, job: str) -> Plan:
    point = merge.point
    disks = point.manifest.disk
    contents = {file.name for file in point.manifest.file}
    contents |= {name for disk in disks for name in (disk_file(disk.name), grains_file(disk.name))}
    vcenter, vm = point.identity
    return Plan(
        job=job,
        vcenter=vcenter,
        vm=vm,
        point=_below(point),
        merged=[_below(each) for each in merge.absorbed],
        contents=sorted(contents),
    )


def _below(point: Point) -> str:
    return f"{point.directory.parent.name}/{point.name}"

"""What a worker does with one subject of its job: a table of acts, each over the flow that does the work.

Every act ends with one Result event, or raises a VcbError that the worker makes one of. The flows are imported only
where they are used: pyVmomi takes half a second, and the worker's socket answers already.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.errors import ConfigError, PolicyError, VcbError
from engine.events import Result, ResultState, Stage
from engine.jobs.orders import FilesOrder, ReconcileOrder, RestoreOrder, RestoreTo, RetainOrder, VerifyOrder
from engine.jobs.request import Act, Request
from engine.loglevel import LogLevel
from engine.points.mount_point import backuproot
from engine.reporter import Reporter
from engine.state_directory import StateDirectory


@dataclass(frozen=True, slots=True)
class Part:
    """One subject, numbered from 1, and what its act is given."""

    request: Request
    number: int
    report: Reporter
    cancel: CancelToken

    @property
    def subject(self) -> str:
        return self.request.subjects[self.number - 1]

    @property
    def job_id(self) -> str:
        return self.request.part_id(self.number)

    def order(self, kind: type[Any]) -> Any:
        """What was asked beside the subject; the defaults where nothing was."""
        return self.request.order if self.request.order is not None else kind()

    def end(self, state: ResultState, sentence: str, error: VcbError | None = None, **facts: Any) -> None:
        """The last event of the part."""
        summary = {"state": state.value, "sentence": sentence, "error": error.to_json() if error else None, **facts}
        self.report.emit(Result(state=state.value, sentence=sentence, summary=summary))


def _backup(part: Part) -> None:
    from engine.flow import job  # noqa: PLC0415

    asked = part.request
    resume = asked.resumes[part.number - 1] if asked.resumes else ""
    job.backup(
        part.subject, asked.settings, part.report, part.cancel, adopt=asked.adopt, job_id=part.job_id, resume=resume
    )


def _mount(part: Part) -> None:
    from engine.flow import job  # noqa: PLC0415

    asked = part.request
    job.mount(part.subject, asked.settings, part.report, part.cancel, adopt=asked.adopt, job_id=part.job_id)


def _unmount(part: Part) -> None:
    from engine.flow import job  # noqa: PLC0415

    job.unmount(Path(part.subject), part.request.settings, part.report, part.cancel, job_id=part.job_id)


def _verify(part: Part) -> None:
    from engine.flow.point_check import PointChecks  # noqa: PLC0415

    order: VerifyOrder = part.order(VerifyOrder)
    with part.report.stage(Stage.VERIFY) as report:
        report.log(LogLevel.STAGE, f"Looking at {part.subject}.")
        checked = PointChecks(order.depth, part.cancel, report).check(Path(part.subject))
        for finding in checked.findings:
            report.log(LogLevel.ERROR, str(finding))
    damage = [str(finding) for finding in checked.findings]
    sentence = f"DAMAGED: {damage[0]}" if damage else f"Nothing is wrong with it (depth {order.depth})."
    state = ResultState.FAILURE if damage else ResultState.SUCCESS
    part.end(state, sentence, findings=damage, warnings=checked.notes, bytes_read=checked.read)


def _restore(part: Part) -> None:
    from engine.flow.restore_disk import restore_disk  # noqa: PLC0415
    from engine.flow.restore_in_place import restore_in_place  # noqa: PLC0415
    from engine.flow.restore_plan import VmWish  # noqa: PLC0415
    from engine.flow.restore_to_files import restore_files  # noqa: PLC0415
    from engine.flow.restore_to_vm import restore_vm  # noqa: PLC0415
    from engine.points.restore_files import find_point  # noqa: PLC0415

    order: RestoreOrder = part.order(RestoreOrder)
    settings, report, cancel = part.request.settings, part.report, part.cancel
    point = find_point(part.subject, settings.BACKUPROOT)
    match order.to:
        case RestoreTo.FILES:
            restore_files(point, Path(order.target), order.format, report, cancel, disks=order.disks)
        case RestoreTo.NEW_VM:
            restore_vm(point, VmWish(order.target), settings, report, cancel)
        case RestoreTo.IN_PLACE:
            restore_in_place(point, order.disks, settings, report, cancel)
        case RestoreTo.VM_DISK:
            restore_disk(point, "".join(order.disks[:1]), order.target, settings, report, cancel)


def _retain(part: Part) -> None:
    from engine.flow import retain  # noqa: PLC0415

    order: RetainOrder = part.order(RetainOrder)
    settings, state = part.request.settings, StateDirectory.default()
    root = backuproot(settings.BACKUPROOT)
    agreed = {Path(each) for each in order.agreed}
    due = [plan for plan in retain.plan(settings, root, state) if plan.going or plan.merged]
    plans = [plan for plan in due if agreed & {point.directory for point in (*plan.going, *plan.merged)}]
    for plan in plans:
        if new := [point for point in (*plan.going, *plan.merged) if point.directory not in agreed]:
            raise PolicyError(
                f"{new[0].directory} became due since it was looked; nothing was removed.", hint="Look at it again."
            )
    done = retain.carry_out(plans, settings, root, state, report=part.report, cancel=part.cancel)
    state_of = _state_of(done.errors, bool(done.removed or done.merged))
    sentence = f"{len(done.removed)} removed, {len(done.merged)} merged, {done.freed:,} bytes freed."
    error = done.errors[0] if done.errors else None
    part.end(state_of, sentence, error, removed=[str(path) for path in done.removed], bytes_freed=done.freed)


def _reconcile(part: Part) -> None:
    from engine.flow.reconcile.reconcile import KINDS, reconciling  # noqa: PLC0415

    order: ReconcileOrder = part.order(ReconcileOrder)
    with reconciling(part.request.settings, part.report, part.cancel) as work:
        found = work.look()
        actions = {kind.kind: kind.action for kind in KINDS}
        rows = [each.to_json() | {"action": actions[each.kind]} for each in found.shown]
        if not order.clean:
            going = sum(row["verdict"] == "ours" for row in rows)
            sentence = f"{going} left by dead jobs." if going else "Nothing is left by dead jobs."
            part.end(found.state, sentence, found=rows, unchecked=list(found.unchecked))
            return
        chosen = [each for each in found.leftovers if f"{each.kind} {each.id}" in order.clean]
        done = work.clean(chosen)
    error = done.failed[0][1] if done.failed else None
    part.end(done.state, f"{len(done.removed)} cleaned up, {len(done.failed)} left.", error, **done.to_json())


def _doctor(part: Part) -> None:
    from engine.flow.doctor import examine  # noqa: PLC0415

    rows = [each.to_json() for each in examine(part.request.settings, (), part.report, part.cancel)]
    errors = sum(row["health"] == "error" for row in rows)
    warnings = sum(row["health"] == "warning" for row in rows)
    state = ResultState.FAILURE if errors else ResultState.SUCCESS
    part.end(state, f"{errors} errors, {warnings} warnings.", checks=rows)


def _files(part: Part) -> None:
    from engine.files.extract import take_out  # noqa: PLC0415
    from engine.files.point_volumes import PointVolumes, entry_at  # noqa: PLC0415
    from engine.points.restore_files import chosen_disks, find_point, require_disks  # noqa: PLC0415

    if not isinstance(order := part.request.order, FilesOrder):
        raise ConfigError("The job does not say which files it is to take out.")
    point = find_point(part.subject, part.request.settings.BACKUPROOT)
    require_disks(point)
    with PointVolumes(point, chosen_disks(point, ())) as volumes, part.report.stage(Stage.RESTORE) as report:
        volume, names = volumes.find(order.path)
        system = volume.open(part.cancel)
        start = entry_at(system, names)
        target = Path(order.target)
        taken = take_out(system, start, target, volume=volume, report=report, cancel=part.cancel)
        for path, text in taken.troubles.told:
            report.warning(f"{path}: {text}")
        for path, text in taken.skipped.told:
            report.log(LogLevel.STAGE, f"{path}: left out, a {text}")
        for text in taken.remarks:
            report.log(LogLevel.STAGE, text)
    part.end(taken.state, taken.sentence, target=str(target), bytes_read=taken.read)


def _state_of(errors: Sequence[VcbError], some: bool) -> ResultState:
    if not errors:
        return ResultState.SUCCESS
    return ResultState.EXCEPTIONS if some else ResultState.FAILURE


ACTS: dict[Act, Callable[[Part], None]] = {
    Act.BACKUP: _backup,
    Act.MOUNT: _mount,
    Act.UNMOUNT: _unmount,
    Act.VERIFY: _verify,
    Act.RESTORE: _restore,
    Act.RETAIN: _retain,
    Act.RECONCILE: _reconcile,
    Act.DOCTOR: _doctor,
    Act.FILES: _files,
}

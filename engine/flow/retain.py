"""Retention over a whole BACKUPROOT: what would go and why, and then its removal, VM by VM, under the VM's lock."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import BusyError, Cancelled, PolicyError, VcbError
from engine.flow.locks import root_lock, vm_lock
from engine.flow.merge import Merge, Merged, merge_points, settle_interrupted
from engine.flow.newest_run import trouble_since
from engine.points import catalog
from engine.points.catalog import Catalogue, Point
from engine.points.removal import finish_removals, remove_point
from engine.points.retention import Candidate, Decision, Rules, decide
from engine.reporter import Reporter
from engine.state_directory import StateDirectory, new_job_id

Identity = tuple[str, str]
_PLAIN = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class VmRetention:
    """What becomes of one VM's points: each with its decision, newest first. `merges` are those of points that stay
    only because others need them (CHAIN_LENGTH)."""

    identity: Identity
    vm: str
    decisions: tuple[tuple[Point, Decision], ...]
    hold: str = ""
    """Why nothing goes, whatever the rules say; "" when the rules decide."""
    merges: tuple[Merge, ...] = ()

    @property
    def going(self) -> tuple[Point, ...]:
        return tuple(point for point, decision in self.decisions if not decision.keep)

    @property
    def merged(self) -> tuple[Point, ...]:
        """The points that become part of another."""
        return tuple(point for merge in self.merges for point in merge.absorbed)


@dataclass(slots=True)
class Removals:
    """What was removed, in that order, what was merged, and what went wrong."""

    removed: list[Path] = field(default_factory=list)
    merged: list[Merged] = field(default_factory=list)
    freed: int = 0
    errors: list[VcbError] = field(default_factory=list)


def plan(settings: Settings, root: Path, state: StateDirectory, wanted: Collection[Identity] = ()) -> list[VmRetention]:
    """The decisions for these VMs, or for all. Touches nothing. `root` is BACKUPROOT, resolved."""
    return plan_of(catalog.look(root, state.root), settings, state, wanted)


def plan_of(
    catalogue: Catalogue, settings: Settings, state: StateDirectory, wanted: Collection[Identity] = ()
) -> list[VmRetention]:
    """As `plan`, from a catalogue that is at hand."""
    identities = dict.fromkeys(point.identity for point in catalogue.points)
    plans = [
        _plan_vm(catalogue, identity, settings, state) for identity in identities if not wanted or identity in wanted
    ]
    return sorted(plans, key=lambda plan: (plan.vm, plan.identity))


def carry_out(
    confirmed: Sequence[VmRetention],
    settings: Settings,
    root: Path,
    state: StateDirectory,
    *,
    report: Reporter,
    cancel: CancelToken,
) -> Removals:
    """Removes and merges what was confirmed, as far as it is still to go: each VM is decided anew under its lock, so
    that a backup that began or failed meanwhile counts. Removals and merges that were cut off earlier are settled
    first. Raises Cancelled between two points, and BusyError when another proxy uses BACKUPROOT; all else ends in
    `errors`."""
    with root_lock(root, state, f"retain-{new_job_id()}"):
        return _carry_out(confirmed, settings, root, state, report=report, cancel=cancel)


def _carry_out(
    confirmed: Sequence[VmRetention],
    settings: Settings,
    root: Path,
    state: StateDirectory,
    *,
    report: Reporter,
    cancel: CancelToken,
) -> Removals:
    done = Removals(errors=settle_interrupted(root, state, report))
    gone, errors = finish_removals(root)
    done.errors += errors
    for path in gone:
        report.step(f"Completed the removal of {path.name}.")
    for plan_before in confirmed:
        if not plan_before.going and not plan_before.merges:
            continue
        scoped = report.bind(vm=plan_before.vm)
        try:
            _remove_from(plan_before, settings, root, state, report=scoped, cancel=cancel, done=done)
            for merge in plan_before.merges:
                cancel.check()
                merged = merge_points(merge, settings, root, state, report=scoped, cancel=cancel)
                done.merged.append(merged)
                done.freed += max(0, merged.before - merged.after)
        except Cancelled:
            raise
        except VcbError as error:
            scoped.error(error)
            done.errors.append(error)
    return done


def _remove_from(
    before: VmRetention,
    settings: Settings,
    root: Path,
    state: StateDirectory,
    *,
    report: Reporter,
    cancel: CancelToken,
    done: Removals,
) -> None:
    """Newest first: whatever stops it, no point that stays has lost what it needs."""
    vcenter, moref = before.identity
    if not (_PLAIN.fullmatch(vcenter) and _PLAIN.fullmatch(moref)):
        raise PolicyError(f"The manifests of {before.vm} name no plausible vCenter and VM. Nothing was deleted.")
    agreed = {point.directory for point in before.going}
    with vm_lock(state, vcenter, moref, f"retain-{new_job_id()}"):
        now = plan(settings, root, state, [before.identity])
        for point in now[0].going if now else ():
            if point.directory not in agreed:
                raise BusyError(f"{point.directory} became due meanwhile; nothing older was removed.")
            cancel.check()
            remove_point(root, point.directory)
            catalog.forget(root, state.root, [point.directory])
            done.removed.append(point.directory)
            done.freed += point.stored
            report.step(f"Removed {point.directory}.")
        if now and now[0].hold:
            report.warning(f"Nothing was removed: {now[0].hold}.")


def _plan_vm(catalogue: Catalogue, identity: Identity, settings: Settings, state: StateDirectory) -> VmRetention:
    points = catalogue.of_vm(identity)
    by_name = {_key(catalogue, point): point for point in points}
    hold = _hold(catalogue, points, state)
    candidates = [
        Candidate(
            name,
            point.manifest.created,
            catalogue.flaw(point),
            frozenset(_key(catalogue, link) for link in catalogue.chain(point) if link is not point),
        )
        for name, point in by_name.items()
    ]
    decisions = decide(candidates, Rules.of(settings), hold=hold, zone=None)
    decided = tuple((by_name[decision.name], decision) for decision in decisions)
    merges = () if hold else _merges(catalogue, decided, settings.CHAIN_LENGTH)
    return VmRetention(identity, points[-1].manifest.vm.name, decided, hold, merges)


def _merges(catalogue: Catalogue, decided: Sequence[tuple[Point, Decision]], longest: int) -> tuple[Merge, ...]:
    """What is merged once chains of points that stay are longer than that; a point goes into the only one that was
    made on it."""
    staying = [point for point, decision in decided if decision.keep]
    if not longest or max((len(catalogue.chain(point)) for point in staying), default=0) <= longest:
        return ()
    spare = {point.directory for point, decision in decided if decision.keep and decision.needed_only}
    merges: list[Merge] = []
    for point in reversed(staying):  # the oldest first: what is left below is never in two merges
        if point.directory in spare or catalogue.flaw(point):
            continue
        absorbed = _absorbed(catalogue, point, staying, spare)
        if absorbed:
            merges.append(Merge(point, tuple(absorbed)))
    return tuple(merges)


def _absorbed(catalogue: Catalogue, point: Point, staying: Sequence[Point], spare: set[Path]) -> list[Point]:
    """Newest first: spare points below `point` on which nothing else that stays was made."""
    absorbed: list[Point] = []
    for link in catalogue.chain(point)[1:]:
        inside = {point.directory, *(each.directory for each in absorbed)}
        children = {other.directory for other in staying if link.directory in other.parents}
        if link.directory in spare and children <= inside:
            absorbed.append(link)
    return absorbed


def _key(catalogue: Catalogue, point: Point) -> str:
    """A name that is unique even for a VM that was renamed, whose points lie in two directories."""
    return str(point.directory.relative_to(catalogue.root))


def _hold(catalogue: Catalogue, points: Sequence[Point], state: StateDirectory) -> str:
    homes = {point.directory.parent for point in points}
    for path, why in catalogue.troubles.items():
        if path.parent in homes:
            return f"nothing goes while {path} can't be understood: {why}"
    others = {point.identity for point in catalogue.points if point.directory.parent in homes}
    if len(others) > 1:
        return "nothing goes while points of several VMs lie in the same directory"
    why = trouble_since(state.jobs, catalogue.root, points[-1].identity, points[-1].manifest.created)
    return f"nothing goes: {why}" if why else ""

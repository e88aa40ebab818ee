"""vcb points, verify and retain: the restore points under BACKUPROOT. None of them needs a vCenter."""

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import ConfigError, PolicyError, SpecError, TargetError, VmNotFound
from engine.events import Stage
from engine.loglevel import LogLevel
from engine.points.catalog import Catalogue, Point, look
from engine.points.mount_point import backuproot
from engine.points.naming import POINTS
from engine.points.proof import Depth
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from tui.cli import points_view
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.job_commands import watched
from tui.cli.screen import Screen
from tui.figures import clean, size

DepthWord = Literal["manifest", "files", "grains", "chain"]
Vm = Annotated[
    str,
    Parameter(
        name="VM",
        help="A VM that has points: its name (a * stands for anything), name:web01, moref:vm-21, uuid:..., or the "
        "directory of its points.",
    ),
]
PointOrVm = Annotated[
    str,
    Parameter(
        name="POINT|VM",
        required=True,
        help="A point by its directory or by <vm directory>/<time>; or a VM, for all its points.",
    ),
]


def points(*vms: Vm, json: JsonFlag = False, common: Common = None) -> int:
    """List the restore points: what they hold, what they need, and when they were last proven."""
    screen = Screen(as_json=json)
    catalogue = _look(_root(unchecked_settings(common)))
    found = _of_vms(catalogue, vms)
    _say_troubles(screen, catalogue)
    for _, group in groupby(sorted(found, key=_by_vm), key=lambda point: point.identity):
        screen.show(points_view.table(catalogue, list(group), screen.width))
    count = "1 point" if len(found) == 1 else f"{len(found)} points"
    screen.line(f"{count}, {size(sum(point.stored for point in found))}", "bold")
    screen.result(
        {
            "points": [points_view.row(catalogue, point) for point in found],
            "troubles": [{"path": str(path), "reason": why} for path, why in catalogue.troubles.items()],
            "notices": list(catalogue.notices),
        }
    )
    return 0


def verify(*subjects: PointOrVm, depth: DepthWord = "grains", json: JsonFlag = False, common: Common = None) -> int:
    """Read points back from the medium and tell everything that is wrong with them. The date is kept with the point.

    Exit code: 0 all as it was written, 1 damage was found, 2 wrong settings, 130 cancelled.

    Parameters
    ----------
    depth
        manifest: the files are there, with their sizes. files: their SHA-256 too. grains: also unpacked, and compared
        with the hashes that were taken as the data came from the source. chain: also the whole disks, as a restore
        reads them, and the files of every point that is needed for it.
    """
    screen = Screen(as_json=json)
    settings = unchecked_settings(common)
    directories = _directories(settings, subjects)
    from engine.flow.point_check import Checked, PointChecks  # noqa: PLC0415 - the image code only where it is used

    def work(report: Reporter, cancel: CancelToken) -> list[Checked]:
        checked: list[Checked] = []
        with report.stage(Stage.VERIFY) as staged:
            checks = PointChecks(Depth(depth), cancel, staged)
            for directory in directories:
                cancel.check()
                staged.log(LogLevel.STAGE, f"Looking at {directory}.")
                checked.append(checks.check(directory))
        return checked

    results = watched(screen, settings, work)
    screen.line()
    for checked in results:
        screen.show(points_view.checked_lines(checked))
    bad = sum(bool(checked.findings) for checked in results)
    summary = f"{len(results)} looked at, {bad} damaged" if bad else f"{len(results)} looked at, nothing wrong"
    screen.line(summary, "bold red" if bad else "bold green")
    code = 1 if bad else 0
    screen.result(
        {
            "result": "failure" if bad else "success",
            "exit_code": code,
            "sentence": summary,
            "points": [points_view.checked_row(checked) for checked in results],
        }
    )
    return code


def retain(
    *vms: Vm,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Remove the points that no KEEP_ option keeps, and merge (CHAIN_LENGTH). Without a KEEP_ set, everything is kept.

    Never removed: the newest proven point of a VM, what a point that stays needs, and anything of a VM whose newest run
    failed. Exit code: 0 done, 1 something could not be removed, 2 wrong settings or not confirmed, 130 cancelled.

    Parameters
    ----------
    dry_run
        Only tell what would go, and why.
    yes
        Do not ask.
    """
    screen = Screen(as_json=json)
    settings, state = unchecked_settings(common), StateDirectory.default()
    root = backuproot(settings.BACKUPROOT)
    from engine.flow import retain as retention  # noqa: PLC0415

    catalogue = look(root, state.root)
    _say_troubles(screen, catalogue)
    wanted = {point.identity for point in _of_vms(catalogue, vms)} if vms else set()
    plans = retention.plan_of(catalogue, settings, state, wanted)
    for plan in plans:
        screen.show(points_view.retention_lines(plan))
    going = [point for plan in plans for point in (*plan.going, *plan.merged)]
    freed = size(sum(point.stored for plan in plans for point in plan.going))
    what = f"{'1 point' if len(going) == 1 else f'{len(going)} points'} ({freed})"
    screen.line(f"{what} would go." if going else "Nothing is to go.", "bold")
    done = retention.Removals()
    if not dry_run and (going or catalogue.tombstones or catalogue.interrupted):
        if going:
            _confirm(plans, what, yes=yes)
        done = watched(
            screen,
            settings,
            lambda report, cancel: retention.carry_out(plans, settings, root, state, report=report, cancel=cancel),
        )
        merged = sum(len(each.absorbed) for each in done.merged)
        tail = f", {merged} merged into newer ones" if merged else ""
        screen.line(f"{len(done.removed)} removed, {size(done.freed)} freed{tail}.", "bold")
    for error in done.errors:
        screen.error(error.sentence, fault=error.fault, hint=error.hint)
    code = 1 if done.errors else 0
    screen.result(points_view.retention_json(plans, done, code, dry_run=dry_run) | _errors(done.errors))
    return code


def _errors(errors: Sequence[Any]) -> dict[str, Any]:
    return {"errors": [error.to_json() for error in errors], "error": errors[0].to_json() if errors else None}


def _root(settings: Settings) -> Path:
    """BACKUPROOT, to be read only."""
    root = settings.BACKUPROOT
    if not root.is_dir():
        raise TargetError(f"BACKUPROOT {root} is not there.", hint="Set BACKUPROOT, or name a --config that sets it.")
    return root.resolve()


def _look(root: Path) -> Catalogue:
    return look(root, StateDirectory.default().root)


def _by_vm(point: Point) -> tuple[Any, ...]:
    return point.manifest.vm.name, point.identity, point.manifest.created, point.name


def _of_vms(catalogue: Catalogue, vms: Sequence[str]) -> list[Point]:
    """The points of these VMs, or all. Raises VmNotFound for a word that fits none."""
    if not vms:
        return list(catalogue.points)
    found: dict[Path, Point] = {}
    for word in vms:
        fitting = [point for point in catalogue.points if _fits(point, word)]
        if not fitting:
            raise VmNotFound(
                f"No restore point under {catalogue.root / POINTS} is of {word}.", hint="vcb points lists them all."
            )
        found |= {point.directory: point for point in fitting}
    return sorted(found.values(), key=lambda point: (point.manifest.created, point.name))


def _fits(point: Point, word: str) -> bool:
    method, colon, value = word.partition(":")
    vm = point.manifest.vm
    match method if colon else "":
        case "name":
            return fnmatchcase(vm.name, value)
        case "moref":
            return vm.moref == value
        case "uuid":
            return value.lower() in (vm.uuid.lower(), vm.instance_uuid.lower())
        case "ipaddr":
            raise SpecError("restore points know no addresses: name the VM by its name, moref or uuid")
    return fnmatchcase(vm.name, word) or point.directory.parent.name == word or str(point.directory.parent) == word


def _directories(settings: Settings, subjects: Sequence[str]) -> list[Path]:
    """The points that are meant: one named by its directory need not lie in BACKUPROOT (a copy of it)."""
    found: dict[Path, None] = {}
    for word in subjects:
        below = settings.BACKUPROOT / POINTS / word
        if (named := next((path for path in (Path(word), below) if (path / "manifest.toml").is_file()), None)) is None:
            catalogue = _look(_root(settings))
            troubled = [path for path in catalogue.troubles if path in (below.resolve(), Path(word).absolute())]
            found |= dict.fromkeys(troubled or [point.directory for point in reversed(_of_vms(catalogue, [word]))])
        else:
            found[named.resolve()] = None
    return list(found)


def newest_directories(settings: Settings, subjects: Sequence[str]) -> list[Path]:
    """The points that are meant, a VM standing for its newest point without a known flaw (for the newest, if all have
    one)."""
    found: dict[Path, None] = {}
    for word in subjects:
        named = _directories(settings, [word])
        if len(named) > 1:
            catalogue = _look(_root(settings))
            of_vms = [catalogue.by_directory[path] for path in named if path in catalogue.by_directory]
            by_vm = [list(group) for _, group in groupby(sorted(of_vms, key=_by_vm), key=lambda point: point.identity)]
            sound = [[point for point in group if not catalogue.flaw(point)] or group for group in by_vm]
            named = [group[-1].directory for group in sound]
        found |= dict.fromkeys(named)
    return list(found)


def _say_troubles(screen: Screen, catalogue: Catalogue) -> None:
    for path, why in catalogue.troubles.items():
        screen.line(f"warning: {path} is no restore point: {why}", "yellow")
    for notice in catalogue.notices:
        screen.line(f"warning: {notice}", "yellow")
    for path in catalogue.tombstones:
        screen.line(f"note: {path.name} is a removal that was cut off; vcb retain completes it.", "cyan")
    for path in catalogue.interrupted:
        screen.line(
            f"note: {path.name} is a merge at work, or one that was cut off; vcb reconcile settles that.", "cyan"
        )


def _confirm(plans: Sequence[Any], what: str, *, yes: bool) -> None:
    """Asks on the terminal, naming what is destroyed. Raises PolicyError when the answer is no, ConfigError when there
    is nobody to ask."""
    if yes:
        return
    names = ", ".join(
        f"{plan.vm} ({len(plan.going) + len(plan.merged)})" for plan in plans if plan.going or plan.merged
    )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{what} would be destroyed: {names}; nobody is here to confirm it",
            hint="Look at vcb retain --dry-run, then give --yes.",
        )
    print(f"This destroys {what} for good: {clean(names)}.", file=sys.stderr)
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise PolicyError("Not confirmed; nothing was removed.")

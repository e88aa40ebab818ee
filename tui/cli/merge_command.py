"""vcb merge: two points as one, or a point made whole, without a vCenter."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.cancel import CancelToken
from engine.errors import ConfigError, PolicyError
from engine.points.catalog import Catalogue, Point, look
from engine.points.mount_point import backuproot
from engine.points.naming import POINTS
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from tui.cli import points_view
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.job_commands import watched
from tui.cli.screen import Screen
from tui.figures import clean, size

OnePoint = Annotated[
    str, Parameter(name="POINT", required=True, help="A point by its directory or by <vm directory>/<time>.")
]


def merge(
    subject: OnePoint,
    *,
    whole: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Fold the point that POINT was made on into it: of the two moments, the newer one stays.

    Needs no vCenter, and room for the result beside the old images. A merge that is cut off is completed or undone by
    the next merge, retain, reconcile, or backup of the VM. Exit code: 0 done, 1 failed (nothing was lost), 2 wrong
    settings or not confirmed, 130 cancelled.

    Parameters
    ----------
    whole
        Make POINT a full one (a synthetic full) from all that it needs; no point goes.
    dry_run
        Only tell what would happen.
    yes
        Do not ask.
    """
    screen = Screen(as_json=json)
    settings, state = unchecked_settings(common), StateDirectory.default()
    root = backuproot(settings.BACKUPROOT)
    from engine.flow import merge as merging  # noqa: PLC0415 - the image code only where it is used

    catalogue = look(root, state.root)
    point = _point(catalogue, subject)
    asked = merging.whole(catalogue, point) if whole else merging.parents_merge(catalogue, point)
    gone = ", ".join(each.name for each in asked.absorbed)
    screen.line(
        f"{point.name} would become whole." if whole else f"{gone} would become part of {point.name}, and go.", "bold"
    )
    done = None
    if not dry_run:
        if gone:
            _confirm(point.manifest.vm.name, gone, yes=yes)
        done = watched(screen, settings, lambda report, cancel: _work(asked, settings, root, state, report, cancel))
        screen.line(f"{size(done.before)} of images before, {size(done.after)} now.", "bold")
    screen.result(
        {
            "result": "success",
            "exit_code": 0,
            "dry_run": dry_run,
            "absorbs": [str(each.directory) for each in asked.absorbed],
            "merged": [points_view.merged_row(done)] if done else [],
        }
    )
    return 0


def _work(asked: Any, settings: Any, root: Path, state: StateDirectory, report: Reporter, cancel: CancelToken) -> Any:  # noqa: PLR0917
    from engine.flow.merge import merge_points  # noqa: PLC0415

    return merge_points(asked, settings, root, state, report=report, cancel=cancel)


def _point(catalogue: Catalogue, subject: str) -> Point:
    """Raises ConfigError for a word that names no point under BACKUPROOT."""
    for path in (Path(subject).absolute(), catalogue.root / POINTS / subject):
        if (found := catalogue.by_directory.get(path)) is not None:
            return found
    raise ConfigError(
        f"There is no restore point {subject} under {catalogue.root / POINTS}.", hint="vcb points --json lists them."
    )


def _confirm(vm: str, gone: str, *, yes: bool) -> None:
    """Asks on the terminal. Raises PolicyError when the answer is no, ConfigError when there is nobody to ask."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{gone} would no longer be a restore point of {vm}; nobody is here to confirm it",
            hint="Look at it with --dry-run, then give --yes.",
        )
    print(f"The moment {gone} of {clean(vm)} can't be restored after this.", file=sys.stderr)
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise PolicyError("Not confirmed; nothing was changed.")

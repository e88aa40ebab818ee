"""vcb restore: a point's disks as local files."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.reporter import Reporter
from tui.cli import render
from tui.cli.figures import clean, duration, fit, size
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.job_commands import watched
from tui.cli.screen import Screen

PointName = Annotated[
    str,
    Parameter(
        name="POINT",
        required=True,
        help="A restore point: its directory, or VM/TIME below BACKUPROOT/points.",
    ),
]
Disks = Annotated[
    tuple[str, ...],
    Parameter(
        name="--disk",
        negative=(),
        show_default=False,
        help="Only this disk, by name (scsi0:1) or label. May be given more than once.",
    ),
]


def restore(
    point: PointName,
    /,
    *,
    to: Annotated[Path, Parameter(help="Directory for the files; made if missing. Nothing in it is overwritten.")],
    format: Annotated[  # noqa: A002 - the flag's name
        Literal["vmdk", "raw", "qcow2"],
        Parameter(help="vmdk: streamOptimized; raw: sparse; qcow2: written by qemu-img."),
    ] = "vmdk",
    disk: Disks = (),
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Restore the disks of a point to local files, proven against the point."""
    settings = unchecked_settings(common)
    screen = Screen(as_json=json)
    return _to_files(screen, settings, point, to, format, disk)


def _to_files(  # noqa: PLR0917
    screen: Screen, settings: Settings, point: str, to: Path, kind: Any, disks: tuple[str, ...]
) -> int:
    from engine.flow.restore_to_files import file_names, restore_files  # noqa: PLC0415
    from engine.points.restore_files import chosen_disks, find_point  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    names = file_names(chosen_disks(found, disks), kind)
    screen.line(f"Restoring {found.manifest.vm.name} of {found.directory.name} to {to}: {', '.join(names)}")

    def work(report: Reporter, cancel: CancelToken) -> Any:
        threads = settings.COMPRESSION_THREADS
        return restore_files(found, to, kind, report, cancel, disks=disks, threads=threads)

    return conclude(screen, watched(screen, settings, work))


def conclude(screen: Screen, outcome: Any) -> int:
    """Shows how a restore ended, and the machine's line; the exit code."""
    shape = outcome.to_json()
    code = outcome.error.exit_code if outcome.error else outcome.state.exit_code
    screen.line()
    screen.show(summary(shape, screen.width))
    screen.result(shape | {"exit_code": code})
    return code


def summary(shape: dict[str, Any], width: int) -> list[Text]:
    """State, disks with their targets, and what went wrong."""
    state = shape["state"]
    lines = [Text.assemble((state.upper(), render.STATE_STYLES.get(state, "bold")), f"  {clean(shape['vm'])}")]
    if shape["error"] and state != "cancelled":
        lines += render.failure(shape["error"], width)
    else:
        lines.append(Text(f"  {clean(shape['sentence'])}"))
    for disk in shape["disks"]:
        figures = f"{size(disk['read']):>9} in {duration(disk['seconds'])}"
        lines.append(Text(f"  {fit(clean(disk['name']), 9)} {figures}  {clean(disk['target'])}"))
    lines += [Text(f"  left behind: {clean(left)}", "bold red") for left in shape["leftovers"]]
    return lines

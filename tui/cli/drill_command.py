"""vcb drill: a restore rehearsed, down to the file systems, without a target and without a vCenter."""

from collections.abc import Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.text import Text

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import ImageError, TargetError
from engine.events import ResultState
from engine.jobs.state import worst
from engine.loglevel import LogLevel
from engine.points import manifest as manifests
from engine.points.restore_files import Point
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.job_commands import watched
from tui.cli.points_commands import newest_directories
from tui.cli.screen import Screen
from tui.figures import clean, duration, size

Subject = Annotated[
    str,
    Parameter(
        name="POINT|VM",
        required=True,
        help="A point by its directory or by <vm directory>/<time>; or a VM, for its newest sound point.",
    ),
]
_WORDS = {
    ResultState.SUCCESS: ("SOUND", "bold green"),
    ResultState.EXCEPTIONS: ("NOT ALL CHECKED", "bold yellow"),
    ResultState.FAILURE: ("DAMAGED", "bold red"),
}
_STYLES = {"sound": "green", "not checked": "yellow", "damaged": "bold red"}
_MOST_LINES = 12


def drill(
    *subjects: Subject,
    scratch: Annotated[
        Path | None,
        Parameter(show_default=False, help="Directory for the copy of one partition at a time; else BACKUPROOT."),
    ] = None,
    timeout: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 3600,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Rehearse a restore: rebuild the disks through their chain, and check partition tables and file systems.

    Every grain is compared with what came from the source; GPT and MBR are read; ext, XFS, NTFS, FAT and swap are
    checked by the programs of this machine. The date and the result are kept for each VM (vcb points, the console).
    Exit code: 0 all is sound, 3 something could not be checked (LVM, LUKS, BitLocker, unknown content, a checker that
    is not installed), 1 damage was found, 2 wrong settings, 130 cancelled.

    Parameters
    ----------
    timeout
        Seconds that a checker may take for one partition.
    """
    screen, settings, state = Screen(as_json=json), unchecked_settings(common), StateDirectory.default()
    points = [_point(directory) for directory in newest_directories(settings, subjects)]
    from engine.flow.drill import Drilled, Scratch, drill_point  # noqa: PLC0415 - the image code only where it is used

    place = _scratch(scratch, settings)

    def work(report: Reporter, cancel: CancelToken) -> list[Drilled]:
        drilled: list[Drilled] = []
        room = Scratch(place, settings.KEEP_FREE.bytes_of(disk_usage(place).total))
        for point in points:
            report.log(LogLevel.STAGE, f"Drilling {point.directory}.")
            drilled.append(drill_point(point, room, state, timeout=timeout, report=report, cancel=cancel))
        return drilled

    results = watched(screen, settings, work)
    screen.line()
    for drilled in results:
        screen.show(lines(drilled))
    state_of_all = worst([drilled.state for drilled in results])
    sentence = f"{'1 point' if len(results) == 1 else f'{len(results)} points'} drilled: {state_of_all.value}."
    screen.line(sentence, _WORDS[state_of_all][1])
    screen.result(
        {
            "result": state_of_all.value,
            "exit_code": state_of_all.exit_code,
            "sentence": sentence,
            "points": [drilled.to_json() for drilled in results],
        }
    )
    return state_of_all.exit_code


def lines(drilled: Any) -> list[Text]:
    """One point's drill: its disks, and what is on them."""
    word, style = _WORDS[drilled.state]
    read = f"{size(drilled.read)} read, {duration(drilled.seconds)}"
    shown = [Text.assemble((word, style), f"  {clean(drilled.vm)}  {clean(str(drilled.point))}  ", (read, "dim"))]
    for disk in drilled.disks:
        scheme = {"gpt": "GPT", "mbr": "MBR"}.get(disk.scheme, "no partition table")
        shown.append(Text(f"  {disk.name}  {clean(disk.label)}, {size(disk.capacity)}, {scheme}"))
        shown += [Text(f"    {clean(finding)}", "red") for finding in disk.findings]
        shown += [Text(f"    {clean(note)}", "cyan") for note in disk.notes]
        shown += [line for volume in disk.volumes for line in _volume_lines(volume)]
    for sentences, colour in ((drilled.findings, "red"), (drilled.gaps, "yellow"), (drilled.notes, "cyan")):
        shown += [Text(f"  {clean(sentence)}", colour) for sentence in sentences]
    return shown


def _volume_lines(volume: Any) -> Sequence[Text]:
    judged = volume.judged
    why = f": {judged.text}" if judged.text else ""
    by = f" ({judged.checker})" if judged.checker else ""
    head = Text.assemble(
        f"    {volume.title}, {size(volume.place.length)}: ",
        (judged.verdict.value, _STYLES[judged.verdict.value]),
        clean(why + by),
    )
    return [head, *(Text(f"      {clean(line)}", "dim") for line in judged.said.splitlines()[-_MOST_LINES:])]


def _point(directory: Path) -> Point:
    """Raises ImageError: what has no manifest can't be drilled."""
    try:
        return Point(directory, manifests.read(directory))
    except OSError as error:
        raise ImageError(f"{directory} can't be read: {error.strerror}.") from None


def _scratch(named: Path | None, settings: Settings) -> Path:
    """Raises TargetError when it is not there."""
    place = named or settings.BACKUPROOT
    if not place.is_dir():
        raise TargetError(f"{place} is not a directory for scratch.", hint="Name one with --scratch.")
    return place.resolve()

"""vcb files: what is inside a restore point's disks, listed, taken out, or as a tar stream. Nothing is mounted."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.reporter import Reporter
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.interrupt import run_cancellable
from tui.cli.job_commands import watched
from tui.cli.restore_commands import PointName
from tui.cli.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config.options import Settings
    from engine.files.point_volumes import PointVolumes

files = App(name="files", help="Files inside a point: list them, take them out, or stream them as tar. Mounts nothing.")

Disks = Annotated[
    tuple[str, ...],
    Parameter(
        name="--disk",
        negative=(),
        show_default=False,
        help="Look at this disk only, by name (scsi0:1) or label; its name may then be left out of the path.",
    ),
]
Place = Annotated[
    str,
    Parameter(
        name="PATH",
        help="DISK/PARTITION/..., as scsi0:0/2/etc (partition 0: a disk without any), or GROUP/VOLUME/... of LVM.",
    ),
]


def ls(
    point: PointName,
    path: Place = "",
    /,
    *,
    long: Annotated[bool, Parameter(name=("--long", "-l"), negative=(), show_default=False)] = False,
    disk: Disks = (),
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """List the volumes of a point, or what is in a directory of one.

    Exit code: 0 all was read, 3 some of it is damaged, 1 nothing could be read, 2 wrong settings or no such path.

    Parameters
    ----------
    long
        Modes, owners, sizes and times too.
    """
    screen, settings = Screen(as_json=json), unchecked_settings(common)

    from engine.files.listing import list_files, list_volumes  # noqa: PLC0415 - the image code only where it is used
    from tui.cli import files_view  # noqa: PLC0415

    def work(cancel: CancelToken) -> int:
        with _volumes(settings, point, disk) as volumes:
            if path.strip("/"):
                found = list_files(volumes, path, cancel)
                screen.show(files_view.entry_lines(found.entries, long=long))
                screen.show(files_view.entry_remarks(found, screen.width))
            else:
                found = list_volumes(volumes, cancel)
                screen.show(files_view.volumes_table(found, screen.width))
        screen.result(found.to_json())
        return found.state.exit_code

    return run_cancellable(work, screen.line)


def get(
    point: PointName,
    path: Place,
    /,
    *,
    to: Annotated[Path, Parameter(help="Directory, made if missing. Nothing in it is overwritten.")],
    disk: Disks = (),
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Take a file, or a directory with all below it, out of a point: with modes, times, links and holes.

    Symlinks come as symlinks and are not followed; devices, pipes and sockets are left out, and told. Owners become
    yours, so setuid and setgid are dropped; tar keeps both. Exit code: 0 all came, 3 all but what is told, 1 failure.
    """
    screen, settings = Screen(as_json=json), unchecked_settings(common)
    from engine.files.extract import take_out  # noqa: PLC0415
    from engine.files.point_volumes import entry_at  # noqa: PLC0415
    from tui.cli import files_view  # noqa: PLC0415

    def work(report: Reporter, cancel: CancelToken) -> Any:
        with _volumes(settings, point, disk) as volumes:
            volume, names = volumes.find(path)
            system = volume.open(cancel)
            start = entry_at(system, names)
            return take_out(system, start, to, volume=volume, report=report, cancel=cancel)

    taken = watched(screen, settings, work)
    screen.line()
    screen.show(files_view.taken_lines(taken))
    screen.result(taken.to_json() | {"target": str(to)})
    return taken.state.exit_code


def tar(point: PointName, path: Place, /, *, disk: Disks = (), common: Common = None) -> int:
    """Write a file, or a directory with all below it, to standard output as a tar stream: vcb files tar ... > x.tar

    The form is pax, with owners, modes, times and links; sparse files are stored without their holes. The
    outcome goes to standard error. Exit code: 0 all is in it, 3 all but what is told, 1 failure.
    """
    screen, settings = Screen(as_json=True), unchecked_settings(common)  # people read standard error
    if sys.stdout.isatty():
        raise ConfigError("A tar stream is nothing for a terminal.", hint="Send it into a file or a pipe: > x.tar")
    from engine.files.point_volumes import entry_at  # noqa: PLC0415
    from engine.files.tar_stream import write_tar  # noqa: PLC0415
    from tui.cli import files_view  # noqa: PLC0415

    def work(report: Reporter, cancel: CancelToken) -> Any:
        with _volumes(settings, point, disk) as volumes:
            volume, names = volumes.find(path)
            system = volume.open(cancel)
            start = entry_at(system, names)
            return write_tar(system, start, sys.stdout.buffer, volume=volume, report=report, cancel=cancel)

    taken = watched(screen, settings, work)
    screen.show(files_view.taken_lines(taken))
    return taken.state.exit_code


@contextmanager
def _volumes(settings: "Settings", point: str, disks: tuple[str, ...]) -> "Iterator[PointVolumes]":
    from engine.files.point_volumes import PointVolumes  # noqa: PLC0415
    from engine.points.restore_files import chosen_disks, find_point, require_disks  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    require_disks(found)
    with PointVolumes(found, chosen_disks(found, disks)) as volumes:
        yield volumes


files.command(ls, name="ls", sort_key=0)
files.command(get, name="get", sort_key=1)
files.command(tar, name="tar", sort_key=2)

"""vcb serve: a point's disks over NBD, read-only, until Ctrl-C."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.cancel import CancelToken
from engine.reporter import Reporter
from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.job_commands import watched
from tui.cli.restore_commands import PointName
from tui.cli.screen import Screen
from tui.figures import size


def serve(
    point: PointName,
    /,
    *,
    disk: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(), show_default=False, help="Only this disk, by name or label. May be given more than once."
        ),
    ] = (),
    nbd_port: Annotated[int, Parameter(help="TCP port on 127.0.0.1; further disks get the next ones.")] = 10809,
    sockets: Annotated[
        Path | None, Parameter(show_default=False, help="Directory for Unix sockets, instead of TCP.")
    ] = None,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Serve the disks of a point over NBD, read-only, until Ctrl-C: to mount them, or to look into them.

    The server is qemu-nbd, or nbdkit for flat disks. Only this machine reaches it. With --json one line tells the
    addresses as soon as they answer.
    """
    settings, screen = unchecked_settings(common), Screen(as_json=json)
    from engine.flow.serve import NbdServers  # noqa: PLC0415
    from engine.points.restore_files import chosen_disks, find_point  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    disks = chosen_disks(found, disk)

    def work(report: Reporter, cancel: CancelToken) -> None:
        with NbdServers(found, disks, port=nbd_port, sockets=sockets, report=report) as servers:
            for export in servers.exports:
                screen.line(f"{export.disk:<9} {export.label}, {size(export.capacity)}: {export.url}")
            screen.line(
                "Read-only, for this machine alone, until Ctrl-C. To look: nbdinfo URL; guestfish --ro -a URL", "dim"
            )
            screen.result({"exports": [asdict(export) for export in servers.exports]})
            servers.run(cancel)

    watched(screen, settings, work)
    return 0

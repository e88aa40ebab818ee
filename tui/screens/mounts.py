"""The mount points in BACKUPROOT: which VM, how old, whose; and the way to be rid of one."""

import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text

from engine.config.options import Settings
from engine.errors import TargetError
from engine.jobs.request import Act
from engine.points.mount_point import Marker, read_marker
from engine.points.naming import MOUNT_PREFIX
from engine.state_directory import StateDirectory
from tui.commands import Command
from tui.figures import clean, duration, fit, size
from tui.screens.confirm import Confirm
from tui.screens.list_dialog import ListDialog
from tui.widgets.choice_list import Choice


@dataclass(frozen=True, slots=True)
class MountPoint:
    """`age` in seconds, `stored` in bytes; without a marker that can be read it is nobody's."""

    path: Path
    marker: Marker | None
    age: float
    stored: int
    ours: bool

    @property
    def owner(self) -> str:
        if self.marker is None:
            return "unknown"
        return "this proxy" if self.ours else f"proxy {self.marker.proxy}"


def mount_points(settings: Settings) -> list[MountPoint]:
    """Those in BACKUPROOT, by name; symlinks are not followed. Raises TargetError."""
    proxy = StateDirectory.default().proxy_id
    found = []
    try:
        for path in sorted(settings.BACKUPROOT.glob(f"{MOUNT_PREFIX}*")):
            if path.is_dir() and not path.is_symlink():
                marker = read_marker(path)
                stored = sum(file.lstat().st_size for file in path.iterdir())
                ours = marker is not None and marker.proxy == proxy
                found.append(MountPoint(path, marker, time.time() - path.lstat().st_mtime, stored, ours))
    except OSError as error:
        raise TargetError(f"BACKUPROOT {settings.BACKUPROOT} can't be read: {error.strerror}.") from None
    return found


class MountsScreen(ListDialog):
    empty = "There is no mount point in BACKUPROOT. m in the inventory makes one for other backup software."
    commands: ClassVar[tuple[Command, ...]] = (
        Command("mounts.unmount", "Unmount", "Removes the mount point and its snapshot, as SNAPSHOT_POLICY says.",
                ("u", "enter"), footer="Unmount", danger=True),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        super().__init__("Mount points", "vcb unmount DIRECTORY", settings)

    def load(self) -> Sequence[MountPoint]:
        return mount_points(self.settings)

    def lines(self) -> Iterable[Choice]:
        for each in self.found or ():
            vm = each.marker.vm_name if each.marker else "?"
            text = f"{fit(clean(vm), 24)} {fit(f'{duration(each.age)} old', 14)} {fit(size(each.stored), 9)}"
            yield Choice(str(each.path), text, each.owner, muted=not each.ours)

    def about(self, current: Any) -> Iterable[Text]:
        yield Text(clean(str(current.path)))
        if current.marker:
            snapshot = current.marker.snapshot or "none is known"
            yield Text(f"Made by job {current.marker.job}. Its snapshot: {snapshot}.")
        if not current.ours:
            yield Text(f"{self.app.glyphs.warning} Not provably this proxy's: it is never touched.", "yellow")

    def command_for(self, current: Any) -> str:
        return shlex.join(["vcb", "unmount", str(current.path)])

    def why_not(self, command: Command) -> str:
        if command.id == "mounts.unmount" and self.is_mounted:
            if self.current is None:
                return "There is no mount point here."
            if not self.current.ours:
                return f"{self.current.path.name} is not provably this proxy's: it is not touched."
        return super().why_not(command)

    def action_unmount(self) -> None:
        each: MountPoint = self.current
        vm = each.marker.vm_name if each.marker else each.path.name
        gone = [f"{each.path}, {size(each.stored)}"]
        if each.marker and each.marker.snapshot:
            policy = self.settings.SNAPSHOT_POLICY
            gone.append(f"snapshot {each.marker.snapshot} of {vm}, as SNAPSHOT_POLICY {policy} says")

        def answered(yes: bool | None) -> None:
            if yes:
                self.start(Act.UNMOUNT, str(each.path), name=vm)

        sentence = "Whoever reads these files loses them:"
        self.app.push_screen(
            Confirm(f"Unmount {clean(vm)}", sentence, gone, verb="Unmount", command_line=self.command_line), answered
        )

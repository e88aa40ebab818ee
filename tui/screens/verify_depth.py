"""How deeply a point is looked at, before it is."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.points.proof import Depth
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.widgets.choice_list import Choice, ChoiceList

_MEANING = {
    Depth.MANIFEST: "the files are there, with their sizes",
    Depth.FILES: "every file is read and has its SHA-256",
    Depth.GRAINS: "also unpacked, and compared with what came from the source",
    Depth.CHAIN: "also the whole disks, as a restore reads them",
}


class VerifyDepth(CommandDialog[str]):
    """Gives the word of the depth."""

    AUTO_FOCUS = "ChoiceList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("depth.take", "Verify", "Starts a job that reads the point back.", ("enter",), footer="Verify"),
    )

    def __init__(self, point: Path) -> None:
        super().__init__("Verify the point", "")
        self._point = point

    def body(self) -> Iterable[Widget]:
        yield Static(Content("How deep? Each includes those above it; the date is kept with the point.\n"))
        yield ChoiceList()

    def on_mount(self) -> None:
        super().on_mount()
        listed = self.query_one(ChoiceList)
        listed.styles.height = len(Depth)
        listed.show([Choice(depth, f"{depth:<9} {_MEANING[depth]}") for depth in Depth], Depth.GRAINS.order)
        self._tell()

    @on(ChoiceList.Moved)
    def _tell(self) -> None:
        self.show_command(shlex.join(["vcb", "verify", "--depth", self._chosen, str(self._point)]))

    @property
    def _chosen(self) -> str:
        return list(Depth)[self.query_one(ChoiceList).cursor].value

    @on(ChoiceList.Taken)
    def action_take(self) -> None:
        self.dismiss(self._chosen)

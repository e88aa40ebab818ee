"""Where the files of a restore point go that are taken out of it."""

import shlex
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.points.catalog import Point
from tui.commands import Command
from tui.figures import clean
from tui.screens.command_dialog import CommandDialog

_MEANING = (
    "Into this directory of the proxy, made if missing. Nothing in it is overwritten; symlinks come as symlinks, "
    "devices are left out, owners become yours."
)


class TakeOutScreen(CommandDialog[str]):
    """Gives the directory, with its whole path."""

    AUTO_FOCUS = "#take-out-target"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("files.take", "Take out", "Starts the job that writes the files.", ("enter",), footer="Take out"),
    )  # fmt: skip

    def __init__(self, point: Point, path: str) -> None:
        super().__init__(f"Take out {clean(path)}")
        self.point, self.path = point, path

    def body(self) -> Iterable[Widget]:
        yield Static(Content(_MEANING))
        yield Input(id="take-out-target", compact=True, placeholder="directory, absolute")

    def on_mount(self) -> None:
        super().on_mount()
        self._tell()

    @property
    def target(self) -> str:
        found = self.query(Input)
        return found.first().value.strip() if found else ""

    @on(Input.Changed)
    def _tell(self) -> None:
        words = ["vcb", "files", "get", str(self.point.directory), self.path, "--to", self.target or "DIRECTORY"]
        self.show_command(shlex.join(words) if self.path.isprintable() else "vcb files get")

    def why_not(self, command: Command) -> str:
        if command.id == "files.take" and not self.target.startswith("/"):
            return "Name the directory, with its whole path."
        return super().why_not(command)

    @on(Input.Submitted)
    async def _submitted(self) -> None:
        await self.action_command("files.take")

    def action_take(self) -> None:
        self.dismiss(self.target)

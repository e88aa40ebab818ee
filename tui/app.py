"""The full-screen console."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from engine.config.options import Settings
from tui.commands import Command, Offers, Registry
from tui.panes.config import ConfigPane
from tui.panes.inventory import InventoryPane
from tui.panes.job_log import JobLogPane
from tui.panes.pane import Pane
from tui.screens.main import MainScreen
from tui.wire.display import LineApp

PANES: tuple[type[Pane], ...] = (InventoryPane, ConfigPane, JobLogPane)


class VcbApp(Offers, LineApp[None]):
    """`settings` are those in effect when the console starts; `document_path` is the configuration file they came from,
    None while there is none. The panes get both from `self.app`."""

    ENABLE_COMMAND_PALETTE = False

    commands: ClassVar[tuple[Command, ...]] = (
        Command(
            "console.quit",
            "Leave the console",
            "Leaves the console. Jobs that run go on running.",
            ("q", "ctrl+q"),
            footer="Quit",
        ),
    )

    def __init__(
        self, settings: Settings, document_path: Path | None = None, *, panes: Sequence[type[Pane]] = PANES
    ) -> None:
        super().__init__()
        self.settings = settings
        self.document_path = document_path
        self.pane_types = panes
        offered = [*self.commands, *MainScreen.commands, *(command for pane in panes for command in pane.commands)]
        self.registry = Registry(offered)

    def on_mount(self) -> None:
        self.push_screen(MainScreen([pane() for pane in self.pane_types]))

    async def action_quit(self) -> None:
        self.exit()

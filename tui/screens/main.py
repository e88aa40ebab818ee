"""The main screen: inventory left, configuration right, job log below."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from tui.commands import Command, Offers
from tui.panes.pane import Pane


class MainScreen(Offers, Screen[None]):
    DEFAULT_CSS = """
    MainScreen #upper { height: 2fr; }
    MainScreen #lower { height: 1fr; }
    """

    commands: ClassVar[tuple[Command, ...]] = tuple(
        Command(
            f"console.go_{pane}",
            f"Go to the {words}",
            f"Puts the keyboard into the {words}.",
            keys,
            method="go",
            argument=place,
        )
        for place, (pane, words, keys) in enumerate(
            (
                ("inventory", "inventory", ("1", "f2")),
                ("config", "configuration", ("2", "f3")),
                ("job_log", "job log", ("3", "f4")),
            )
        )
    )

    def __init__(self, panes: Sequence[Pane]) -> None:
        super().__init__()
        self.panes = panes

    def compose(self) -> ComposeResult:
        inventory, config, job_log = self.panes
        yield Vertical(Horizontal(inventory, config, id="upper"), Horizontal(job_log, id="lower"))

    def on_mount(self) -> None:
        self.action_go(0)

    def action_go(self, place: int) -> None:
        self.panes[place].focus_target().focus()

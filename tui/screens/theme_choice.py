"""The choice of a theme, tried on while the cursor moves."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import on
from textual.widget import Widget

from tui.commands import Command
from tui.screens.command_dialog import CLOSE, CommandDialog
from tui.themes import ThemeFile
from tui.widgets.choice_list import Choice, ChoiceList


class ThemeChoice(CommandDialog[str]):
    """Answers the id of the theme taken; the screen behind wears each as the cursor comes to it."""

    DEFAULT_CSS = """
    ThemeChoice { background: transparent; align: right top; }
    ThemeChoice > #dialog { width: 72; max-width: 90%; margin: 1 2; }
    ThemeChoice ChoiceList { height: 10; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        Command("themes.take", "Take", "Keeps this theme, for the next start too.", ("enter",), footer="Take"),
        CLOSE,
    )

    def __init__(self, themes: Mapping[str, ThemeFile], current: str) -> None:
        super().__init__("Theme")
        self._themes, self._current = themes, current

    def body(self) -> Iterable[Widget]:
        yield ChoiceList()

    def on_mount(self) -> None:
        super().on_mount()
        choices = self.query_one(ChoiceList)
        names = list(self._themes)
        choices.show(
            [Choice(theme.id, f"{theme.name}  {theme.about}", theme.id) for theme in self._themes.values()],
            names.index(self._current) if self._current in names else 0,
        )
        choices.focus()

    def action_take(self) -> None:
        self.query_one(ChoiceList).action_take()

    @on(ChoiceList.Moved)
    def _moved(self, message: ChoiceList.Moved) -> None:
        self.app.wear(message.choice.id)

    @on(ChoiceList.Taken)
    def _taken(self, message: ChoiceList.Taken) -> None:
        self.dismiss(message.choice.id)

    def action_close(self) -> None:
        self.app.wear(self._current)
        self.dismiss(None)

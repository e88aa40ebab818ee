"""A list to choose from, painted line by line: the palette and the choice of a theme.

Textual's OptionList dies of page keys that come before it has indexed its lines (kagan-legacy#31); this one knows its
lines always, and a thousand of them cost what the visible ones do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.commands import Command, Offers


@dataclass(frozen=True, slots=True)
class Choice:
    id: str
    title: str
    right: str = ""
    """At the right end of the line: the keys of a command."""
    muted: bool = False


class ChoiceList(Offers, Widget, can_focus=True):
    """Posts `Moved` when another line has the cursor, `Taken` for Enter or a click."""

    DEFAULT_CSS = """
    ChoiceList { height: 1fr; min-height: 3; width: 1fr; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        Command("choice.take", "Take", "Takes the line under the cursor.", ("enter",), hidden=True),
        *(Command(f"choice.{name}", name, f"Moves the cursor: {name}.", keys, method="move", argument=step, hidden=True)
        for name, keys, step in (
            ("up", ("up", "ctrl+k"), -1), ("down", ("down", "ctrl+n"), 1), ("page up", ("pageup",), -10),
            ("page down", ("pagedown",), 10), ("first", ("ctrl+home", "home"), -100_000),
            ("last", ("ctrl+end", "end"), 100_000),
        )),
    )  # fmt: skip

    choices: reactive[tuple[Choice, ...]] = reactive(())
    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    class Taken(Message):
        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def show(self, choices: Sequence[Choice], cursor: int = 0) -> None:
        self.choices = tuple(choices)
        self.cursor = max(0, min(cursor, len(self.choices) - 1))

    @property
    def _top(self) -> int:
        """The first line shown: the cursor stays a little off the edges."""
        height, count = max(1, self.size.height), len(self.choices)
        return max(0, min(self.cursor - height // 2, count - height))

    def render(self) -> Content:
        if not self.choices:
            return Content.styled("Nothing matches.", "$muted")
        shown = self.choices[self._top : self._top + max(1, self.size.height)]
        return Content("\n").join([self._line(choice, self._top + row) for row, choice in enumerate(shown)])

    def _line(self, choice: Choice, place: int) -> Content:
        room = max(1, self.size.width - cell_len(choice.right) - 4)
        title = choice.title if cell_len(choice.title) <= room else set_cell_size(choice.title, room - 1) + "~"
        gap = " " * (self.size.width - cell_len(title) - cell_len(choice.right) - 3)
        if place == self.cursor:
            line = Content(f" {title}{gap} {choice.right} ")
            return line.stylize(f"{self._cursor_style} $cursor-text on $cursor")
        return Content.assemble(
            " ", Content.styled(title, "$muted" if choice.muted else "$foreground"), gap, " ",
            Content.styled(choice.right, "$muted"), " ",
        )  # fmt: skip

    @property
    def _cursor_style(self) -> str:
        return self.app.theme_variables.get("cursor-style", "none")

    def action_move(self, step: int) -> None:
        before = self.cursor
        self.cursor = max(0, min(self.cursor + step, len(self.choices) - 1))
        if self.cursor != before:
            self.post_message(self.Moved(self.choices[self.cursor]))

    def action_take(self) -> None:
        if self.choices:
            self.post_message(self.Taken(self.choices[self.cursor]))

    def on_click(self, event: events.Click) -> None:
        place = self._top + event.y
        if 0 <= place < len(self.choices):
            self.cursor = place
            self.action_take()

"""One event of a job's log with all its fields."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.commands import Command
from tui.screens.command_dialog import CommandDialog

_NAMES = 24


class EventDetail(CommandDialog[None]):
    """Names and values, as `tui.models.event_text.details` gives them."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("event.leave", "Back", "Back to the log.", ("enter", "q"), method="close"),
        Command("event.copy", "Copy", "Copies names and values to the terminal's clipboard.", ("y",), footer="Copy"),
    )

    def __init__(self, title: str, fields: Iterable[tuple[str, str]], command_line: str) -> None:
        super().__init__(title, command_line)
        self._fields = [(name, value) for name, value in fields if value]

    def body(self) -> Iterable[Widget]:
        width = min(_NAMES, max((len(name) for name, _ in self._fields), default=0))
        for name, value in self._fields:
            yield Static(Content.assemble(Content.styled(f"{name:<{width}}  ", "$muted"), Content(value)))

    def action_copy(self) -> None:
        self.notify(self.app.copy("\n".join(f"{name}: {value}" for name, value in self._fields)))

"""`?`: what the focused pane is for, and its keys; then those that work everywhere. Drawn from the commands."""

from collections.abc import Iterable
from typing import Any

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.commands import Command, key_word
from tui.screens.command_dialog import CommandDialog

_KEYS_SHOWN = 3


class HelpScreen(CommandDialog[None]):
    """`subject` is the pane's title, `purpose` what it is for."""

    def __init__(self, subject: str, purpose: str, here: Iterable[Command], everywhere: Iterable[Command] = ()) -> None:
        super().__init__(f"Help: {subject}")
        self._purpose = purpose
        self._here = [command for command in here if not command.hidden]
        self._everywhere = [command for command in everywhere if not command.hidden]

    def body(self) -> Iterable[Widget]:
        if self._purpose:
            yield Static(Content(f"{self._purpose}\n"))
        if self._here:
            yield Static(Content.styled("Keys here", "bold $accent"))
            yield Static(self._table(self._here))
        if self._everywhere:
            yield Static(
                Content.assemble("\n" if self._here else "", Content.styled("Keys everywhere", "bold $accent"))
            )
            yield Static(self._table(self._everywhere))

    def action_keys(self) -> None:
        self.action_close()

    def _table(self, commands: Iterable[Command]) -> Any:
        from rich.table import Table  # noqa: PLC0415 - only here, and only when asked for help
        from rich.text import Text  # noqa: PLC0415

        ascii_only = not self.app.profile.unicode
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=11, no_wrap=True)
        table.add_column()
        for command in commands:
            keys = " ".join(key_word(key, ascii_only=ascii_only) for key in command.keys[:_KEYS_SHOWN])
            title = Text(command.title, "bold")
            if command.danger:
                title.append(f" {self.app.glyphs.warning} asks first")
            table.add_row(Text(keys or f"{key_word('ctrl+p')} only", "bold"), Text.assemble(title, "\n", command.help))
        return table

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#dialog-body", VerticalScroll).focus()

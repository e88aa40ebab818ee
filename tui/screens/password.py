"""Asks for the vCenter password, which is kept in memory only and sent once."""

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config.options import Settings
from engine.config.secrets import checked
from engine.errors import ConfigError
from engine.secret import Secret
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog


class PasswordScreen(CommandDialog[Secret | None]):
    """Gives the password, or None."""

    commands: ClassVar[tuple[Command, ...]] = ()
    DEFAULT_CSS = """
    PasswordScreen > #dialog { max-width: 76; }
    PasswordScreen Input { height: 1; border: none; background: $panel; padding: 0 1; margin: 1 0; }
    """

    def __init__(self, settings: Settings, why: str) -> None:
        super().__init__(f" Password of {settings.USERNAME} at {settings.HOST} ", "vcb config password")
        self._why = Static(why, markup=False)

    def body(self) -> Iterable[Widget]:
        entry = Input(password=True, placeholder="password")
        entry.cursor_blink = False
        return self._why, entry, Static("Enter sends it once, and keeps it for the jobs of this console.", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(checked(event.value, "the password"))
        except ConfigError as error:
            self._why.update(error.sentence)

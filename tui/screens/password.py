"""Asks for the vCenter password, which is kept in memory only and sent once."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.config.options import Settings
from engine.config.secrets import checked
from engine.errors import ConfigError
from engine.secret import Secret
from tui.commands import Command, Offers


class PasswordScreen(Offers, ModalScreen[Secret | None]):
    """Gives the password, or None."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("password.leave", "Not now", "Closes without a password; nothing is sent.", ("escape",)),
    )
    DEFAULT_CSS = """
    PasswordScreen {
        align: center middle;
        & > Vertical { width: 70; max-width: 92%; height: auto; border: round $primary; background: $surface;
                       padding: 0 1; border-title-color: $primary; border-title-style: bold; }
        & Static { height: auto; color: $text-muted; }
        & Input { margin: 1 0; }
    }
    """

    def __init__(self, settings: Settings, why: str) -> None:
        super().__init__()
        self._box = Vertical()
        self._box.border_title = f" Password of {settings.USERNAME} at {settings.HOST} "
        self._why = Static(why, markup=False)

    def compose(self) -> ComposeResult:
        with self._box:
            yield self._why
            yield Input(password=True, compact=True, placeholder="password")
            yield Static("Enter sends it once, and keeps it for this console's jobs. Esc not now.", markup=False)

    def on_mount(self) -> None:
        entry = self.query_one(Input)
        entry.cursor_blink = False
        entry.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(checked(event.value, "the password"))
        except ConfigError as error:
            self._why.update(error.sentence)

    def action_leave(self) -> None:
        self.dismiss(None)

"""Asks for the password of the backup account, unseen, and keeps it where every command looks for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config import password_store
from engine.config.integrated_logon import is_integrated
from engine.config.options import Settings
from engine.config.secrets import checked, service
from engine.errors import ConfigError
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog


@dataclass(frozen=True)
class Stored:
    """`told` says where; `file` is the file for PASSWORD_FILE, None for the keyring."""

    told: str
    file: Path | None


class StorePasswordScreen(CommandDialog[Stored]):
    """The typed text stands in masked fields only, and nowhere once the dialog is closed."""

    DEFAULT_CSS = """
    StorePasswordScreen Input { height: 1; border: none; background: $panel; margin-bottom: 1; }
    StorePasswordScreen Input:focus { border: none; background: $panel; }
    StorePasswordScreen #trouble { color: $state-error; height: auto; }
    """
    AUTO_FOCUS = "#first"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("password.store", "Store", "Keeps the password, if both times it was typed alike.", ("f8",),
                footer="Store"),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        whose = f"{settings.USERNAME or 'USERNAME'} at {settings.HOST or 'HOST'}"
        super().__init__(f"Password of {whose}", "vcb config password --test")
        self.settings = settings

    def body(self) -> Iterable[Widget]:
        if trouble := self._hindrance():
            yield Static(Content(trouble), id="trouble")
            return
        yield Static(Content("The password:"))
        yield Input(password=True, id="first", compact=True)
        yield Static(Content("The same again:"))
        yield Input(password=True, id="again", compact=True)
        yield Static(Content("Keep it in this file, mode 0600 (empty: in the keyring of this machine):"))
        yield Input(str(self.settings.PASSWORD_FILE or ""), id="file", compact=True)
        yield Static(id="trouble")

    def _hindrance(self) -> str:
        for name in ("HOST", "USERNAME"):
            if not self.settings.value_of(name):
                return f"{name} is not set, so whose password it is nobody knows. Set it first."
        if is_integrated(self.settings.USERNAME):
            return f"USERNAME {self.settings.USERNAME} is integrated logon, which has no password to keep."
        return ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "first":
            self.query_one("#again").focus()
        else:
            self.action_store()

    def why_not(self, command: Command) -> str:
        return (self._hindrance() if command.id == "password.store" else "") or super().why_not(command)

    def action_store(self) -> None:
        self._store()

    @work(thread=True, exclusive=True, group="config-thread-password")
    def _store(self) -> None:
        first, again, file = (self.query_one(f"#{name}", Input).value for name in ("first", "again", "file"))
        try:
            secret = checked(first, "the password")
            if first != again:
                raise ConfigError("the two passwords differ; nothing has been stored")
            if file.strip():
                target = password_store.store_in_file(Path(file.strip()).expanduser().absolute(), secret)
                stored = Stored(f"Stored in {target}, mode 0600.", target)
            else:
                keyring = password_store.store_in_keyring(self.settings, secret)
                stored = Stored(f"Stored in the keyring ({keyring}) as {service(self.settings)}.", None)
        except ConfigError as error:
            text = f"{self.app.glyphs.error} {error.sentence}. {error.hint.replace('Use --file FILE', 'Name a file')}"
            self.app.call_from_thread(self.query_one("#trouble", Static).update, Content(text))
            return
        self.app.call_from_thread(self.dismiss, stored)

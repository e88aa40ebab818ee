"""The connection tried out: each step in a sentence, as it is known."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config.options import Settings
from engine.jobs.connection_check import Step, started
from engine.secret import redact
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import joined, text

_MARKS = {"ok": ("ok  ", "$state-ok"), "warning": ("!   ", "$state-warning"), "failed": ("x   ", "bold $state-error")}


class ConnectionScreen(CommandDialog[str]):
    """Gives the SHA-256 of the certificate that the operator approved here, if he did."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("connection.approve", "Approve the certificate", "Sets THUMBPRINT to the certificate that the server "
                "shows. Compare it at the server's own console first.", ("A",), danger=True, footer="Approve"),
    )  # fmt: skip

    def __init__(self, settings: Settings, path: Path) -> None:
        super().__init__(f"Connection to {settings.HOST or 'HOST'}", f"vcb config test --config {path}")
        self.settings = settings
        self.steps: list[Step] = []
        self.fingerprint = ""
        self.done = False

    def body(self) -> Iterable[Widget]:
        yield text("Connecting ...", name="steps")

    def on_mount(self) -> None:
        super().on_mount()
        self._follow()

    @work(exclusive=True, group="config-thread-connection")
    async def _follow(self) -> None:
        async for step in started(self.settings):
            self.steps.append(step)
            self.fingerprint = step.fingerprint or self.fingerprint
            self._show("...")
        self.done = True
        self._show("")

    def _show(self, more: str) -> None:
        lines: list[Content | str] = []
        for step in self.steps:
            lines.append(Content.assemble(_MARKS[step.state], (f"{step.name}: ", "bold"), redact(step.text)))
            if step.hint:
                lines.append(Content.styled(f"    {redact(step.hint)}", "$muted"))
        if self.fingerprint and not more:
            lines.append("Compare the fingerprint at the server's own console before you approve it with A.")
        self.query_one("#steps", Static).update(joined([*lines, more] if more else lines))
        self.tell_keys()

    def why_not(self, command: Command) -> str:
        if command.id == "connection.approve" and not self.fingerprint:
            return "There is no certificate to approve."
        return super().why_not(command)

    def action_approve(self) -> None:
        self.dismiss(self.fingerprint)

"""The connection tried out: each step in a sentence, as it is known."""

import re
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
from tui.models.marks import state_sign
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import joined, text

_SHA256 = re.compile(r" ((?:[0-9A-F]{2}:){16})((?:[0-9A-F]{2}:){15}[0-9A-F]{2})\.?")
_STYLES = {"ok": "$state-ok", "warning": "$state-warning", "failed": "bold $state-error"}


class ConnectionScreen(CommandDialog[str]):
    """Gives the SHA-256 of the certificate that the operator approved here, if he did."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("connection.approve", "Approve the certificate", "Sets THUMBPRINT to the certificate that the server "
                "shows. Compare it at the server's own console first.", ("A",), danger=True, footer="Approve"),
    )  # fmt: skip

    hides_impossible = True

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
            said = _in_halves(redact(step.text))
            sign = (f"{state_sign(step.state, self.app.glyphs)} ", _STYLES[step.state])
            lines.append(Content.assemble(sign, (f"{step.name}: ", "bold"), said))
            if step.fingerprint and step.fingerprint not in step.text + step.hint:
                lines.append(_in_halves(f"Its SHA-256 is {step.fingerprint}"))
            if step.hint:
                lines.append(Content.styled(_in_halves(redact(step.hint)), "$muted"))
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


def _in_halves(text: str) -> str:
    """A fingerprint stands in two lines of its own, to be compared with another screen by eye."""
    return _SHA256.sub(r"\n    \1\n    \2", text)

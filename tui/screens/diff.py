"""What would change, before it does."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.widgets.diff_view import DiffView


class DiffDialog(CommandDialog[bool]):
    """Answers True for "do it". `lines` are a unified diff without secrets; `remark` stands above it."""

    commands: ClassVar[tuple[Command, ...]] = (
        Command("diff.accept", "Accept", "Does what is shown.", ("enter", "y"), footer="Accept"),
        Command("diff.refuse", "Refuse", "Changes nothing.", ("n",), footer="Refuse"),
    )

    def __init__(self, title: str, lines: Sequence[str], *, remark: str = "", command_line: str = "") -> None:
        super().__init__(title, command_line)
        self._lines, self._remark = lines, remark

    def body(self) -> Iterable[Widget]:
        if self._remark:
            yield Static(Content(self._remark + "\n"))
        yield DiffView(self._lines) if self._lines else Static(Content("Nothing would change."))

    def action_accept(self) -> None:
        self.dismiss(True)

    def action_refuse(self) -> None:
        self.dismiss(False)

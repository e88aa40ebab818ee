"""The file changed on disk while it was edited: both changes side by side, and the ways out of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config.difference import three_way_view
from engine.config.merging import three_way
from engine.errors import ConflictError
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import printable, text

Answer = Literal["merge", "mine", "theirs"]
_STYLES = {"M": "$state-ok", "D": "$state-note", "=": "$muted", "<": "bold $state-error",
           "|": "bold $state-error", ">": "bold $state-error"}  # fmt: skip


class ConflictScreen(CommandDialog[Answer]):
    commands: ClassVar[tuple[Command, ...]] = (
        Command("conflict.merge", "Keep both changes", "Saves the file with both changes, as shown.", ("m",),
                footer="Keep both", method="answer", argument="merge"),
        Command("conflict.mine", "Save mine over it", "Saves what stands in the editor; the other change stays in the "
                "history.", ("o",), danger=True, footer="Mine over it", method="answer", argument="mine"),
        Command("conflict.theirs", "Take theirs", "Reads the file again; undo brings your changes back.", ("t",),
                footer="Theirs", method="answer", argument="theirs"),
    )  # fmt: skip

    hides_impossible = True

    def __init__(self, conflict: ConflictError, path: Path) -> None:
        super().__init__(f"{path.name} changed on disk", f"vcb config diff {path}")
        self.conflict, self.path = conflict, path
        self.view = three_way(conflict.base, conflict.mine, conflict.disk or b"")
        self.may_merge = conflict.disk is not None and self.view.merged is not None

    def body(self) -> Iterable[Widget]:
        how = "The changes are in different places: m keeps both." if self.may_merge else (
            "The file is gone from the disk." if self.conflict.disk is None
            else "Both changed the same lines: choose a side, or go back and edit.")  # fmt: skip
        yield Static(Content(f"{self.conflict.sentence}. {how}"))
        yield Static(Content.styled("M mine   D on the disk   = the same by both", "$muted"))
        if self.conflict.disk is not None:
            yield text(*(_shown(line) for line in three_way_view(self.view, self.path)), name="diff")

    def why_not(self, command: Command) -> str:
        if command.id == "conflict.merge" and not self.may_merge:
            return "Both changed the same lines: choose a side, or go back and edit."
        if command.id == "conflict.theirs" and self.conflict.disk is None:
            return "The file is gone from the disk."
        return super().why_not(command)

    def action_answer(self, answer: Answer) -> None:
        self.dismiss(answer)


def _shown(line: str) -> Content:
    return Content.styled(printable(line), _STYLES.get(line[:1], ""))

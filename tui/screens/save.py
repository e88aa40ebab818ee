"""Before a configuration is saved: what will change, and what forbids it."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config.finding import Finding
from engine.secret import redact
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import joined
from tui.widgets.diff_view import DiffView

Answer = Literal["save", "save invalid", "go to error"]


class SaveScreen(CommandDialog[Answer]):
    """Shows the difference. With errors it saves only after `!` and then, beside the errors once more, `Y`."""

    DEFAULT_CSS = """
    SaveScreen #errors { margin-bottom: 1; height: auto; }
    """
    commands: ClassVar[tuple[Command, ...]] = (
        Command("save.save", "Save", "Writes what is shown.", ("enter", "s", "y"), footer="Save"),
        Command("save.go_to_error", "Go to the error", "Back to the editor, at the first error.", ("g",),
                footer="Go to the error"),
        Command("save.insist", "Save all the same", "Asks once more, naming the errors.", ("exclamation_mark",),
                footer="Save all the same"),
        Command("save.save_invalid", "Save with the errors", "Writes a file that no run accepts.", ("Y",),
                danger=True, footer="Save with errors"),
    )  # fmt: skip

    hides_impossible = True

    def __init__(self, file: str, lines: Sequence[str], errors: Sequence[Finding], cautions: Sequence[str],
                 equivalent: str) -> None:  # fmt: skip
        super().__init__(f"Save {file}?", equivalent)
        self.lines, self.errors, self.cautions = lines, errors, cautions
        self.insisting = False

    def body(self) -> Iterable[Widget]:
        if self.errors:
            yield Static(self._said(), id="errors")
        for caution in self.cautions:
            yield Static(Content.styled(f"{self.app.glyphs.warning} {caution}", "$state-warning"))
        yield DiffView(self.lines)

    def _said(self) -> Content:
        count = "an error" if len(self.errors) == 1 else f"{len(self.errors)} errors"
        head = f"No run accepts this file: it has {count}."
        if self.insisting:
            head = f"Press Y to save a file that no run accepts, with {count}:"
        told = [
            Content.assemble(
                (f"{self.app.glyphs.error} ", "bold $state-error"),
                redact(error.text),
                (f" {redact(error.fix)}", "$muted"),
            )
            for error in self.errors[:4]
        ]
        more = [f"  and {len(self.errors) - 4} more"] if len(self.errors) > 4 else []
        return joined([(head, "bold $state-error"), *told, *more])

    def why_not(self, command: Command) -> str:
        if command.id == "save.save" and self.errors:
            return "It has errors; g goes to the first one."
        if command.id in ("save.go_to_error", "save.insist") and not self.errors:
            return "It has no errors."
        if command.id == "save.save_invalid" and not self.insisting:
            return "Press ! first, and read the errors."
        return super().why_not(command)

    def action_save(self) -> None:
        self.dismiss("save")

    def action_insist(self) -> None:
        self.insisting = True
        self.query_one("#errors", Static).update(self._said())
        self.tell_keys()

    def action_save_invalid(self) -> None:
        self.dismiss("save invalid")

    def action_go_to_error(self) -> None:
        self.dismiss("go to error")

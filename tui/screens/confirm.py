"""Asks before something is destroyed, naming it."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.commands import Command
from tui.screens.command_dialog import CommandDialog


class Confirm(CommandDialog[bool]):
    """Answers True only when the operator said so; closing, and Enter without a word typed, change nothing.

    `destroyed` names, a line each, what will be gone; `verb` is the word of the key that does it ("Remove"). With
    `typed` (a VM's name, a directory's) that text must be typed first: for what no undo brings back.
    """

    DEFAULT_CSS = """
    Confirm > #dialog { width: 76; max-width: 92%; border-title-color: $state-warning; }
    Confirm #destroyed { margin: 1 0; color: $foreground; }
    Confirm #asked { margin-top: 1; color: $muted; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        Command(
            "confirm.do", "Do it", "Does what the dialog names. Enter alone, the key pressed by accident, closes.",
            ("y",), danger=True,
        ),
        Command("confirm.enter", "Do it once the name is typed", "Takes what was typed, or closes.", ("enter",)),
        Command("confirm.refuse", "Leave all as it is", "Closes this; nothing is changed.", ("n",)),
    )  # fmt: skip

    def __init__(
        self, title: str, sentence: str, destroyed: Sequence[str], *, verb: str, command_line: str, typed: str = ""
    ) -> None:
        super().__init__(title, command_line)
        self._sentence, self._destroyed, self._verb, self._typed = sentence, destroyed, verb, typed

    def body(self) -> Iterable[Widget]:
        glyph = self.app.glyphs.warning
        lines = [
            Content.assemble(Content.styled(f"{glyph} ", "$state-error"), Content(name)) for name in self._destroyed
        ]
        yield Static(Content(self._sentence))
        yield Static(Content("\n").join(lines), id="destroyed")
        if self._typed:
            yield Static(
                Content.assemble(
                    "Type ", self._key(self._typed),
                    f" and press Enter: {self._verb.lower()}. Esc leaves all as it is."
                ), id="asked",
            )  # fmt: skip
            yield Input(id="typed")
        else:
            yield Static(
                Content.assemble(
                    self._key("y"), f" {self._verb}   ", self._key("n"), " or ", self._key("Enter"),
                    " leave all as it is",
                ), id="asked",
            )  # fmt: skip

    @staticmethod
    def _key(text: str) -> Content:
        return Content.styled(text, "bold $accent")

    def on_mount(self) -> None:
        super().on_mount()
        if self._typed:
            self.query_one(Input).focus()

    def why_not(self, command: Command) -> str:
        if command.id == "confirm.do" and self._typed:
            return f"Type {self._typed} and press Enter."
        return super().why_not(command)

    def action_do(self) -> None:
        self.dismiss(True)

    def action_refuse(self) -> None:
        self.dismiss(False)

    def action_enter(self) -> None:
        self.dismiss(False)

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        if not message.value:
            self.dismiss(False)
        elif message.value == self._typed:
            self.dismiss(True)
        else:
            self.app.notify(f"That is not {self._typed}. Nothing was done.", severity="warning", markup=False)
            message.input.clear()

"""A dialog that is a scrolling text, written for the width of the moment."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from tui.screens.command_dialog import CommandDialog

Result = TypeVar("Result")
_FRAME = 8
"""Columns of the box that are no text: border, padding, scroll bar."""


class TextDialog(CommandDialog[Result], Generic[Result]):
    """A subclass writes the text with `show`, from `fill`, which is called anew when the size changes."""

    DEFAULT_CSS = "TextDialog > #dialog { max-width: 112; }"

    def __init__(self, title: str, command_line: str = "") -> None:
        super().__init__(title, command_line)
        self.words = Text()
        self._text = Static("", markup=False)

    def body(self) -> Iterable[Widget]:
        yield self._text

    @property
    def room(self) -> int:
        """Columns that a line of the text may have."""
        return max(20, min(112, int(self.app.size.width * 0.92)) - _FRAME)

    def show(self, lines: Iterable[Text]) -> None:
        self.words = Text("\n").join(lines)
        self._text.update(self.words)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#dialog-body", VerticalScroll).focus()
        self.fill()

    def on_resize(self) -> None:
        if self.is_mounted:
            self.fill()

    def fill(self) -> None:
        """Writes the text."""

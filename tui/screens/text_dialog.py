"""A dialog that is a scrolling text, written for the width of the moment."""

import re
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

_FIRST_COLUMN = re.compile(r"\s*\S+(?: \S+)*\s{2,}")


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
        self.words = Text("\n").join(part for line in lines for part in self._folded(line))
        self._text.update(self.words)

    def _folded(self, line: Text) -> list[Text]:
        """In as many lines as it takes, the later ones under the second column of the first, or a little indented."""
        if line.cell_len <= self.room or "\n" in line.plain:
            return [line]
        column = _FIRST_COLUMN.match(line.plain)
        indent = len(line.plain) - len(line.plain.lstrip())
        hang = column.end() if column and column.end() <= self.room // 3 else indent + 2
        first, *rest = line.wrap(self.app.console, self.room)
        if not rest:
            return [first]
        below = line[len(first) :].wrap(self.app.console, self.room - hang)
        return [first, *(Text.assemble(" " * hang, _without_lead(part)) for part in below if part.plain.strip())]

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#dialog-body", VerticalScroll).focus()
        self.fill()

    def on_resize(self) -> None:
        if self.is_mounted:
            self.fill()

    def fill(self) -> None:
        """Writes the text."""


def _without_lead(part: Text) -> Text:
    return part[len(part.plain) - len(part.plain.lstrip()) :]

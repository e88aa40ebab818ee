"""What the inventory's dialogs have in common: a titled box over the main screen, a scrolling text, a line of keys."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

Result = TypeVar("Result")


class TextDialog(ModalScreen[Result], Generic[Result]):
    """`title_text` stands in the frame, `keys_text` below the text. The text scrolls with the usual keys."""

    DEFAULT_CSS = """
    TextDialog {
        align: center middle;
        & > Vertical {
            width: 92%; max-width: 110; height: auto; max-height: 94%;
            border: round $primary; background: $surface; padding: 0 1;
            border-title-style: bold; border-title-color: $primary;
        }
        & #dialog-scroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
        & #dialog-text { height: auto; width: 1fr; }
        & #dialog-keys { height: auto; margin-top: 1; color: $text-muted; }
    }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._box = Vertical()
        self._box.border_title = title
        self._text = Static("", id="dialog-text", markup=False)
        self._keys = Static("", id="dialog-keys", markup=False)
        self._scroll = VerticalScroll(self._text, id="dialog-scroll")

    def compose(self) -> ComposeResult:
        with self._box:
            yield self._scroll
            yield self._keys

    @property
    def room(self) -> int:
        """Columns that a line of the text may have."""
        return max(20, min(110, int(self.app.size.width * 0.92)) - 5)

    def show(self, lines: Iterable[Text], keys: str) -> None:
        self._text.update(Text("\n").join(lines))
        self._keys.update(keys)

    def on_mount(self) -> None:
        self._scroll.focus()
        self.fill()

    def on_resize(self) -> None:
        if self.is_mounted:
            self.fill()

    def fill(self) -> None:
        """Writes the text for the width of the moment."""

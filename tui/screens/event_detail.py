"""One event of a job's log with all its fields."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.clipboard import copy_sequence

if TYPE_CHECKING:
    from textual.app import App


class EventDetail(ModalScreen[None]):
    """Names and values, as `tui.models.event_text.details` gives them."""

    DEFAULT_CSS = """
    EventDetail { align: center middle; }
    EventDetail > VerticalScroll {
        width: 90%; max-width: 110; height: auto; max-height: 90%;
        border: round $accent; background: $surface; padding: 0 1;
    }
    EventDetail Static { width: 1fr; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "leave", "Close"),
        Binding("y", "copy", "Copy"),
    ]

    if TYPE_CHECKING:

        @property
        def app(self) -> App[None]: ...

    def __init__(self, title: str, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._fields = title, list(fields)

    def compose(self) -> ComposeResult:
        width = min(30, max((len(name) for name, _ in self._fields), default=0))
        text = Text("\n").join(
            Text.assemble((f"{name:<{width}}  ", "dim"), value) for name, value in self._fields if value
        )
        with VerticalScroll() as box:
            box.border_title = self._title
            box.border_subtitle = "Esc closes, y copies"
            yield Static(text)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_leave(self) -> None:
        self.dismiss()

    def action_copy(self) -> None:
        lines = "\n".join(f"{name}: {value}" for name, value in self._fields)
        try:
            send(self.app, copy_sequence(lines))
        except ValueError as error:
            self.notify(f"Not copied: {error}.", severity="warning")
            return
        self.notify("Sent to the terminal's clipboard.")


def send(app: "App[None]", sequence: str) -> None:
    """Writes to the terminal beside what Textual draws: for sequences that draw nothing."""
    if app._driver is not None:
        app._driver.write(sequence)

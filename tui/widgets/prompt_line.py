"""One line at the bottom of a pane that asks for a word: a value, a search, a file."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Label

Answered = Callable[[str], bool | None]
Heard = Callable[[str], None]


class PromptLine(Horizontal):
    """Hidden until `ask`. Enter hands the answer on and hides it, unless the answer was refused; Esc hands on nothing.
    The focus goes back to where it was."""

    DEFAULT_CSS = """
    PromptLine { height: 1; display: none; background: $surface; }
    PromptLine.asking { display: block; }
    PromptLine > Label { width: auto; max-width: 75%; text-style: bold; padding: 0 1 0 0; }
    PromptLine > Input, PromptLine > Input:focus {
        width: 1fr; min-width: 8; height: 1; border: none; padding: 0; background: $panel;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._answered: Answered = lambda text: None
        self._changed: Heard | None = None
        self._left: Callable[[], None] | None = None
        self._before: Widget | None = None

    def compose(self) -> ComposeResult:
        yield Label("", markup=False)
        yield Input(compact=True, select_on_focus=False)

    @property
    def asking(self) -> bool:
        return self.has_class("asking")

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    def ask(
        self,
        question: str,
        answered: Answered,
        text: str = "",
        *,
        changed: Heard | None = None,
        left: Callable[[], None] | None = None,
    ) -> None:
        """Shows the question with `text` as the answer to start from. `answered` gets what is entered, and keeps the
        question standing when it returns False; `changed` hears each change meanwhile, `left` of Esc."""
        self._answered, self._changed, self._left = answered, changed, left
        if not self.asking:
            self._before = self.screen.focused
        self.query_one(Label).update(question)
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)
        self.add_class("asking")
        self.screen.set_focus(field)  # at once: `focus` comes after keys that are typed already

    def close(self) -> None:
        """Hides the question, unanswered."""
        if self.asking:
            self.remove_class("asking")
            if self._before is not None:
                self.screen.set_focus(self._before)

    def action_leave(self) -> None:
        self.close()
        if self._left is not None:
            self._left()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.asking and self._changed is not None:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._answered(event.value) is not False:
            self.close()

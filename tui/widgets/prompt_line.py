"""One line at the bottom of a pane that asks for a word: a search, a file, a yes."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label


class PromptLine(Horizontal):
    """Hidden until `ask`; hidden again after Enter, which hands the answer on, or Esc, which does not."""

    DEFAULT_CSS = """
    PromptLine { height: 1; display: none; background: $surface; }
    PromptLine.asking { display: block; }
    PromptLine > Label { width: auto; max-width: 75%; text-style: bold; padding: 0 1 0 0; }
    PromptLine > Input { width: 1fr; min-width: 8; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._answered: Callable[[str], None] = lambda text: None

    def compose(self) -> ComposeResult:
        yield Label("", markup=False)
        yield Input(compact=True, select_on_focus=False)

    @property
    def asking(self) -> bool:
        return self.has_class("asking")

    def ask(self, question: str, answered: Callable[[str], None], text: str = "") -> None:
        """Shows the question with `text` as the answer to start from; `answered` gets what is entered."""
        self._answered = answered
        self.query_one(Label).update(question)
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)
        self.add_class("asking")
        field.focus()

    def action_leave(self) -> None:
        self.remove_class("asking")
        if self.parent is not None and (pane := self.screen.query_one(f"#{self.parent.id}")).focusable:
            pane.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave()
        self._answered(event.value)

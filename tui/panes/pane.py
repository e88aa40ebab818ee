"""What the three panes have in common, and what the main screen may expect of each.

A pane fills its frame: title and tabs belong to the main screen (`widgets/pane_title.py`), which reads `pane_title` and
`note` of it.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.commands import Offers

if TYPE_CHECKING:
    from engine.config.options import Settings
    from tui.app import VcbApp
    from tui.feed import JobRow


class Pane(Offers, Widget):
    """One of the three panes.

    A subclass gives `pane_id` (the scope of its commands), `pane_title`, `purpose` (two or three sentences for the help
    screen: what the pane is for) and `commands`, with an `action_*` method for each. It composes or renders what it
    likes; a pane whose inner widget takes the focus overrides `focus_target` and sets `can_focus=False`.
    """

    pane_id: ClassVar[str]
    pane_title: ClassVar[str]
    purpose: ClassVar[str]

    DEFAULT_CSS = """
    Pane {
        height: 1fr;
        width: 1fr;
        background: $background;
        color: $foreground;
    }
    """

    note: reactive[str] = reactive("", layout=False, repaint=False)
    """A few words at the right of the title: "12 VMs, 2 marked", "config.js, not saved"."""
    summary: reactive[str] = reactive("", layout=False, repaint=False)
    """One line that matters while the pane is folded away: the running job with its progress. Empty for nothing."""

    class Changed(Message):
        """`note` or `summary` of the pane changed."""

        def __init__(self, pane: "Pane") -> None:
            super().__init__()
            self.pane = pane

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Pane.Changed) and message.pane is self.pane

    class StateChanged(Message):
        """Post it when something of `save_state` changed: the console writes it to disk after a moment."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Pane.StateChanged) and message._sender is self._sender

    if TYPE_CHECKING:

        @property
        def app(self) -> "VcbApp": ...

    def __init__(self) -> None:
        super().__init__(id=self.pane_id, classes="pane")

    def watch_note(self) -> None:
        self.post_message(self.Changed(self))

    def watch_summary(self) -> None:
        self.post_message(self.Changed(self))

    def focus_target(self) -> Widget:
        """The widget that takes the focus when the operator goes to this pane."""
        return self

    @property
    def typing(self) -> bool:
        """Whether letters are text just now, and no commands. Post `Changed` when it turns."""
        return False

    def settings_changed(self, before: "Settings") -> None:
        """`app.settings` is new: a configuration was saved, or another one opened. Called in every pane."""

    def show_jobs(self, jobs: tuple["JobRow", ...]) -> None:
        """The jobs of this proxy, newest first, whenever something of them has changed."""

    def save_state(self) -> dict[str, Any]:
        """What shall survive the console, in types that JSON has: filters, expanded nodes, position."""
        return {}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Called once, when the pane is mounted. `state` is what an earlier version may have saved, or another program
        damaged: take what makes sense, ignore the rest, never raise."""

"""A dialog with a list to choose from and, below it, what there is to say of the line at the cursor."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Static

from engine.config.options import Settings
from engine.errors import VcbError
from engine.jobs import supervisor
from engine.jobs.orders import Order
from engine.jobs.request import Act
from tui.screens.command_dialog import CommandDialog
from tui.widgets.choice_list import Choice, ChoiceList

_FRAME = 6
"""Columns of the box that are no list: border and padding."""


class ListDialog(CommandDialog[str]):
    """A subclass gives `load`, run in a thread so that a slow file system stops no key; then `lines` of what came and
    `about` the one at the cursor. Answers with the id of a job that was started from it."""

    DEFAULT_CSS = """
    ListDialog > #dialog { max-width: 112; }
    ListDialog #list-head, ListDialog #list-about { padding: 0 1; }
    ListDialog #list-about { margin-top: 1; min-height: 4; }
    """
    AUTO_FOCUS = "ChoiceList"
    empty: ClassVar[str] = "There is nothing."

    def __init__(self, title: str, command_line: str, settings: Settings) -> None:
        super().__init__(title, command_line)
        self.settings = settings
        self.found: Sequence[Any] | None = None
        """What is in the list; None until it was looked."""
        self.words = Text("Looking ...")

    def load(self) -> Sequence[Any]:
        """What is in the list. Raises VcbError."""
        return ()

    def lines(self) -> Iterable[Choice]:
        """A line for each of `found`, in its order."""
        return ()

    def head(self) -> str:
        """The titles of the columns."""
        return ""

    def about(self, current: Any) -> Iterable[Text]:
        """What there is to say of one of `found`."""
        return ()

    def command_for(self, current: Any) -> str:
        """What does the same from a shell, for the line at the cursor."""
        return self.command_line

    def body(self) -> Iterable[Widget]:
        yield Static("", id="list-head", markup=False)
        yield ChoiceList()
        yield Static(self.words, id="list-about", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(ChoiceList).styles.height = 3
        self.look()

    def look(self) -> None:
        """Reads everything (again)."""

        def work() -> None:
            try:
                found, trouble = self.load(), ""
            except VcbError as error:
                found, trouble = (), " ".join(part for part in (error.sentence, error.hint) if part)
            self.app.call_from_thread(self._show, found, trouble)

        self.run_worker(work, thread=True, exclusive=True, group="list-dialog")

    def _show(self, found: Sequence[Any], trouble: str) -> None:
        if not self.is_running:  # closed meanwhile
            return
        self.found = found
        listed = self.query_one(ChoiceList)
        listed.styles.height = max(3, min(len(found), self.app.size.height - 16))
        listed.display = self.query_one("#list-head").display = bool(found)
        if found:
            listed.focus()
        self._lay_out()
        self._tell(trouble or self.empty)

    def _lay_out(self) -> None:
        listed = self.query_one(ChoiceList)
        listed.show(tuple(self.lines()), listed.cursor)
        self.query_one("#list-head", Static).update(Text(self.head(), "bold", no_wrap=True))

    @property
    def room(self) -> int:
        """Columns of a line of the list."""
        return max(20, min(112, int(self.app.size.width * 0.92)) - _FRAME)

    def on_resize(self) -> None:
        super().on_resize()
        if self.found is not None:
            self._lay_out()

    @on(ChoiceList.Moved)
    def _moved(self) -> None:
        self._tell(self.empty)

    def _tell(self, nothing: str) -> None:
        current = self.current
        self.words = Text("\n").join(self.about(current)) if current is not None else Text(nothing)
        self.query_one("#list-about", Static).update(self.words)
        if current is not None:
            self.show_command(self.command_for(current))
        self.tell_keys()

    @property
    def current(self) -> Any:
        """The one at the cursor; None without any."""
        if not self.found:
            return None
        cursor = self.query_one(ChoiceList).cursor
        return self.found[cursor] if cursor < len(self.found) else None

    def start(self, act: Act, subject: str, *, name: str, order: Order | None = None) -> None:
        """Starts the job and leaves. Raises VcbError when no worker can be started."""
        job = supervisor.start(act, [subject], self.settings, names=[name], order=order)
        self.app.notify(f"Job {job.id} runs on its own; the job log shows it.", title="Started")
        self.dismiss(job.id)

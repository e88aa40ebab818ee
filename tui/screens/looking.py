"""A dialog that shows what a looking job found: the worker looks, for vCenter is not spoken to in the console."""

from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text

from engine.config.options import Settings
from engine.errors import VcbError
from engine.events import LogRecord, Result
from engine.jobs import supervisor
from engine.jobs.job import Job
from engine.jobs.orders import Order
from engine.jobs.request import Act
from tui.figures import clean
from tui.screens.text_dialog import TextDialog

_EVERY = 0.25


class LookingScreen(TextDialog[str]):
    """A subclass writes the `lines` of the result's summary."""

    act: ClassVar[Act]
    order: ClassVar[Order | None] = None

    def __init__(self, title: str, command_line: str, settings: Settings) -> None:
        super().__init__(title, command_line)
        self.settings = settings
        self.summary: dict[str, Any] | None = None
        self._trouble = ""
        self._step = ""
        self._job: Job | None = None

    def on_mount(self) -> None:
        super().on_mount()
        try:
            self._job = supervisor.start(self.act, [self.act.value], self.settings, order=self.order)
        except VcbError as error:
            self._trouble = error.sentence
            self.fill()
            return
        self._reader = self._job.reader(trace=False)
        self._timer = self.set_interval(_EVERY, self._follow)

    def _follow(self) -> None:
        job = self._job
        if job is None:
            return
        alive = job.alive  # before reading: what is there after the death is everything
        for entry in self._reader.read() if alive else self._reader.drain():
            if isinstance(entry.event, Result):
                self.summary = entry.event.summary
            elif isinstance(entry.event, LogRecord):
                self._step = entry.event.text
        if self.summary is None and not alive:
            self._trouble = job.last_words or "The worker ended without a word."
        if self.summary is not None or not alive:
            self._timer.stop()
        self.fill()
        self.tell_keys()

    def fill(self) -> None:
        if self._trouble:
            self.show([Text(clean(self._trouble), "bold red")])
        elif self.summary is None:
            self.show([Text("Looking ..."), Text(clean(self._step), "dim")])
        else:
            self.show([*self._failure(self.summary), *self.lines(self.summary)])

    def _failure(self, summary: dict[str, Any]) -> Iterable[Text]:
        if error := summary.get("error"):
            yield Text(f"{self.app.glyphs.error} {clean(error['sentence'])}", "bold red")
            yield Text(clean(error.get("hint", "")))

    def lines(self, summary: dict[str, Any]) -> Iterable[Text]:
        """What was found."""
        return ()

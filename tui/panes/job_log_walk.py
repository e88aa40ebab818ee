"""What the pane "Job log" does with the log it shows: ways through it, what of it is shown, marks, copies."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from engine.loglevel import DEFAULT_LOGLEVEL, LogLevel
from tui.clipboard import MOST
from tui.feed import JobRow
from tui.models.event_text import details
from tui.models.job import JobPicture
from tui.models.journal_index import Filter, Glance, decoded
from tui.models.journal_pages import Line
from tui.models.log_row import Columns
from tui.models.log_window import LogWindow
from tui.panes.job_orders import JobOrders, lines_word
from tui.panes.pane import Pane
from tui.widgets.log_view import LogView
from tui.widgets.prompt_line import PromptLine


class LogWalk(Pane):
    """`row` is the job whose log is shown, `picture` what it does; None while there is no job."""

    def __init__(self) -> None:
        super().__init__()
        self.row: JobRow | None = None
        self.picture: JobPicture | None = None
        self._shown = Filter(level=int(DEFAULT_LOGLEVEL))
        self._columns = Columns()
        self._sought: Filter | None = None
        self._orders = JobOrders(self)

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    @property
    def window(self) -> LogWindow | None:
        return self.view.window

    @property
    def following(self) -> bool:
        return self.window is None or self.window.following

    def _lay_out(self, **columns: Any) -> None:
        changed = replace(self._columns, **columns)
        if changed != self._columns:
            self._columns = changed
            self.view.look(changed)

    def _do(self, act: Callable[[LogWindow], None]) -> None:
        if self.window is not None:
            act(self.window)
            self.view.work()

    def action_move(self, lines: int) -> None:
        self._do(lambda window: window.move(lines))

    def action_page(self, pages: int) -> None:
        self._do(lambda window: window.scroll(pages * max(1, window.height - 1)))

    def action_home(self) -> None:
        self._do(LogWindow.home)

    def action_follow(self) -> None:
        self._do(LogWindow.follow)

    def action_slide(self, columns: int) -> None:
        self.view.slide(columns)

    def action_level(self, level: int) -> None:
        self._filter(level=level)
        self.post_message(self.StateChanged())

    def _filter(self, **changes: Any) -> None:
        if self.window is not None:
            self._shown = replace(self.window.shown, **changes)
            self._do(lambda window: window.filter(self._shown))

    def action_time(self) -> None:
        self._lay_out(relative=not self._columns.relative)
        self.post_message(self.StateChanged())

    def action_wrap(self) -> None:
        self._lay_out(wrap=not self._columns.wrap)
        self.post_message(self.StateChanged())

    def action_fold(self) -> None:
        line = self._current()
        seen = Glance.at(line.data) if line else None
        if self.window is None or seen is None or not seen.stage:
            self.app.notify("This line belongs to no stage.", severity="warning")
            return
        self._filter(folds=self.window.shown.folds ^ {(seen.part, seen.stage)})

    def action_fold_all(self) -> None:
        folded = self.window is not None and self.window.shown.fold_all
        self._filter(folds=frozenset(), fold_all=not folded)

    def action_vm(self) -> None:
        parts = len(self.row.vms) if self.row else 0
        if parts < 2:
            self.app.notify("This job has one VM.")
            return
        part = (self._shown.part or 0) + 1
        self._filter(part=part if part <= parts else None)

    def action_disk(self) -> None:
        disks = ["", *(self.picture.disks if self.picture else [])]
        at = disks.index(self._shown.disk) if self._shown.disk in disks else 0
        if len(disks) == 1:
            self.app.notify("No disk has been read yet.")
        self._filter(disk=disks[(at + 1) % len(disks)])

    def action_search(self) -> None:
        text = self._sought.pattern.pattern if self._sought and self._sought.pattern else ""
        self.query_one(PromptLine).ask("Search (regular expression):", self._search, text)

    def _search(self, text: str) -> None:
        if not text:
            self._sought = None
            self.view.highlight(None)
            return
        try:
            pattern = re.compile(text, re.NOFLAG if any(char.isupper() for char in text) else re.IGNORECASE)
        except re.error as error:
            self.app.notify(f"This is no regular expression: {error}.", severity="error")
            return
        self._sought = Filter(pattern=pattern)
        self.view.highlight(pattern)
        self._find(backward=True)

    def _find(self, *, backward: bool) -> None:
        if self._sought is not None and self.window is not None:
            sought = replace(self._sought, level=self.window.shown.level)
            self._do(lambda window: window.find(sought, backward=backward))

    def action_next_match(self) -> None:
        self._find(backward=False)

    def action_previous_match(self) -> None:
        self._find(backward=True)

    def action_next_error(self) -> None:
        self._find_error(backward=False)

    def action_previous_error(self) -> None:
        self._find_error(backward=True)

    def _find_error(self, *, backward: bool) -> None:
        if self.window is not None and self.window.shown.level < LogLevel.ERROR:
            self._filter(level=int(LogLevel.ERROR))
        self._do(lambda window: window.find(Filter(level=int(LogLevel.ERROR), records_only=True), backward=backward))

    def action_leave(self) -> None:
        window = self.window
        if window is None:
            return
        if window.sought_to:
            window.stop()
        elif window.mark is not None:
            window.mark = None
        elif self._sought is not None:
            self._search("")
        else:
            self._filter(part=None, disk="", folds=frozenset(), fold_all=False)
        self.view.work()

    def action_detail(self) -> None:
        line = self._current()
        if line and (event := decoded(line)):
            from tui.screens.event_detail import EventDetail  # noqa: PLC0415 - a dialog is imported when it is wanted

            job = self.row.id if self.row else ""
            self.app.push_screen(EventDetail(f"Line {line.seq}", details(event), f"vcb log {job} --json"))

    def action_mark(self) -> None:
        if self.window is not None:
            self.window.freeze()
            self.window.mark = None if self.window.mark is not None else self.window.cursor
            self.view.work()

    def _current(self) -> Line | None:
        window = self.window
        return next((row for row in window.rows if row.seq == window.cursor), None) if window else None

    def action_copy(self) -> None:
        if self.window is None:
            return
        first, last = self.window.selection or (self.window.cursor, self.window.cursor)
        texts: list[str] = []
        length = 0
        for line in self.window.index.forward((first - 1, first - 1), self.window.shown):
            if line is None:
                continue
            if line.seq > last or length > MOST:
                break
            texts.append(self.view.row_of(line).plain_text)
            length += len(texts[-1].encode()) + 1
        self.app.notify(f"{lines_word(len(texts))}: {self.app.copy(chr(10).join(texts))}", markup=False)

    def action_save(self) -> None:
        if self.row is not None:
            what = "the marked lines" if self.window and self.window.selection else "what is shown"
            self.query_one(PromptLine).ask(f"Save {what} to:", self._save, str(Path.cwd() / f"{self.row.id}.log"))

    def _save(self, text: str) -> None:
        if self.window is None or not text.strip():
            return
        window, path = self.window, Path(text.strip()).expanduser()
        self._orders.save(path, window.index.directory, window.shown, self._columns, window.selection)

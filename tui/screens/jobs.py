"""The list of jobs: those that run and those that ran."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from tui.commands import Command
from tui.feed import JobRow
from tui.figures import clean, duration, fit, size
from tui.glyphs import Glyphs
from tui.models.marks import state_sign
from tui.screens.command_dialog import CommandDialog

if TYPE_CHECKING:
    from tui.panes.job_log import JobLogPane

_LOOKS = {
    "success": "ok", "completed with exceptions": "warn", "failure": "bad", "dead": "bad", "cancelled": "warn",
    "running": "now", "starting": "now", "cancelling": "now",
}  # fmt: skip
_HEADS = "State", "Started", "Took", "Act", "VM", "Read", "Left behind"


class JobTable(Widget, can_focus=False):
    """Rows of jobs with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--ok", "table--bad", "table--warn", "table--now", "table--head", "table--cursor",
    }  # fmt: skip
    DEFAULT_CSS = """
    JobTable { height: 1fr; width: 1fr; }
    JobTable > .table--ok { color: $state-ok; }
    JobTable > .table--bad { color: $state-error; text-style: bold; }
    JobTable > .table--warn { color: $state-warning; }
    JobTable > .table--now { color: $state-running; text-style: bold; }
    JobTable > .table--head { color: $muted; text-style: bold; }
    JobTable > .table--cursor { background: $cursor; color: $cursor-text; text-style: $cursor-style; }
    """

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._all: tuple[JobRow, ...] = ()
        self._words = ""
        self.rows: list[JobRow] = []
        self.cursor = 0
        self._top = 0

    @property
    def current(self) -> JobRow | None:
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show(self, jobs: tuple[JobRow, ...]) -> None:
        """Other rows; the cursor stays at its job."""
        self._all = jobs
        self._select()

    def filter(self, words: str) -> None:
        """Only jobs in whose row all of these words occur."""
        self._words = words
        self._select()

    def move(self, rows: int) -> None:
        self.cursor = max(0, min(self.cursor + rows, len(self.rows) - 1))
        room = max(1, self.size.height - 1)
        self._top = max(min(self._top, self.cursor), self.cursor - room + 1)
        self.refresh()

    def _select(self) -> None:
        current = self.current.id if self.current else ""
        wanted = self._words.lower().split()
        self.rows = [job for job in self._all if all(word in _searched(job) for word in wanted)]
        self.cursor = next((at for at, job in enumerate(self.rows) if job.id == current), 0)
        self.move(0)

    def render_line(self, y: int) -> Strip:
        width, at = self.size.width, self._top + y - 1
        if y == 0:
            strip = Strip([Segment("  " + self._laid_out(_HEADS), self._style("head"))])
        elif at < len(self.rows):
            strip = self._row(self.rows[at], at == self.cursor)
        else:
            strip = Strip([Segment("  No jobs." if not self.rows and y == 1 else "")])
        return strip.crop(0, width).extend_cell_length(width).apply_style(self.rich_style)

    def _row(self, job: JobRow, here: bool) -> Strip:
        began = datetime.fromtimestamp(job.started)
        took = duration(max(0.0, (job.ended or time.time()) - job.started)) if job.ended or job.running else ""
        share = f" {job.read / job.to_read:.0%}" if job.running and job.to_read else ""
        left = f"{len(job.leftovers)} to look at" if job.leftovers else ""
        state = f"{state_sign(job.state, self._glyphs)} {job.state}"
        vms = f"{job.vms[0]}{f' +{len(job.vms) - 1}' if len(job.vms) > 1 else ''}" if job.vms else ""
        cells = state, f"{began:%m-%d %H:%M:%S}", took, job.act, clean(vms), size(job.read) + share, left
        text = self._laid_out(cells)
        mark = self._glyphs.focus if here else " "
        ground = self.get_component_rich_style("table--cursor") if here else Style()
        cut = self._widths[0]
        segments = [
            Segment(f"{mark} "),
            Segment(text[:cut], self._style(_LOOKS.get(job.state, "ok"))),
            Segment(text[cut:]),
        ]
        return Strip(segments).crop(0, self.size.width).extend_cell_length(self.size.width).apply_style(ground)

    @property
    def _widths(self) -> tuple[int, ...]:
        """Of the columns; on a narrow terminal states are cut short, their sign stays, and what was read is left out
        for what was left behind."""
        return (25, 14, 11, 8, 18, 13, 13) if self.size.width >= 100 else (13, 11, 9, 8, 13, 0, 12)

    def _laid_out(self, cells: tuple[str, ...]) -> str:
        return " ".join(fit(cell, width) for cell, width in zip(cells, self._widths, strict=True) if width)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}", partial=True)


class JobsScreen(CommandDialog[None]):
    """Shows the jobs that `pane` knows, and tells it which one to show."""

    AUTO_FOCUS = ""
    commands: ClassVar[tuple[Command, ...]] = (
        Command("jobs.show", "Show this job", "Shows the log of the job at the cursor.", ("enter",), footer="Show"),
        Command(
            "jobs.cancel", "Cancel this job", "Asks, and cancels the job at the cursor.", ("c",), footer="Cancel",
            danger=True,
        ),
        Command("jobs.filter", "Filter", "Shows only jobs with these words in their row.", ("slash",), footer="Filter"),
        Command("dialog.close", "Back", "Leaves the list, or its filter.", ("escape", "q"), footer="Back"),
        Command("jobs.up", "Up", "One job up.", ("up", "k"), method="move", argument=-1, hidden=True),
        Command("jobs.down", "Down", "One job down.", ("down", "j"), method="move", argument=1, hidden=True),
        Command("jobs.page_up", "Page up", "A page up.", ("pageup",), method="move", argument=-10, hidden=True),
        Command("jobs.page_down", "Page down", "A page down.", ("pagedown",), method="move", argument=10, hidden=True),
        Command("jobs.first", "First", "To the newest job.", ("home", "g"), method="move", argument=-9999, hidden=True),
        Command("jobs.last", "Last", "To the oldest job.", ("end", "G"), method="move", argument=9999, hidden=True),
    )  # fmt: skip
    DEFAULT_CSS = """
    JobsScreen > #dialog { width: 96%; max-width: 130; height: 92%; }
    JobsScreen #dialog-body { height: 1fr; }
    JobsScreen Input { display: none; }
    JobsScreen Input.asking { display: block; }
    """

    def __init__(self, pane: "JobLogPane") -> None:
        super().__init__("Jobs", "vcb jobs --all")
        self._pane = pane
        self._seen: tuple[JobRow, ...] = ()

    def body(self) -> Iterable[Widget]:
        yield JobTable(self.app.glyphs)
        yield Input(placeholder="state, VM, act or id", compact=True)

    @property
    def table(self) -> JobTable:
        return self.query_one(JobTable)

    def on_mount(self) -> None:
        super().on_mount()
        self._look()
        self.set_interval(0.5, self._look)

    def _look(self) -> None:
        if self._pane.jobs is not self._seen or any(job.running for job in self._seen):
            self._seen = self._pane.jobs
            self.table.show(self._seen)

    def why_not(self, command: Command) -> str:
        current = self.table.current
        if command.id in ("jobs.show", "jobs.cancel") and current is None:
            return "There is no job here."
        if command.id == "jobs.cancel" and current and not current.running:
            return f"Job {current.id} does not run any more: {current.state}."
        return super().why_not(command)

    def action_move(self, rows: int) -> None:
        self.table.move(rows)

    def action_show(self) -> None:
        if current := self.table.current:
            self._pane.show_job(current.id)
            self.dismiss()
            self._pane.focus()

    def action_cancel(self) -> None:
        if current := self.table.current:
            self.dismiss()
            self._pane.call_after_refresh(self._pane.ask_cancel, current)

    def action_filter(self) -> None:
        field = self.query_one(Input)
        field.add_class("asking")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.table.filter(event.value)

    def on_input_submitted(self) -> None:
        self._leave_filter()

    def _leave_filter(self) -> None:
        field = self.query_one(Input)
        if not field.value:
            field.remove_class("asking")
        self.set_focus(None)

    def action_close(self) -> None:
        field = self.query_one(Input)
        if field.has_class("asking"):
            field.value = ""
            self._leave_filter()
        else:
            self.dismiss()


def _searched(job: JobRow) -> str:
    return " ".join((job.id, job.state, job.act, *job.vms, *job.subjects, job.sentence)).lower()

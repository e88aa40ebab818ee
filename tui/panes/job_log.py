"""The pane "Job log"."""

from typing import Any, ClassVar

from msgspec.structs import replace
from textual import events
from textual.app import ComposeResult
from textual.message import Message

from engine.jobs.job import Job
from engine.loglevel import DEFAULT_LOGLEVEL, LogLevel
from engine.state_directory import StateDirectory
from tui.commands import Command
from tui.feed import JobFeed, JobRow
from tui.models.job import JobPicture
from tui.models.journal_index import JournalIndex
from tui.models.log_window import LogWindow
from tui.panes.job_log_commands import COMMANDS
from tui.panes.job_log_note import note
from tui.panes.job_log_walk import LogWalk
from tui.widgets.log_view import LogView
from tui.widgets.prompt_line import PromptLine
from tui.widgets.timeline import Timeline

_LOW = 12
"""Rows of the pane below which the timeline takes two lines at most."""
_OF_RUNNING = frozenset({"loudness", "cancel"})
_OF_A_JOB = frozenset({"jobs", "older_job", "newer_job"})


class JobLogPane(LogWalk, can_focus=True):
    pane_id = "job_log"
    pane_title = "Job log"
    purpose = (
        "What the running and the past jobs say, and how far they are: the stages and disks of the job above, its log "
        "below. Jobs run on their own: leaving the console does not end them."
    )
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    DEFAULT_CSS = "JobLogPane { layout: vertical; }"

    class JobsChanged(Message):
        """The list of jobs, or what one of them does, has changed: `jobs`, newest first."""

        def __init__(self, jobs: tuple[JobRow, ...]) -> None:
            super().__init__()
            self.jobs = jobs

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, JobLogPane.JobsChanged)

    class _Fed(Message):
        """The feed has something to take."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: tuple[JobRow, ...] = ()
        self._before = int(DEFAULT_LOGLEVEL)
        self._directory = StateDirectory.default().jobs
        self._feed = JobFeed(self._directory, self._on_news)

    def compose(self) -> ComposeResult:
        self._columns = replace(self._columns, glyphs=self.app.glyphs)
        yield Timeline(self.app.glyphs)
        yield LogView(self._columns)
        yield PromptLine()

    def on_mount(self) -> None:
        self._feed.start()

    def on_unmount(self) -> None:
        self._feed.stop()

    # What the feed brings

    def _on_news(self) -> None:
        self.post_message(self._Fed())

    def on_job_log_pane__fed(self) -> None:
        self.app.when_clear(self._take_news)

    def _take_news(self) -> None:
        if not (self.query(Timeline) and self.query(LogView)):
            return  # the screen is being taken down, its widgets one after the other
        update = self._feed.take()
        if update.jobs is not None:
            self._take_jobs(update.jobs)
        if self.row is None or update.watched != self.row.id:
            return
        if self.picture is not None and self.picture.apply(update.entries):
            self.query_one(Timeline).show(self.picture)
        if update.grown and self.window is not None and self.window.index.look():
            self.window.grow()
            self.view.work()
        self._tell()

    def _take_jobs(self, jobs: tuple[JobRow, ...]) -> None:
        before = {job.id for job in self.jobs}
        self.jobs = jobs
        self.post_message(self.JobsChanged(jobs))
        self.app.tell(running=sum(job.running for job in jobs))
        fresh = [job for job in jobs if job.running and job.id not in before]
        if self.row is None or (fresh and not self.row.running and self.following):
            if first := next((job for job in jobs if job.running), jobs[0] if jobs else None):
                self.show_job(first.id)
            return
        self.row = next((job for job in jobs if job.id == self.row.id), self.row)

    def show_job(self, job_id: str) -> None:
        """Shows the log of this job, from its end."""
        row = next((job for job in self.jobs if job.id == job_id), None)
        if row is None:
            return
        self.row, self.picture = row, JobPicture(row.vms)
        self._shown = replace(self._shown, part=None, disk="", folds=frozenset())
        self._lay_out(since=row.started, names=row.vms if len(row.vms) > 1 else ())
        self._feed.watch(job_id)
        index = JournalIndex(self._directory / job_id)
        index.look()
        window = LogWindow(index, self._shown)
        window.follow()
        self.view.open(window)
        self.query_one(Timeline).show(None)
        self._tell()

    def on_log_view_moved(self) -> None:
        self._tell()

    def _tell(self) -> None:
        """The title's words, and those for when the pane is folded away."""
        row, window = self.row, self.window
        if row is None or window is None:
            self.note = "no jobs yet"
            return
        self.note = note(row, window, self.app.glyphs)
        self.summary = ", ".join(self.picture.words()) if self.picture and row.running else ""

    def on_resize(self, event: events.Resize) -> None:
        timeline = self.query_one(Timeline)
        timeline.compact = event.size.height < _LOW
        timeline.show(self.picture)
        self._lay_out(width=event.size.width)

    # Acts

    def why_not(self, command: Command) -> str:
        name = command.id.partition(".")[2]
        if self.row is None and name not in _OF_A_JOB:
            return "There is no job yet."
        if name in _OF_RUNNING and self.row and not self.row.running:
            return f"Job {self.row.id} does not run any more: {self.row.state}."
        if name in ("next_match", "previous_match") and self._sought is None:
            return "Nothing has been searched for: / asks for it."
        return ""

    def action_jobs(self) -> None:
        from tui.screens.jobs import JobsScreen  # noqa: PLC0415

        self.app.push_screen(JobsScreen(self))

    def action_older_job(self) -> None:
        self._other_job(1)

    def action_newer_job(self) -> None:
        self._other_job(-1)

    def _other_job(self, step: int) -> None:
        known = [job.id for job in self.jobs]
        at = known.index(self.row.id) + step if self.row and self.row.id in known else 0
        if 0 <= at < len(known):
            self.show_job(known[at])
        else:
            self.app.notify("This is the oldest job." if step > 0 else "This is the newest job.")

    def action_loudness(self) -> None:
        row = self.row
        if row is None:
            return
        if row.loglevel < LogLevel.WIRE:
            self._before, level = row.loglevel, int(LogLevel.WIRE)
        else:
            level = min(self._before, int(LogLevel.API))
        self._orders.set_loglevel(Job(self._directory / row.id), level)
        self._filter(level=level)

    def action_cancel(self) -> None:
        if self.row is not None:
            self.ask_cancel(self.row)

    def ask_cancel(self, row: JobRow) -> None:
        """Asks whether this job is to be cancelled, and does it."""
        from tui.screens.confirm import Confirm  # noqa: PLC0415 - a dialog is imported when it is wanted

        question = Confirm(
            "Cancel a job",
            f"Job {row.id} runs. Cancelled, it undoes what it did:",
            [f"the {row.act} of {vm}" for vm in row.vms],
            verb="Cancel the job",
            command_line=f"vcb cancel {row.id}",
        )
        self.app.push_screen(question, lambda sure: self._cancel(row) if sure else None)

    def _cancel(self, row: JobRow) -> None:
        self._orders.cancel(Job(self._directory / row.id))

    # What survives the console

    def save_state(self) -> dict[str, Any]:
        return {"level": self._shown.level, "relative": self._columns.relative, "wrap": self._columns.wrap}

    def restore_state(self, state: dict[str, Any]) -> None:
        level = state.get("level")
        if isinstance(level, int) and level in list(LogLevel):
            self._shown = replace(self._shown, level=int(level))
            self._filter(level=int(level))
        self._lay_out(relative=state.get("relative") is True, wrap=state.get("wrap") is True)

"""What the console tells a running job, and what it writes: sockets and files in a thread, so that no key waits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.widget import Widget

from engine.errors import VcbError
from engine.jobs.job import Job
from tui.models.journal_index import Filter
from tui.models.log_file import save_lines
from tui.models.log_row import Columns


class JobOrders:
    """The orders that `pane` gives; the operator is told what became of each, in words."""

    def __init__(self, pane: Widget) -> None:
        self._pane = pane

    def set_loglevel(self, job: Job, level: int) -> None:
        self._do(lambda: job.set_loglevel(level), f"The job records LOGLEVEL {level} from here on.")

    def cancel(self, job: Job) -> None:
        self._do(job.cancel, f"Job {job.id} undoes what it did, and ends.")

    def save(
        self, path: Path, directory: Path, shown: Filter, columns: Columns, bounds: tuple[int, int] | None
    ) -> None:
        """See `save_lines`."""

        def save() -> str:
            count = save_lines(path, directory, shown, columns, bounds)
            return f"{lines_word(count)} saved to {path}."

        self._do(save)

    def _do(self, work: Callable[[], str | None], said: str = "") -> None:
        def guarded() -> None:
            try:
                self._say(work() or said)
            except VcbError as error:
                self._say(" ".join(part for part in (error.sentence, error.hint) if part), severity="error")

        self._pane.run_worker(guarded, thread=True, group="job-orders", exit_on_error=False)

    def _say(self, text: str, **how: Any) -> None:
        self._pane.app.call_from_thread(self._pane.notify, text, markup=False, **how)


def lines_word(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"

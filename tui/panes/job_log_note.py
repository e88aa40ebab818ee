"""The words in the title of the pane "Job log": which job, what is shown of it, and where in it."""

from collections.abc import Iterator

from tui.feed import JobRow
from tui.figures import clean
from tui.glyphs import Glyphs
from tui.models.log_window import LogWindow
from tui.models.marks import state_sign


def note(row: JobRow, window: LogWindow, glyphs: Glyphs) -> str:
    several = f" +{len(row.vms) - 1}" if len(row.vms) > 1 else ""
    job = f"{state_sign(row.state, glyphs)} {clean(row.vms[0]) if row.vms else row.id}{several} {row.state}"
    marked = "marking, " if window.selection else ""
    between = f" {glyphs.separator} "
    return between.join((job, ", ".join(_shown(row, window)), marked + _place(row, window)))


def _shown(row: JobRow, window: LogWindow) -> Iterator[str]:
    shown = window.shown
    recorded = f" (records {row.loglevel})" if row.loglevel != shown.level else ""
    yield f"level {shown.level}{recorded}"
    if shown.part:
        yield clean(row.vms[shown.part - 1])
    if shown.disk:
        yield clean(shown.disk)
    if shown.fold_all or shown.folds:
        yield "folded"


def _place(row: JobRow, window: LogWindow) -> str:
    if window.sought_to:
        return f"searching, Esc stops: line {window.sought_to}"
    if window.not_found:
        return "no match that way"
    if window.following:
        return "following" if row.running else "at the end"
    return f"still, {window.behind} new: f follows" if window.behind else "still: f follows"

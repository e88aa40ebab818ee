"""One line of a job's log in columns: time, sign of its level, scope, words."""

import time

import msgspec

from engine.events import Result, StageEnded
from tui.figures import clean, fit
from tui.glyphs import UNICODE, Glyphs
from tui.models.event_text import words
from tui.models.journal_index import Glance, decoded
from tui.models.journal_pages import Line
from tui.models.marks import level_sign, state_sign

_NARROW = 100
"""Columns of the terminal below which the scope is cut short."""


class Columns(msgspec.Struct, frozen=True):
    """How lines are laid out. `since` is the time that relative times count from; `names` are the VMs of a job of
    several, by part."""

    width: int = 80
    relative: bool = False
    since: float = 0.0
    wrap: bool = False
    names: tuple[str, ...] = ()
    glyphs: Glyphs = UNICODE

    @property
    def scope(self) -> int:
        return 9 if self.width < _NARROW else 19

    @property
    def vm(self) -> int:
        return 0 if not self.names else (10 if self.width < _NARROW else 16)

    def clock(self, at: float) -> str:
        if not self.relative:
            return time.strftime("%H:%M:%S", time.localtime(at))
        minutes, seconds = divmod(max(0.0, at - self.since), 60)
        if minutes < 100:
            return f"+{int(minutes):02d}:{seconds:04.1f}"
        return f"+{int(minutes // 60):d}:{int(minutes % 60):02d}:{int(seconds):02d}"


class Row(msgspec.Struct, frozen=True):
    """The columns, each with the space behind it. `fine` tells of a success, whatever the level."""

    level: int
    time: str
    mark: str
    scope: str
    text: str
    fine: bool = False

    @classmethod
    def of(cls, line: Line, columns: Columns) -> "Row":
        event, seen = decoded(line), Glance.at(line.data)
        if event is None or seen is None:
            return cls(1, " " * 9, "? ", " " * (columns.scope + 1), clean(line.data.decode(errors="replace")[:4096]))
        outcome = event.outcome if isinstance(event, StageEnded) else getattr(event, "state", "")
        mark = state_sign(outcome, columns.glyphs) if outcome else level_sign(seen.level, columns.glyphs)
        level = _level(event, seen.level)
        vm = ""
        if columns.names:
            name = event.vm or (columns.names[seen.part - 1] if 0 < seen.part <= len(columns.names) else "")
            vm = fit(clean(name), columns.vm) + " "
        return cls(
            level,
            columns.clock(event.at) + " ",
            mark + " ",
            f"{vm}{fit(clean(event.disk or event.stage), columns.scope)} ",
            words(event),
            fine=outcome in ("ok", "success"),
        )

    @property
    def plain_text(self) -> str:
        """As it is copied and saved."""
        return f"{self.time}{self.mark}{self.scope}{self.text}"


def _level(event: object, level: int) -> int:
    """The look of a line: results are shown at every level, and only those of failures look like one."""
    if isinstance(event, Result) and event.state == "failure":
        return 1
    if isinstance(event, StageEnded) and event.outcome == "failed":
        return 1
    return 3 if level == 0 and hasattr(event, "state") else level

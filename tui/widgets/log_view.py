"""The lines of a job's log, drawn line by line: only what is on the screen is decoded, whatever the log's length."""

import re
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.compat import SureTimers
from tui.models.journal_pages import Line
from tui.models.log_row import Columns, Row
from tui.models.log_window import LogWindow
from tui.models.marks import LEVEL_NAMES

_SLICE = 0.008
_PAUSE = 0.004
"""Seconds of looking through the log, and between two of them for the keyboard."""
_WHEEL = 3
_KEPT = 1_000


class LogView(SureTimers, Widget, can_focus=False):
    """Shows a `LogWindow`. `columns` says how; change it by `look`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"log-view--{name}" for name in LEVEL_NAMES),
        "log-view--time", "log-view--scope", "log-view--match", "log-view--cursor", "log-view--marked",
        "log-view--ok", "log-view--bar",
    }  # fmt: skip
    DEFAULT_CSS = """
    LogView { height: 1fr; width: 1fr; background: $background; color: $foreground; }
    LogView > .log-view--fatal { color: $state-error; text-style: bold reverse; }
    LogView > .log-view--error { color: $state-error; text-style: bold; }
    LogView > .log-view--warning { color: $state-warning; }
    LogView > .log-view--stage { color: $foreground; }
    LogView > .log-view--step { color: $foreground; }
    LogView > .log-view--api { color: $muted; }
    LogView > .log-view--wire { color: $muted; text-style: $muted-style; }
    LogView > .log-view--time { color: $muted; }
    LogView > .log-view--scope { color: $state-note; }
    LogView > .log-view--ok { color: $state-ok; }
    LogView > .log-view--match { text-style: reverse underline; }
    LogView > .log-view--cursor { background: $panel; }
    LogView > .log-view--marked { background: $panel; text-style: bold; }
    LogView > .log-view--bar { color: $rule; }
    """

    class Moved(Message):
        """What the view shows has changed: its place, whether it follows, how much is below it."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.Moved)

    if TYPE_CHECKING:
        size: Size

    def __init__(self, columns: Columns) -> None:
        super().__init__(id="log")
        self.window: LogWindow | None = None
        self.columns = columns
        self.pattern: re.Pattern[str] | None = None
        self.left = 0
        """Columns of text that are scrolled out at the left."""
        self._rows: dict[int, Row] = {}
        self._strips: list[Strip] | None = None
        self._working = False

    def open(self, window: LogWindow) -> None:
        """Another log from now on."""
        self.window, self._rows, self.left = window, {}, 0
        window.resize(max(1, self.size.height))
        self.work()

    def look(self, columns: Columns) -> None:
        """Other columns from now on."""
        self.columns, self._rows = columns, {}
        self._repaint()

    def highlight(self, pattern: re.Pattern[str] | None) -> None:
        self.pattern = pattern
        self._repaint()

    def slide(self, columns: int) -> None:
        """The text to the left or to the right, where lines are not wrapped."""
        self.left = max(0, self.left + columns)
        self._repaint()

    def work(self) -> None:
        """Does what the window has been asked to do, in slices, and shows how far that has come."""
        if not self._working:
            self._go_on()

    def _go_on(self) -> None:
        self._working = False
        if self.window is None or not self.is_attached:
            return
        if self.window.advance(_SLICE):
            self._working = True
            self.set_timer(_PAUSE, self._go_on)
        self._repaint()

    def _repaint(self) -> None:
        self._strips = None
        self.refresh()
        self.post_message(self.Moved())

    def on_resize(self, event: events.Resize) -> None:
        self._strips = None
        if self.window is not None:
            self.window.resize(max(1, event.size.height))
            self.work()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(-_WHEEL, event)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(_WHEEL, event)

    def _wheel(self, lines: int, event: events.MouseEvent) -> None:
        event.stop()
        if self.window is not None:
            self.window.scroll(lines)
            self.work()

    def on_click(self, event: events.Click) -> None:
        if self.window is not None and not self.columns.wrap:
            self.window.point(event.y)
            self._repaint()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = None

    # Painting

    def render_line(self, y: int) -> Strip:
        if self._strips is None:
            self._strips = self._painted()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _painted(self) -> list[Strip]:
        width, height = self.size.width - 1, self.size.height
        strips: list[Strip] = []
        at_cursor = 0
        lines = self.window.visible if self.window else []
        for line in lines:
            strips += self._line(line, width)
            if self.window and line.seq == self.window.cursor:
                at_cursor = len(strips)
        if len(strips) > height:  # wrapped lines: the end while following, else what holds the cursor
            last = len(strips) if self.window and self.window.following else max(height, at_cursor)
            strips = strips[last - height : last]
        strips += [Strip.blank(width, self.rich_style)] * (height - len(strips))
        return [Strip.join([strip, bar]) for strip, bar in zip(strips, self._bar(height), strict=True)]

    def row_of(self, line: Line) -> Row:
        """The columns of a line, as they are shown."""
        row = self._rows.get(line.seq)
        if row is None:
            if len(self._rows) >= _KEPT:
                self._rows.clear()
            row = self._rows[line.seq] = Row.of(line, self.columns)
        return row

    def _line(self, line: Line, width: int) -> list[Strip]:
        row = self.row_of(line)
        ground, gutter = self._ground(line.seq)
        style = self.get_component_rich_style
        head = [
            Segment(gutter, style(f"log-view--{LEVEL_NAMES[row.level]}", partial=True)),
            Segment(row.time, style("log-view--time", partial=True)),
            Segment(row.mark, style(f"log-view--{'ok' if row.fine else LEVEL_NAMES[row.level]}", partial=True)),
            Segment(row.scope, style("log-view--scope", partial=True)),
        ]
        start = sum(segment.cell_length for segment in head)
        room = max(1, width - start)
        text = Strip(self._text(row))
        if not self.columns.wrap:
            pieces = [text.crop(self.left, self.left + room)]
        else:
            pieces = [text.crop(at, at + room) for at in range(0, max(1, text.cell_length), room)]
        indent = [Segment(gutter), Segment(" " * (start - len(gutter)))]
        strips = [Strip([*(indent if number else head), *piece]) for number, piece in enumerate(pieces)]
        return [strip.extend_cell_length(width).crop(0, width).apply_style(ground) for strip in strips]

    def _ground(self, seq: int) -> tuple[Style, str]:
        """The background of a line and the sign at its left."""
        glyphs, window = self.columns.glyphs, self.window
        style = self.rich_style
        if window is None:
            return style, " "
        marked = window.selection
        if marked and marked[0] <= seq <= marked[1]:
            return style + self.get_component_rich_style("log-view--marked"), glyphs.upright
        if seq == window.cursor and not window.following:
            return style + self.get_component_rich_style("log-view--cursor"), glyphs.focus
        return style, " "

    def _text(self, row: Row) -> list[Segment]:
        style = self.get_component_rich_style(f"log-view--{LEVEL_NAMES[row.level]}", partial=True)
        if self.pattern is None:
            return [Segment(row.text, style)]
        found = style + self.get_component_rich_style("log-view--match", partial=True)
        segments, at = [], 0
        for match in self.pattern.finditer(row.text):
            if match.end() > match.start():
                segments += [Segment(row.text[at : match.start()], style), Segment(match[0], found)]
                at = match.end()
        return [*segments, Segment(row.text[at:], style)]

    def _bar(self, height: int) -> list[Strip]:
        """Where in the log the window is, by the numbers of its lines."""
        style = self.rich_style + self.get_component_rich_style("log-view--bar", partial=True)
        glyphs = self.columns.glyphs
        track, thumb = (Strip([Segment(sign, style)]) for sign in (glyphs.upright, glyphs.focus))
        blank = Strip([Segment(" ", self.rich_style)])
        lines = self.window.visible if self.window else []
        whole = max(self.window.index.newest()) if self.window else 0
        if not lines or whole <= len(lines):
            return [blank] * height
        long = max(1, min(height, round(height * (lines[-1].seq - lines[0].seq + 1) / whole)))
        first = round((height - long) * min(1.0, (lines[0].seq - 1) / max(1, whole - len(lines))))
        if self.window and self.window.following:
            first = height - long
        return [thumb if first <= y < first + long else track for y in range(height)]

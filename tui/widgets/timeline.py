"""Above the log: the stages of the job's foremost VM with their state and time, and its disks as bars."""

import time
from collections.abc import Iterator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tui.figures import clean, fit, size
from tui.glyphs import Glyphs
from tui.models.event_text import BOTTLENECKS
from tui.models.job import DiskPicture, JobPicture, PartPicture, StagePicture
from tui.models.marks import state_sign

_MOST_DISKS = 4
_BAR = 24
_LOOKS = {"ok": "ok", "failed": "bad", "cancelled": "warn", "": "now"}


class Timeline(Widget, can_focus=False):
    """Draws a `JobPicture`: one line of stages, and one for each disk that is being read (or one for all of them, in
    `compact`)."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "timeline--ok", "timeline--bad", "timeline--warn", "timeline--now", "timeline--rest", "timeline--bar",
        "timeline--track",
    }  # fmt: skip
    DEFAULT_CSS = """
    Timeline { height: 1; width: 1fr; background: $background; color: $foreground; }
    Timeline > .timeline--ok { color: $state-ok; }
    Timeline > .timeline--bad { color: $state-error; text-style: bold; }
    Timeline > .timeline--warn { color: $state-warning; }
    Timeline > .timeline--now { color: $state-running; text-style: bold; }
    Timeline > .timeline--rest { color: $muted; }
    Timeline > .timeline--bar { color: $state-running; }
    Timeline > .timeline--track { color: $rule; }
    """

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(id="timeline")
        self._glyphs = glyphs
        self._picture: JobPicture | None = None
        self.compact = False

    def show(self, picture: JobPicture | None) -> None:
        """Another picture, or one that has changed."""
        self._picture = picture
        wanted = len(self._lines())
        self.display = wanted > 0  # acts without stages, such as verify, leave the line to the log
        if wanted and (self.styles.height is None or self.styles.height.value != wanted):
            self.styles.height = wanted
        self.refresh()

    def render_line(self, y: int) -> Strip:
        lines, width = self._lines(), self.size.width
        strip = lines[y] if y < len(lines) else Strip([])
        return strip.crop(0, width).extend_cell_length(width).apply_style(self.rich_style)

    def _lines(self) -> list[Strip]:
        part = self._picture.foremost if self._picture else None
        if part is None:
            return []
        reading = part.reading
        shown = [] if self.compact and len(reading) > 1 else reading[:_MOST_DISKS]
        lines = [Strip(list(self._stages(part)))]
        lines += [Strip(list(self._disk(disk))) for disk in shown]
        if reading and (not shown or len(reading) > len(shown)):
            lines.append(Strip(list(self._together(part))))
        return lines

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"timeline--{name}", partial=True)

    def _stages(self, part: PartPicture) -> Iterator[Segment]:
        """As many of the latest stages as there is room for."""
        more = ""
        if self._picture and len(self._picture.parts) > 1:
            ended = sum(1 for one in self._picture.parts.values() if one.state)
            more = f"({ended} of {len(self._picture.parts)} VMs ended) "
        head = f" {clean(part.name)} {more}"
        now, room = time.time(), self.size.width - len(head) - 3
        pieces: list[tuple[str, str]] = []
        for stage in reversed(part.stages):
            piece = _stage(stage, now, self._glyphs), _LOOKS.get(stage.outcome, "rest")
            room -= len(piece[0]) + 2
            if room < 0:
                head += self._glyphs.more
                break
            pieces.insert(0, piece)
        yield Segment(head, self._style("now" if not part.state else "rest"))
        for text, look in pieces:
            yield Segment(f" {text} ", self._style(look))

    def _disk(self, disk: DiskPicture) -> Iterator[Segment]:
        done = f"{disk.share:>4.0%} of {size(disk.to_read)}" if disk.to_read else f"{size(disk.read)} read"
        left = (disk.to_read - disk.read) / disk.rate if disk.rate and disk.to_read else None
        yield Segment(f"   {fit(clean(disk.name), 9)} ")
        yield from self._bar(disk.share)
        yield from self._figures(done, disk.rate, left, disk.bottleneck)

    def _together(self, part: PartPicture) -> Iterator[Segment]:
        whole = sum(disk.to_read for disk in part.disks.values())
        yield Segment(f"   {fit(f'{len(part.reading)} disks', 9)} ")
        yield from self._bar(part.share)
        yield from self._figures(f"{part.share:>4.0%} of {size(whole)}", part.rate, part.seconds_left, part.bottleneck)

    def _bar(self, share: float) -> Iterator[Segment]:
        long = max(6, min(_BAR, self.size.width // 5))
        drawn = self._glyphs.bar(share, long)
        done = len(drawn.rstrip(self._glyphs.bar_empty))
        yield Segment(drawn[:done], self._style("bar"))
        yield Segment(drawn[done:], self._style("track"))

    def _figures(self, done: str, speed: float, left: float | None, bottleneck: str) -> Iterator[Segment]:
        yield Segment(f" {done:<16}")
        yield Segment(f" {size(int(speed)) + '/s' if speed else '':>11}", self._style("rest"))
        yield Segment(f" {_clock(left) + ' left' if left is not None else '':>11}", self._style("rest"))
        if bottleneck:
            yield Segment(f"  waits for {BOTTLENECKS.get(bottleneck, clean(bottleneck))}", self._style("warn"))


def _stage(stage: StagePicture, now: float, glyphs: Glyphs) -> str:
    took = stage.took(now)
    timed = f" {_clock(took)}" if took >= 1 or not stage.outcome else ""
    return f"{state_sign(stage.outcome or 'running', glyphs)} {clean(stage.name)}{timed}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

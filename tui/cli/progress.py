"""A running job on the screen: redrawn lines on a terminal, one plain line per event in a pipe."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.live import Live
from rich.text import Text

from engine.events import (
    DiskEnded,
    DiskProgress,
    DiskSkipped,
    DiskStarted,
    Event,
    LogRecord,
    PlanMade,
    Result,
    StageEnded,
    StageStarted,
)
from engine.loglevel import LogLevel
from tui.cli import render
from tui.cli.screen import Screen
from tui.figures import clean, duration, fit, levels_text, rate, size

_WORDS = ("fatal", "error", "warning", "", "step", "api", "wire")
_STYLES = ("bold red", "red", "yellow", "", "dim", "dim", "dim")
_OUTCOMES = {"ok": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("■", "magenta"), "skipped": ("-", "dim")}
_ASCII_OUTCOMES = {"ok": "ok", "failed": "FAILED", "cancelled": "stopped", "skipped": "skipped"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REDRAWS_A_SECOND = 4
_PIPE_STEP = 10
"""Percent between two progress lines of a disk in a pipe."""
_PIPE_SECONDS = 30.0


class JobView(Protocol):
    """Takes a job's events (from any thread) while it is open as a context manager. `level` may change meanwhile."""

    level: int

    def __enter__(self) -> "JobView": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def __call__(self, event: Event) -> None: ...
    def say(self, text: str) -> None:
        """A line that is no event: the answer to Ctrl-C."""
        ...


def view(screen: Screen, loglevel: int, *, several: bool = False) -> JobView:
    """The view that suits the stream: redrawn on a terminal, plain in a pipe and on a dumb terminal. `several` VMs at
    once are told apart by their names."""
    return LiveView(screen, loglevel, several=several) if screen.live else PlainView(screen, loglevel)


@dataclass
class DiskState:
    """One disk being read; `to_read` is 0 where nobody knows it beforehand (a stream)."""

    name: str
    transport: str
    capacity: int
    to_read: int
    began: float
    read: int = 0
    stored: int = 0
    told: int = 0
    told_at: float = 0.0

    @property
    def percent(self) -> int:
        return min(100, 100 * self.read // self.to_read) if self.to_read else 0

    def follow(self, event: DiskProgress) -> None:
        self.read, self.stored = event.read, event.stored
        self.to_read = event.to_read or self.to_read


class PlainView:
    """`date time vm: what` lines without control characters, for logs and pipes."""

    def __init__(self, screen: Screen, loglevel: int) -> None:
        self._screen = screen
        self.level = loglevel
        self._lock = threading.Lock()
        self._disks: dict[str, DiskState] = {}

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def say(self, text: str) -> None:
        with self._lock:
            self._screen.line(f"{_clock(time.time())} {text}")

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, PlanMade) and self.level >= LogLevel.STAGE:
                self._screen.show(render.plan(event.plan, self._screen.width, warnings=False))
                self._screen.line()
                return
            level, text = self._record(event)
            if text and level <= self.level:
                scope = ": ".join(part for part in (event.vm, event.disk) if part)
                self._screen.line(f"{_clock(event.at)} {scope + ': ' if scope else ''}{text}")

    def _record(self, event: Event) -> tuple[int, str]:
        """The level of an event and its words; no words where it says nothing new."""
        level, text = LogLevel.STAGE, ""
        match event:
            case LogRecord():
                level, text = event.level, log_text(event)
            case StageStarted():
                level, text = LogLevel.STEP, f"{event.stage}: started"
            case StageEnded():
                text = f"{event.stage}: {event.outcome}, {duration(event.seconds)}"
            case DiskStarted():
                text = self._started(event)
            case DiskProgress():
                text = self._progress(event)
            case DiskEnded():
                self._disks.pop(_key(event), None)
                text = ended_text(event)
            case DiskSkipped():
                level, text = LogLevel.WARNING, f"skipped, {event.code}: {event.reason}"
        return level, text

    def _started(self, event: DiskStarted) -> str:
        disk = DiskState(event.disk, event.transport, event.capacity, event.to_read, event.at, told_at=event.at)
        self._disks[_key(event)] = disk
        what = f"{size(event.to_read)} of {size(event.capacity)}" if event.to_read else size(event.capacity)
        return f"reading {what} by {event.transport}"

    def _progress(self, event: DiskProgress) -> str:
        disk = self._disks.get(_key(event))
        if disk is None:
            return ""
        disk.follow(event)
        due = disk.percent // _PIPE_STEP > disk.told // _PIPE_STEP and disk.percent < 100
        if not due and event.at - disk.told_at < _PIPE_SECONDS:
            return ""
        disk.told, disk.told_at = disk.percent, event.at
        part = f"{disk.percent}%, " if disk.to_read else ""
        speed = rate(disk.read, event.at - disk.began)
        stored = f", {size(disk.stored)} stored" if disk.stored else ""
        return f"{part}{size(disk.read)} read{stored}" + (f", {speed}" if speed else "")


@dataclass
class JobPicture:
    """What is going on now, as lines of at most `width` columns: a pure model behind the live view."""

    unicode: bool = True
    names: int = 9
    """Columns for the name of a disk."""
    stages: dict[str, float] = field(default_factory=dict)
    disks: dict[str, DiskState] = field(default_factory=dict)

    def lines(self, width: int, now: float) -> list[Text]:
        lines = []
        for stage, began in self.stages.items():
            turn = _SPINNER[int(now * _REDRAWS_A_SECOND) % len(_SPINNER)] if self.unicode else "*"
            lines.append(
                Text.assemble(
                    (f"  {turn} ", "cyan"), fit(clean(stage), self.names + 12), (duration(max(0.0, now - began)), "dim")
                )
            )
        return [*lines, *(self._disk(disk, width, now) for disk in self.disks.values())]

    def _disk(self, disk: DiskState, width: int, now: float) -> Text:
        speed = rate(disk.read, now - disk.began)
        if not disk.to_read:
            return Text(fit(f"    {fit(clean(disk.name), self.names)} {size(disk.read)} read  {speed}", width))
        figures = f" {disk.percent:>3}% of {size(disk.to_read):>8}"
        rest = f" {speed:>10} {_remaining(disk, now):>12}" if width >= 68 else ""
        bar = max(4, min(40, width - self.names - 6 - len(figures) - len(rest)))
        done = bar * disk.read // disk.to_read if disk.read < disk.to_read else bar
        full, empty = ("━", "─") if self.unicode else ("#", ".")
        return Text.assemble(
            f"    {fit(clean(disk.name), self.names)} ",
            (full * done, "green"),
            (empty * (bar - done), "bright_black"),
            figures,
            (rest, "dim"),
        )


class LiveView:
    """Ended stages, disks and log lines scroll by; what is running is redrawn below them."""

    def __init__(
        self, screen: Screen, loglevel: int, clock: Callable[[], float] = time.time, *, several: bool = False
    ) -> None:
        self._screen = screen
        self._several = several
        self.level = loglevel
        self._clock = clock
        self._lock = threading.Lock()
        unicode = "utf" in screen.console.encoding.lower()
        self._picture = JobPicture(unicode=unicode, names=30 if several else 9)
        self._live = Live(
            console=screen.console,
            get_renderable=self._frame,
            refresh_per_second=_REDRAWS_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._live.stop()
        except OSError:
            return

    def say(self, text: str) -> None:
        self._screen.line(text, "bold")

    def __call__(self, event: Event) -> None:
        """The picture's lock is not held while printing: rich takes its own and then asks for the picture."""
        with self._lock:
            lines = self._follow(event)
        if lines:
            self._screen.show(lines)
            self._live.refresh()

    def _follow(self, event: Event) -> list[Text]:
        """Brings the picture up to date; returns the lines that are to stay."""
        lines: list[Text] = []
        talks = self.level >= LogLevel.STAGE
        match event:
            case PlanMade() if talks:
                lines = [Text(), *render.plan(event.plan, self._screen.width, warnings=False), Text()]
            case LogRecord() if LogLevel.FATAL < event.level <= self.level:
                lines = [_log_line(event)]
            case StageStarted():
                self._picture.stages[self._label(event, event.stage)] = event.at
            case StageEnded():
                self._picture.stages.pop(self._label(event, event.stage), None)
                if talks or event.outcome == "failed":
                    lines = [self._stage_line(event)]
            case DiskStarted() | DiskProgress() | DiskEnded():
                lines = self._follow_disk(event) if talks else []
            case Result():
                self._forget(event)
        return lines

    def _follow_disk(self, event: DiskStarted | DiskProgress | DiskEnded) -> list[Text]:
        disks, name = self._picture.disks, self._label(event, event.disk)
        if isinstance(event, DiskStarted):
            disks[name] = DiskState(name, event.transport, event.capacity, event.to_read, event.at)
        elif isinstance(event, DiskProgress):
            if name in disks:
                disks[name].follow(event)
        else:
            disks.pop(name, None)
            return [Text.assemble(f"    {fit(clean(name), self._picture.names)} ", (ended_text(event), "dim"))]
        return []

    def _label(self, event: Event, name: str) -> str:
        return f"{event.vm} {name}" if self._several else name

    def _forget(self, event: Result) -> None:
        """What a failure left in the picture of one VM."""
        start = self._label(event, "") if self._several else ""
        for running in (self._picture.stages, self._picture.disks):
            for name in [name for name in running if name.startswith(start)]:
                del running[name]

    def _stage_line(self, event: StageEnded) -> Text:
        mark, style = _OUTCOMES.get(event.outcome, ("?", ""))
        mark = mark if self._picture.unicode else _ASCII_OUTCOMES.get(event.outcome, "?")
        name = fit(clean(self._label(event, event.stage)), self._picture.names + 12)
        return Text.assemble((f"  {mark} ", style), name, (duration(event.seconds), "dim"))

    def _frame(self) -> Text:
        with self._lock:
            lines = self._picture.lines(self._screen.width - 1, self._clock())
        return Text("\n").join(lines)


def _key(event: Event) -> str:
    return f"{event.vm} {event.disk}"


def log_text(event: LogRecord) -> str:
    """A log record in one line: level, words, raw fault, advice."""
    word = _WORDS[event.level] if 0 <= event.level < len(_WORDS) else ""
    fault = f" [{event.fault}]" if event.fault else ""
    hint = f" {event.hint}" if event.hint else ""
    return f"{word + ': ' if word else ''}{event.text}{fault}{hint}"


def ended_text(event: DiskEnded) -> str:
    speed = rate(event.read, event.seconds)
    stored = f"{size(event.stored)} stored" if event.stored else ""
    parts = [f"{size(event.read)} read", stored, duration(event.seconds), speed, levels_text(event.levels)]
    return ", ".join(part for part in parts if part)


def _log_line(event: LogRecord) -> Text:
    style = _STYLES[event.level] if 0 <= event.level < len(_STYLES) else ""
    scope = f"{event.disk}: " if event.disk else ""
    return Text(clean(f"    {scope}{log_text(event)}"), style)


def _remaining(disk: DiskState, now: float) -> str:
    """An estimate that only appears once there is something to estimate from."""
    passed = now - disk.began
    if passed < 2 or disk.read <= 0 or disk.read >= disk.to_read:
        return ""
    minutes, seconds = divmod(round(passed * (disk.to_read - disk.read) / disk.read), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))

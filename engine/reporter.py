"""How engine code speaks: levelled, scoped and redacted, into one sink."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from engine.errors import Cancelled, VcbError
from engine.events import Event, LogRecord, Stage, StageEnded, StageStarted
from engine.loglevel import DEFAULT_LOGLEVEL, LogLevel
from engine.secret import redact

Sink = Callable[[Event], None]


class Volume:
    """The LOGLEVEL of a running job, shared by all its reporters and changeable while it runs."""

    def __init__(self, level: int = DEFAULT_LOGLEVEL) -> None:
        self.level = level


@dataclass(frozen=True, slots=True)
class Reporter:
    """Emits events into `sink` with this reporter's scope; log records above the volume's level are dropped."""

    sink: Sink
    volume: Volume
    vm: str = ""
    disk: str = ""
    stage_name: str = ""

    def bind(self, **scope: str) -> "Reporter":
        """The same reporter with a narrower scope: `vm`, `disk`, `stage_name`."""
        return replace(self, **scope)

    def emit(self, event: Event) -> None:
        """Stamps time and scope, redacts every text, and hands the event to the sink."""
        scope = {"vm": self.vm, "disk": self.disk, "stage": self.stage_name}
        changes: dict[str, Any] = {field: own for field, own in scope.items() if own and not getattr(event, field)}
        changes["at"] = event.at or time.time()
        for field in event.__struct_fields__:
            value = getattr(event, field)
            if isinstance(value, str) and (clean := redact(value)) != value:
                changes[field] = clean
        self.sink(msgspec.structs.replace(event, **changes))

    def wants(self, level: LogLevel) -> bool:
        """Ask before building an expensive text (hex dumps, extent lists)."""
        return level <= self.volume.level

    def log(self, level: LogLevel, text: str, *, fault: str = "", hint: str = "") -> None:
        if level <= self.volume.level:
            self.emit(LogRecord(level=int(level), text=text, fault=fault, hint=hint))

    def error(self, error: VcbError, level: LogLevel = LogLevel.ERROR) -> None:
        self.log(level, error.sentence, fault=error.fault, hint=error.hint)

    def warning(self, text: str, *, fault: str = "", hint: str = "") -> None:
        self.log(LogLevel.WARNING, text, fault=fault, hint=hint)

    def step(self, text: str) -> None:
        self.log(LogLevel.STEP, text)

    def api(self, text: str) -> None:
        self.log(LogLevel.API, text)

    def wire(self, text: str) -> None:
        self.log(LogLevel.WIRE, text)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator["Reporter"]:
        """Wraps one stage in its two events; the outcome is told from how the block ends."""
        scoped = self.bind(stage_name=stage.value)
        scoped.emit(StageStarted())
        began, outcome = time.monotonic(), "failed"
        try:
            yield scoped
            outcome = "ok"
        except Cancelled:
            outcome = "cancelled"
            raise
        finally:
            scoped.emit(StageEnded(seconds=time.monotonic() - began, outcome=outcome))


def silent() -> Reporter:
    """A reporter that nobody listens to."""
    return Reporter(lambda event: None, Volume())

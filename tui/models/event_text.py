"""An event in one line of words, and in full as names and values. No control character leaves this module."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from engine.events import (
    AnyEvent,
    DiskEnded,
    DiskProgress,
    DiskSkipped,
    DiskStarted,
    Fallback,
    JobEnded,
    LogRecord,
    PlanMade,
    Result,
    Retry,
    StageEnded,
    StageStarted,
)
from tui.figures import clean, duration, levels_text, rate, size

BOTTLENECKS = {"source": "reading", "cpu": "compressing", "target": "writing"}
"""What the engine calls the part of the pipeline that the others wait for (engine.image.written), as a word."""
_LONGEST = 4096
"""Characters of a line that are shown; its detail has all of them."""


def words(event: AnyEvent) -> str:
    """What the event says, without time, level and scope: safe to print, one line, at most 4096 characters."""
    return clean(_words(event)[:_LONGEST])


def _words(event: AnyEvent) -> str:  # noqa: PLR0911, C901 - one line for each kind of event
    match event:
        case LogRecord():
            return " ".join(part for part in (event.text, event.fault and f"[{event.fault}]", event.hint) if part)
        case StageStarted():
            return f"{event.stage}: started"
        case StageEnded():
            return f"{event.stage}: {event.outcome}, {duration(event.seconds)}"
        case PlanMade():
            return _plan(event.plan)
        case DiskStarted():
            what = f"{size(event.to_read)} of {size(event.capacity)}" if event.to_read else size(event.capacity)
            return f"reading {what} by {event.transport}"
        case DiskProgress():
            slowest = f", waits for {BOTTLENECKS.get(event.bottleneck, event.bottleneck)}" if event.bottleneck else ""
            return f"{size(event.read)} of {size(event.to_read)} read, {size(event.stored)} stored{slowest}"
        case DiskEnded():
            parts = f"{size(event.read)} read", f"{size(event.stored)} stored", duration(event.seconds)
            shown = *parts, rate(event.read, event.seconds), levels_text(event.levels)
            return ", ".join(part for part in shown if part)
        case DiskSkipped():
            return f"skipped, {event.code}: {event.reason}"
        case Retry():
            return f"retry {event.attempt} of {event.of} in {duration(event.wait)}: {event.error}"
        case Fallback():
            return f"{event.used} instead of {event.asked}: {event.reason}"
        case Result():
            return f"{event.state}: {event.sentence}" if event.sentence else event.state
        case JobEnded():
            return f"the job ended: {event.state}"


def _plan(plan: dict[str, Any]) -> str:
    disks = [disk for disk in plan.get("disks", ()) if isinstance(disk, dict)]
    skipped = sum(1 for disk in disks if disk.get("skipped"))
    amount = sum(disk.get("to_read") or 0 for disk in disks)
    left_out = f", {skipped} of them skipped" if skipped else ""
    return f"plan: {len(disks)} disk{'' if len(disks) == 1 else 's'}{left_out}, {size(amount)} to read"


def details(event: AnyEvent) -> Iterator[tuple[str, str]]:
    """Every field of the event that is set, nested ones with dotted names."""
    yield "time", datetime.fromtimestamp(event.at).astimezone().isoformat(sep=" ", timespec="milliseconds")
    for name, value in msgspec.to_builtins(event).items():
        if name != "at":
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    elif isinstance(value, list | tuple) and value:
        for number, part in enumerate(value, 1):
            yield from _flat(f"{name}[{number}]", part)
    else:
        yield clean(name), clean("" if value is None else str(value))

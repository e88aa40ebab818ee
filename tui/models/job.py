"""What a job does, as a picture drawn from its journal: the stages of each VM, its disks with their rate, and the end.

Pure: times come from the events, or as `now` from whoever draws.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from engine.events import (
    DiskEnded,
    DiskProgress,
    DiskStarted,
    JobEnded,
    PlanMade,
    Result,
    StageEnded,
    StageStarted,
)
from engine.jobs.tail import Entry

_RATE_SECONDS = 10.0
"""How far back the rate looks: long enough to be read, short enough to tell a stall."""


class StagePicture(msgspec.Struct):
    """`outcome` is "" while it runs, then ok, failed, cancelled or skipped; `seconds` once it has ended."""

    name: str
    began: float
    outcome: str = ""
    seconds: float = 0.0

    def took(self, now: float) -> float:
        return self.seconds if self.outcome else max(0.0, now - self.began)


class DiskPicture(msgspec.Struct):
    """Bytes; `to_read` is 0 where nobody knows it beforehand. `bottleneck` is the engine's word for the busiest part
    of the pipeline, "" before anything was measured."""

    name: str
    capacity: int
    to_read: int
    began: float
    transport: str = ""
    read: int = 0
    stored: int = 0
    bottleneck: str = ""
    ended: bool = False
    seconds: float = 0.0
    samples: deque[tuple[float, int]] = msgspec.field(default_factory=deque)

    @property
    def share(self) -> float:
        """How much of it is read, 0 to 1."""
        if self.ended:
            return 1.0
        return min(1.0, self.read / self.to_read) if self.to_read else 0.0

    def sample(self, at: float, read: int) -> None:
        self.read = read
        self.samples.append((at, read))
        while len(self.samples) > 2 and at - self.samples[0][0] > _RATE_SECONDS:
            self.samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes a second: lately while it is read, over all once it has ended; 0 where the time says nothing."""
        if self.ended:
            return self.read / self.seconds if self.seconds > 0.05 else 0.0
        first, last = (self.samples[0], self.samples[-1]) if self.samples else ((0.0, 0), (0.0, 0))
        return (last[1] - first[1]) / (last[0] - first[0]) if last[0] - first[0] > 0.2 else 0.0


class PartPicture(msgspec.Struct):
    """One VM of the job."""

    name: str
    stages: list[StagePicture] = []
    disks: dict[str, DiskPicture] = {}
    state: str = ""
    sentence: str = ""

    @property
    def running(self) -> StagePicture | None:
        """The innermost stage that has begun and not ended."""
        return next((stage for stage in reversed(self.stages) if not stage.outcome), None)

    @property
    def reading(self) -> list[DiskPicture]:
        return [disk for disk in self.disks.values() if not disk.ended]

    @property
    def share(self) -> float:
        """How much of what its disks have to read is read, by bytes."""
        whole = sum(disk.to_read for disk in self.disks.values())
        return min(1.0, sum(disk.read for disk in self.disks.values()) / whole) if whole else 0.0

    @property
    def rate(self) -> float:
        return sum(disk.rate for disk in self.reading)

    @property
    def seconds_left(self) -> float | None:
        """Until the disks that are being read are through at this rate; None where there is nothing to tell it from."""
        reading = self.reading
        if not reading or not self.rate or any(not disk.to_read for disk in reading):
            return None
        return sum(disk.to_read - disk.read for disk in reading) / self.rate

    @property
    def bottleneck(self) -> str:
        """That of the disk with the most left to read."""
        named = [disk for disk in self.reading if disk.bottleneck]
        return max(named, key=lambda disk: disk.to_read - disk.read).bottleneck if named else ""


class JobPicture:
    """All parts of a job, by their numbers from 1, each called by its VM or what it was asked for as. `version` grows
    with every change that shows."""

    def __init__(self, names: Iterable[str]) -> None:
        self.parts = {number: PartPicture(name) for number, name in enumerate(names, 1)}
        self.ended = ""
        self.version = 0

    @property
    def disks(self) -> list[str]:
        """The names of all disks met so far."""
        return sorted({name for part in self.parts.values() for name in part.disks})

    @property
    def foremost(self) -> PartPicture | None:
        """The part to show where there is room for one: the first that runs, else the last that did anything."""
        active = [part for part in self.parts.values() if part.stages]
        return next((part for part in active if not part.state), active[-1] if active else None)

    def apply(self, entries: Iterable[Entry]) -> bool:
        """Brings the picture up to date; whether it changed."""
        before = self.version
        for entry in entries:
            if isinstance(entry.event, JobEnded):
                self.ended, self.version = entry.event.state, self.version + 1
            elif part := self.parts.get(entry.part):
                self.version += _follow(part, entry)
        return self.version != before

    def words(self) -> Iterator[str]:
        """One short sentence for each VM that runs."""
        for part in self.parts.values():
            if stage := part.running:
                yield f"{part.name}: {stage.name}" + (f" {part.share:.0%}" if part.reading else "")


def _follow(part: PartPicture, entry: Entry) -> bool:
    event = entry.event
    part.name = event.vm or part.name
    match event:
        case StageStarted():
            part.stages.append(StagePicture(event.stage, event.at))
        case StageEnded():
            for stage in reversed(part.stages):
                if stage.name == event.stage and not stage.outcome:
                    stage.outcome, stage.seconds = event.outcome, event.seconds
                    break
        case PlanMade():
            part.name = event.plan.get("vm") or part.name
        case Result():
            part.state, part.sentence = event.state, event.sentence
        case DiskStarted() | DiskProgress() | DiskEnded():
            _follow_disk(part, event)
        case _:
            return False
    return True


def _follow_disk(part: PartPicture, event: DiskStarted | DiskProgress | DiskEnded) -> None:
    disk = part.disks.get(event.disk)
    if isinstance(event, DiskStarted):
        part.disks[event.disk] = disk = DiskPicture(
            event.disk, event.capacity, event.to_read, event.at, transport=event.transport
        )
        disk.sample(event.at, 0)
    elif isinstance(event, DiskProgress):
        if disk is None:  # the proof of a point reads a disk without having started it
            part.disks[event.disk] = disk = DiskPicture(event.disk, event.to_read, event.to_read, event.at)
        disk.sample(event.at, event.read)
        disk.stored, disk.to_read = event.stored, event.to_read or disk.to_read
        disk.bottleneck = event.bottleneck or disk.bottleneck
    elif disk is not None:
        disk.read, disk.stored, disk.seconds, disk.ended = event.read, event.stored, event.seconds, True
        disk.bottleneck = event.bottleneck or disk.bottleneck

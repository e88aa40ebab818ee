"""What the engine says while it works: typed, JSON-able, free of secrets.

Events are the only channel between a job and whoever watches it. Each carries its scope (`vm`, `disk`, `stage`)
and `at` (seconds since the epoch). `decode` reads what `encode` wrote; unknown fields are ignored, so that an
older console can follow a newer worker.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from engine.errors import Cancelled, VcbError


class Stage(StrEnum):
    """The stages of one VM's backup, in the order of the flow; then those that only a restore or a drill has."""

    LOOKUP = "lookup"
    CHECKS = "checks"
    MOUNT_POINT = "mount point"
    SNAPSHOT = "snapshot"
    OPEN = "open disks"
    EXPORT = "export"
    VERIFY = "verify"
    MEDIA = "media"
    UNMOUNT = "unmount"
    REMOVE_SNAPSHOT = "remove snapshot"
    CONSOLIDATION = "consolidation check"
    PROVE_POINT = "prove the point"
    IMPORT_LEASE = "import lease"
    RESTORE = "restore"
    FILE_SYSTEMS = "check file systems"


class ResultState(StrEnum):
    """Three states of an ended job, and the operator's own stop."""

    SUCCESS = "success"
    EXCEPTIONS = "completed with exceptions"
    FAILURE = "failure"
    CANCELLED = "cancelled"

    @classmethod
    def of(cls, error: VcbError | None, exceptions: Sequence[str]) -> "ResultState":
        """The state of a job that ended with this error, if any, and these exceptions."""
        if isinstance(error, Cancelled):
            return cls.CANCELLED
        if error is not None:
            return cls.FAILURE
        return cls.EXCEPTIONS if exceptions else cls.SUCCESS

    @property
    def exit_code(self) -> int:
        return {"success": 0, "completed with exceptions": 3, "failure": 1, "cancelled": 130}[self.value]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """Base of all events."""

    at: float = 0.0
    vm: str = ""
    disk: str = ""
    stage: str = ""


class LogRecord(Event, frozen=True, kw_only=True, tag="log"):
    """One line of the job log; `fault` is the raw fault name, `hint` what to do next."""

    level: int
    text: str
    fault: str = ""
    hint: str = ""


class StageStarted(Event, frozen=True, kw_only=True, tag="stage-started"):
    pass


class StageEnded(Event, frozen=True, kw_only=True, tag="stage-ended"):
    """`outcome` is ok, failed, cancelled or skipped."""

    seconds: float
    outcome: str = "ok"


class PlanMade(Event, frozen=True, kw_only=True, tag="plan"):
    """The plan of the run, in its JSON form (engine.flow.plan)."""

    plan: dict[str, Any]


class DiskStarted(Event, frozen=True, kw_only=True, tag="disk-started"):
    """Bytes: `capacity` as the guest sees it, `to_read` what will be asked of the transport."""

    transport: str
    capacity: int
    to_read: int


class DiskProgress(Event, frozen=True, kw_only=True, tag="disk-progress"):
    """Bytes so far; `busy` is the share (0-1) of the wall time each part of the pipeline worked."""

    read: int
    to_read: int
    stored: int
    bottleneck: str = ""
    busy: dict[str, float] = {}


class DiskEnded(Event, frozen=True, kw_only=True, tag="disk-ended"):
    read: int
    stored: int
    seconds: float
    bottleneck: str = ""
    levels: dict[str, float] = {}
    """Level of compression -> share (0-1) of the bytes packed at it; empty where nothing was compressed by us."""


class DiskSkipped(Event, frozen=True, kw_only=True, tag="disk-skipped"):
    """`code` is a stable word (independent, physical-rdm, ...), `reason` the sentence for the operator."""

    code: str
    reason: str


class Retry(Event, frozen=True, kw_only=True, tag="retry"):
    attempt: int
    of: int
    wait: float
    error: str


class Fallback(Event, frozen=True, kw_only=True, tag="fallback"):
    asked: str
    used: str
    reason: str


class Result(Event, frozen=True, kw_only=True, tag="result"):
    """The last event of one VM's job; `summary` is the JSON form of engine.flow.outcome.Outcome."""

    state: str
    sentence: str
    summary: dict[str, Any] = {}


class JobEnded(Event, frozen=True, kw_only=True, tag="job-ended"):
    """The last line of a worker's journal: nothing more will come, from none of the job's parts."""

    state: str


AnyEvent = (
    LogRecord | StageStarted | StageEnded | PlanMade | DiskStarted | DiskProgress | DiskEnded | DiskSkipped
    | Retry | Fallback | Result | JobEnded
)  # fmt: skip

_decoder = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """One line of JSON, without the line end."""
    return msgspec.json.encode(event)


def decode(line: bytes | str) -> AnyEvent:
    """Raises `msgspec.DecodeError` for anything that is not one event."""
    return _decoder.decode(line)

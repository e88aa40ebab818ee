"""What happens to the worker's process: signals, limits, a clock that jumps."""

import signal
from collections.abc import Iterator

from engine.events import ResultState
from tests.faults.cells import KEPT, UNHARMED, Cell, Trouble
from tests.faults.os_seam import MUTATING
from tests.faults.recording import Recording, first_of_each
from tests.faults.scene import BEFORE

_SURVIVED = {
    "SIGCONT after SIGSTOP": {"kind": "signal", "signal": signal.SIGSTOP},
    "clock a day ahead": {"kind": "clock", "seconds": 86_400},
    "clock a day back": {"kind": "clock", "seconds": -86_400},
    "clock 20 years ahead": {"kind": "clock", "seconds": 20 * 365 * 86_400},
    "SIGHUP": {"kind": "signal", "signal": signal.SIGHUP},
}
_SPARE = (0, 1, 3)
"""So many threads or descriptors more, and then none."""
_LONGEST_FILE = 64 << 10
"""Bytes (ulimit -f): too little for a disk, and enough for the job's own journal, which could tell nothing else."""


def happenings(transport: str, recorded: Recording) -> Iterator[Cell]:
    for stage in recorded.stages:
        if stage == BEFORE:
            continue
        for row, happening in _SURVIVED.items():
            trouble = Trouble(process={**happening, "stage": stage}, expected=KEPT, may_stay=True)
            yield Cell(row, stage, transport, "", trouble)
        stopped = Trouble(
            process={"kind": "signal", "signal": signal.SIGTERM, "stage": stage},
            expected=frozenset({ResultState.CANCELLED}) | UNHARMED,
        )
        yield Cell("SIGTERM", stage, transport, "", stopped)
        for spare in _SPARE:
            for row, kind in (("process table full", "processes"), ("descriptors limited", "descriptors")):
                happening = {"kind": kind, "spare": spare, "stage": stage}
                yield Cell(row, stage, transport, f"{spare} left", Trouble(process=happening, may_stay=True))
        happening = {"kind": "file size", "most": _LONGEST_FILE, "stage": stage}
        yield Cell("file size limited", stage, transport, "", Trouble(process=happening, may_stay=True))


def kills(transport: str, recorded: Recording) -> Iterator[Cell]:
    """SIGKILL at the beginning of each stage, and before each kind of call in it that changes something."""
    kill = {"kind": "signal", "signal": signal.SIGKILL}
    for stage in recorded.stages:
        if stage != BEFORE:
            yield Cell("SIGKILL", stage, transport, "at its beginning", _killed({**kill, "stage": stage}))
    for met in first_of_each(recorded.calls):
        if met.name in MUTATING:
            happening = {**kill, "call": (met.phase, met.name, met.number)}
            yield Cell("SIGKILL", met.stage, transport, f"before {met.name} in {met.phase}", _killed(happening))


def _killed(happening: dict[str, object]) -> Trouble:
    return Trouble(process=happening, may_stay=True)

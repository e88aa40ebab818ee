"""One cell of the matrix: a row (what goes wrong), a column (the stage of the flow), and what to do about it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.events import ResultState
from engine.lab.faults import Rule
from tests.faults.recording import Recording
from tests.faults.scene import Scene

ANY = frozenset(ResultState)
NO_SUCCESS = ANY - {ResultState.SUCCESS}
UNHARMED = frozenset({ResultState.SUCCESS})
KEPT = frozenset({ResultState.SUCCESS, ResultState.EXCEPTIONS})
"""The point is made; what else went wrong is told."""

Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong. `rules` are the lab's; `prepare` is called before the job, `act` when `stage` begins, and `heal`
    when the job has ended, before what it left is cleaned. `patched` is a context around the job."""

    rules: tuple[Rule, ...] = ()
    prepare: Act | None = None
    act: Act | None = None
    heal: Act | None = None
    patched: Callable[[Scene], Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""
    """The raw name that must stand beside the operator's text, where the job does not survive it."""
    may_stay: bool = False
    """The fault keeps the job from its clean-up: then it must say so, and `vcb reconcile --yes` must do it."""
    expected: frozenset[ResultState] = ANY
    content_known: bool = True
    """False where the host itself sends wrong bytes by a protocol without checksums: nobody can tell."""
    process: Mapping[str, Any] | None = None
    """The job runs in a worker of its own, to which this happens (tests/faults/child.py)."""


@dataclass(frozen=True)
class Cell:
    row: str
    stage: str
    transport: str
    what: str
    trouble: Trouble

    @property
    def name(self) -> str:
        return f"{self.row} / {self.stage} / {self.transport} / {self.what}"


Family = Callable[[str, Recording], Iterator[Cell]]
"""The cells of a family of faults over one transport, from what a clean run over it was recorded to do."""

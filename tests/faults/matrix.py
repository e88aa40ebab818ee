"""All cells, and how one is run."""

import tempfile
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import VcbError
from engine.events import Stage
from tests.faults import (
    child,
    data_faults,
    machine_faults,
    power_loss,
    process_faults,
    scene as scenes,
    target_faults,
    vsphere_faults,
)
from tests.faults.cells import Cell, Family
from tests.faults.judge import judge_left, judge_outcome, judge_what_was
from tests.faults.recording import Recording
from tests.faults.scene import Scene

FAMILIES: tuple[Family, ...] = (
    vsphere_faults.task_faults,
    vsphere_faults.inner_faults,
    vsphere_faults.call_faults,
    vsphere_faults.connections,
    vsphere_faults.servers,
    data_faults.nfc,
    data_faults.http,
    data_faults.changed_areas,
    machine_faults.happenings,
    target_faults.file_systems,
    target_faults.descriptors,
    power_loss.outages,
    process_faults.happenings,
    process_faults.kills,
)


_LEASE_TIMEOUT = 2.0
"""Seconds: what ends a lease whose job died before it could write down which one it is."""


@dataclass
class Verdict:
    """Of one cell. `met` is False when the fault never struck, so that nothing is proven."""

    number: int
    name: str
    problems: list[str] = field(default_factory=list)
    state: str = ""
    said: str = ""
    met: bool = True
    seconds: float = 0.0


_OWN_STAGES = {"hotadd": frozenset({Stage.OPEN, Stage.EXPORT, Stage.REMOVE_SNAPSHOT})}
"""Where a transport does what no other does, if that is not everywhere: its other cells would only repeat theirs."""


def all_cells(recorded: dict[str, Recording]) -> list[Cell]:
    cells = [cell for family in FAMILIES for transport, one in recorded.items() for cell in family(transport, one)]
    return [cell for cell in cells if cell.stage in _OWN_STAGES.get(cell.transport, {cell.stage})]


def sample(cells: Sequence[Cell], share: int) -> list[int]:
    """The numbers of some cells, at least `share` if there are so many: of each row the middle one of another column
    each time, then evenly spread ones. The same at every call."""
    rows: dict[str, list[int]] = {}
    for number, cell in enumerate(cells):
        rows.setdefault(cell.row, []).append(number)
    chosen = {numbers[position * 7 % len(numbers)] for position, numbers in enumerate(rows.values())}
    seen = {cells[number].stage for number in chosen}
    for number, cell in enumerate(cells):
        if cell.stage not in seen:
            seen.add(cell.stage)
            chosen.add(number)
    step = max(1, len(cells) // max(1, share - len(chosen)))
    if len(chosen) < share:
        chosen.update(range(step // 2, len(cells), step))
    return sorted(chosen)


def run(cell: Cell, template: Path, number: int = 0) -> Verdict:
    verdict = Verdict(number, cell.name)
    with tempfile.TemporaryDirectory(prefix="vcb-faults-", ignore_cleanup_errors=True) as directory:
        try:
            with scenes.opened(template, Path(directory) / "scene", cell.transport) as scene:
                _play(scene, cell, verdict)
        except Exception:
            verdict.problems.append("the runner: " + traceback.format_exc(limit=-6))
    return verdict


def _play(scene: Scene, cell: Cell, verdict: Verdict) -> None:
    trouble = cell.trouble
    if trouble.prepare:
        trouble.prepare(scene)
    if trouble.process:
        scene.lab.vsphere.leases.timeout = _LEASE_TIMEOUT
    for rule in trouble.rules:
        scene.lab.faults.add(rule)
    if trouble.act:
        scene.at_stage(cell.stage, trouble.act)
    outcome = None
    try:
        with trouble.patched(scene) if trouble.patched else nullcontext():
            outcome = child.run(scene, trouble.process) if trouble.process else scene.backup(**trouble.settings)
    except VcbError as error:
        verdict.problems.append(f"raised {type(error).__name__} instead of an outcome: {error}")
    except Exception:
        verdict.problems.append("a traceback: " + traceback.format_exc(limit=-8))
    verdict.met = not trouble.rules or any(injection.hits for injection in scene.lab.faults.injections())
    scene.lab.faults.clear()
    if trouble.heal:
        trouble.heal(scene)
    verdict.problems += scene.problems
    told_of = True  # by its ledger, where the job was killed
    if outcome is not None:
        verdict.state, verdict.said = outcome.state.value, outcome.sentence
        told_of = bool(outcome.leftovers or outcome.exceptions or (outcome.error and not scene.left_in_vcenter()))
        verdict.problems += judge_outcome(scene, outcome, trouble)
    verdict.problems += judge_left(scene, trouble, told_of=told_of)
    verdict.problems += judge_what_was(scene)

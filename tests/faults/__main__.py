"""`python -m tests.faults`: every fault at every stage of a backup, over every transport; prints the matrix."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from engine.events import Stage
from tests.faults import matrix, scene as scenes
from tests.faults.cells import Cell
from tests.faults.matrix import Verdict
from tests.faults.pool import run_all
from tests.faults.recording import TRANSPORTS, record
from tests.faults.scene import BEFORE

_QUICK = 150


def main() -> int:
    given = _arguments()
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="vcb-faults-"))
    try:
        template = directory / "template"
        scenes.build_template(template)
        transports = [given.transport] if given.transport else TRANSPORTS
        recorded = {name: record(template, directory / "recorded", name) for name in transports}
        cells = matrix.all_cells(recorded)
        numbers = matrix.sample(cells, _QUICK) if given.quick else range(len(cells))
        numbers = [number for number in numbers if given.only in cells[number].name]
        if given.list:
            print("\n".join(cells[number].name for number in numbers))
            return 0
        verdicts: list[Verdict] = []
        for verdict in run_all(numbers, recorded, template, given.jobs):
            verdict.name = cells[verdict.number].name
            verdicts.append(verdict)
            if sys.stderr.isatty():
                print(f"\r{len(verdicts)} of {len(numbers)}", end="", file=sys.stderr)
            if verdict.problems and given.verbose:
                print(f"F {verdict.name}: {verdict.problems[0]}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    verdicts.sort(key=lambda verdict: verdict.number)
    if given.json:
        given.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    _show(cells, verdicts, _columns(cells))
    failed = sum(bool(verdict.problems) for verdict in verdicts)
    states = Counter(verdict.state or "killed" for verdict in verdicts)
    never = sum(not verdict.met for verdict in verdicts)
    print(f"{len(verdicts)} cells in {time.monotonic() - began:.0f} s: "
          + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
          + f"; {never} whose fault was never met")  # fmt: skip
    print(f"{len(verdicts) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--transport", choices=TRANSPORTS)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cells whose name contains this")
    parser.add_argument("--quick", action="store_true", help=f"about {_QUICK} cells, of every row and column")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every verdict")
    parser.add_argument("--list", action="store_true", help="print the names of the cells, run none")
    parser.add_argument("--verbose", action="store_true", help="print each failure at once")
    return parser.parse_args()


def _columns(cells: list[Cell]) -> list[str]:
    """In the order of the flow."""
    order = [BEFORE, *(stage.value for stage in Stage)]
    return sorted({cell.stage for cell in cells}, key=order.index)


def _show(cells: list[Cell], verdicts: list[Verdict], stages: list[str]) -> None:
    """Rows faults, columns stages: how many cells passed, or how many of how many failed."""
    counts: dict[tuple[str, str], list[int]] = {}
    for verdict in verdicts:
        cell = cells[verdict.number]
        passed, failed = counts.setdefault((cell.row, cell.stage), [0, 0])
        counts[cell.row, cell.stage] = [passed + (not verdict.problems), failed + bool(verdict.problems)]
    rows = list(dict.fromkeys(cells[verdict.number].row for verdict in verdicts))
    width = max((len(row) for row in rows), default=0)
    for number, stage in enumerate(stages):
        print(f"{'':{width}}  {'|     ' * number}{stage}")
    for row in rows:
        line = f"{row:{width}}  "
        for stage in stages:
            passed, failed = counts.get((row, stage), (0, 0))
            mark = "F" if failed else "." if passed else ""
            line += f"{mark + (str(failed or passed) if mark else ''):6}"
        print(line.rstrip())
    for verdict in verdicts:
        if verdict.problems:
            print(f"\nF {verdict.name}\n  " + "\n  ".join(verdict.problems))
    print("\n.N: N cells passed; FN: N cells failed; blank: this fault does not exist in this stage")


if __name__ == "__main__":
    sys.exit(main())

"""The console's inventory of 50,000 VMs: one filter, and one VM that comes, beside a tree of objects that does both.

The other side is what one would write first: an object a node, a fuzzy test in Python at each, all lines made anew.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.jobs.inventory_rows import MachineRow, PlaceRow, Rows
from tests.benchmarks.measure import Benchmark, Target
from tui.models.inventory import InventoryModel

NODES = 50_000
FOLDERS = 100


@dataclass
class Node:
    name: str
    children: list["Node"] = field(default_factory=list)

    def lines(self, needle: str, depth: int) -> Iterator[tuple[int, str]]:
        inner = [line for child in self.children for line in child.lines(needle, depth + 1)]
        if inner or fits(needle, self.name):
            yield depth, self.name
            yield from inner


def fits(needle: str, name: str) -> bool:
    letters = iter(name.casefold())
    return all(letter in letters for letter in needle)


def _both() -> tuple[InventoryModel, Node]:
    model, root = InventoryModel(), Node("")
    folders = [PlaceRow(id=f"f{number}", kind="folder", name=f"Folder {number:03}") for number in range(FOLDERS)]
    model.apply(Rows(rows=tuple(folders)))
    root.children = [Node(folder.name) for folder in folders]
    for start in range(0, NODES, 250):
        rows = [
            MachineRow(id=f"vm-{number}", name=f"app{number:05}-prod", folder=f"f{number % FOLDERS}")
            for number in range(start, start + 250)
        ]
        model.apply(Rows(rows=tuple(rows)))
        for number, row in enumerate(rows, start):
            root.children[number % FOLDERS].children.append(Node(row.name))
    return model, root


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _inventory(work: Path, quick: bool) -> Mapping[str, float]:
    model, root = _both()
    ours: dict[str, list[float]] = {"filter": [], "insert": []}
    naive: dict[str, list[float]] = {"filter": [], "insert": []}
    for turn in range(3 if quick else 7):
        model.set_filter("")
        ours["filter"].append(_cpu(lambda: model.set_filter("a77p")))
        naive["filter"].append(_cpu(lambda: list(root.lines("a77p", 0))))
        model.set_filter("")
        fresh = MachineRow(id=f"new-{turn}", name=f"app2500{turn}-new", folder="f50")
        ours["insert"].append(_cpu(lambda fresh=fresh: model.apply(Rows(rows=(fresh,)))))
        root.children[50].children.append(Node(fresh.name))
        naive["insert"].append(_cpu(lambda: list(root.lines("", 0))))
    best = {name: (min(ours[name]), min(naive[name])) for name in ours}
    for name, (mine, other) in best.items():
        print(f"# {name}: {1000 * mine:.1f} ms, a tree of objects {1000 * other:.1f} ms", file=sys.stderr)
    return {f"inventory-{name}": mine / other for name, (mine, other) in best.items()}


BENCHMARKS = (
    Benchmark(
        "inventory",
        {
            "inventory-filter": Target(0.5, f"CPU of a filter over {NODES:,} VMs, to that of a tree of objects"),
            "inventory-insert": Target(0.1, "CPU of one VM that comes, to that of making the lines anew"),
        },
        _inventory,
    ),
)

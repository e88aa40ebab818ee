"""What a job does when nothing goes wrong: each message it sends and each call into its two directories, by stage.
The cells are made of it, so that none is forgotten and none is made up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import scene as scenes
from tests.faults.os_seam import Seam
from tests.faults.scene import Scene

TRANSPORTS = ("nbd", "nbdssl", "https", "hotadd")


@dataclass(frozen=True)
class Met:
    """The `number`-th time (from 1) that the lab's point `name` was met, or that a function was called."""

    stage: str
    name: str
    phase: str
    number: int


@dataclass(frozen=True)
class Recording:
    """`points` are the lab's (engine/lab/faults.py); `calls` those of the operating system's functions, with the
    directory (root or state) in `phase`."""

    points: tuple[Met, ...]
    calls: tuple[Met, ...]

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(met.stage for met in (*self.points, *self.calls)))


def record(template: Path, directory: Path, transport: str) -> Recording:
    """One clean run, which must succeed."""
    points: list[Met] = []
    calls: list[Met] = []
    with scenes.opened(template, directory, transport) as scene:
        counts: dict[tuple[str, str], int] = {}

        def hit(point: str, phase: str = "call", *objects: Any) -> None:
            number = counts[point, phase] = counts.get((point, phase), 0) + 1
            points.append(Met(scene.stage, point, phase, number))

        def called(where: str, name: str, number: int, target: Any) -> None:
            calls.append(Met(scene.stage, name, where, number))

        scene.lab.vsphere.faults.hit = hit  # type: ignore[method-assign]
        with Seam(watched(scene), called):
            outcome = scene.backup()
        assert outcome.error is None, outcome.sentence
        assert not outcome.exceptions, outcome.sentence
    return Recording(tuple(points), tuple(calls))


def watched(scene: Scene) -> dict[str, Path]:
    return {"root": scene.root, "state": scene.state}


def first_of_each(met: Iterable[Met]) -> Iterator[Met]:
    """The first in its stage of each name and phase."""
    seen = set()
    for each in met:
        key = (each.stage, each.name, each.phase)
        if key not in seen:
            seen.add(key)
            yield each

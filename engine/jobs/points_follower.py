"""Which restore points each VM has, told anew when something under BACKUPROOT changed.

BACKUPROOT may be a network file system that hangs: that holds up this thread, and nobody else.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.jobs.inventory_rows import CHUNK, PointRow, Points, VmPoints, Wire
from engine.points import catalog, drills
from engine.points.catalog import Catalogue, Point
from engine.points.drills import Drill
from engine.points.naming import POINTS
from engine.state_directory import StateDirectory

_EVERY = 3.0
_SHARE = 50
"""A look at the modification times may take one part in so many of the time."""


class PointsFollower:
    """`run` is for one thread, `look_now` and `close` for any."""

    def __init__(self, root: Path, state: StateDirectory, say: Callable[[Wire], None]) -> None:
        self._root, self._state, self._say = root, state, say
        self._closing = False
        self._wake = threading.Event()
        self._told: dict[tuple[str, str], VmPoints] = {}

    def run(self) -> None:
        """Until `close`."""
        seen: object = None
        while not self._closing:
            began = time.monotonic()
            with suppress(OSError):  # unmounted, or no rights: the points are not gone for that
                moment = self._now()
                if moment != seen:
                    self._tell(catalog.look(self._root.resolve(), self._state.root))
                    seen = moment
            self._wake.wait(max(_EVERY, _SHARE * (time.monotonic() - began)))
            self._wake.clear()

    def look_now(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def _now(self) -> object:
        """What differs once a point, a proof or a drill came or went."""
        return _times(self._root / POINTS), _changed(drills.directory(self._state.root))

    def _tell(self, catalogue: Catalogue) -> None:
        now = {vm.vcenter + vm.vm: vm for vm in _by_machine(catalogue)}
        before = {vm.vcenter + vm.vm: vm for vm in self._told.values()}
        vanished = [VmPoints(vcenter=vm.vcenter, vm=vm.vm, points=()) for key, vm in before.items() if key not in now]
        changed = [vm for key, vm in now.items() if before.get(key) != vm] + vanished
        self._told = {(vm.vcenter, vm.vm): vm for vm in now.values()}
        for start in range(0, len(changed), CHUNK):
            self._say(Points(vms=tuple(changed[start : start + CHUNK])))


def _times(home: Path) -> tuple[int, ...]:
    """Modification times of the directories in which points appear, go, and get their proofs."""
    if not home.exists():
        return ()
    machines = [path for path in sorted(home.iterdir()) if path.is_dir()]
    points = [path for machine in machines for path in sorted(machine.iterdir()) if path.is_dir()]
    return tuple(path.stat().st_mtime_ns for path in (home, *machines, *points))


def _changed(directory: Path) -> int:
    """Its modification time; 0 while it is not there."""
    try:
        return directory.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _by_machine(catalogue: Catalogue) -> list[VmPoints]:
    found: dict[tuple[str, str], list[PointRow]] = defaultdict(list)
    for point in reversed(catalogue.points):
        found[point.identity].append(_row(point, catalogue))
    machines: list[VmPoints] = []
    for identity, points in found.items():
        at, result = _told(catalogue.last_drill(identity))
        machines.append(
            VmPoints(vcenter=identity[0], vm=identity[1], points=tuple(points), drilled=at, drill=result)
        )  # fmt: skip
    return machines


def _told(drill: Drill | None) -> tuple[float | None, str]:
    return (drill.at.timestamp(), drill.result) if drill else (None, "")


def _row(point: Point, catalogue: Catalogue) -> PointRow:
    proven, (drilled, result) = point.proven, _told(catalogue.drill(point))
    return PointRow(
        name=point.name,
        directory=str(point.directory),
        created=point.manifest.created.timestamp(),
        kind=point.kind,
        stored=point.stored,
        proven=proven.timestamp() if proven else None,
        depth=point.depth.value,
        flaw=catalogue.flaw(point),
        drilled=drilled,
        drill=result,
    )

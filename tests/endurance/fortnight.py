"""A fortnight of nights under a fake clock: guests write, VMs are backed up, whatever can go wrong does at random, jobs
are killed; in the morning `vcb reconcile --yes` and `vcb retain` run. What was frozen each night is kept as a hash."""

import hashlib
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.events import ResultState
from engine.flow import retain
from engine.flow.point_check import PointChecks
from engine.flow.reconcile.reconcile import reconciling
from engine.image.chain import open_disk
from engine.lab.vm import VM
from engine.points import catalog
from engine.points.catalog import Point
from engine.points.proof import Depth
from engine.reporter import silent
from engine.state_directory import StateDirectory
from tests.faults import child, data_faults, process_faults, scene as scenes, target_faults, vsphere_faults
from tests.faults.cells import Cell
from tests.faults.recording import TRANSPORTS, Recording, record
from tests.faults.scene import MIB, Scene

_FAMILIES = (vsphere_faults.task_faults, vsphere_faults.connections, data_faults.nfc, data_faults.http,
             target_faults.file_systems, process_faults.kills)  # fmt: skip
_SLOW = ("silent", "slow")
RETENTION = {"KEEP_LAST": 2, "KEEP_DAILY": 5, "KEEP_WEEKLY": 2, "FULL_EVERY": 5, "CHAIN_LENGTH": 4}


@dataclass
class Fortnight:
    """`troubled` is the share of the jobs that meet a fault or a SIGKILL."""

    nights: int
    machines: int
    seed: int
    troubled: float = 0.3
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    hashes: dict[tuple[str, int], str] = field(default_factory=dict)
    """(name of the point's directory under points/, device key) -> SHA-256 of the frozen disk."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._offset = timedelta()

    def run(self, directory: Path) -> None:
        template = directory / "template"
        scenes.build_template(template)
        recorded = {name: record(template, directory / "recorded", name) for name in TRANSPORTS}
        cells = {name: list(_cells(name, one)) for name, one in recorded.items()}
        with scenes.opened(template, directory / "scene", "nbdssl") as scene, self._clock():
            shutil.rmtree(scene.root / "points")
            scene.lab.vsphere.leases.timeout = 2.0
            names = self._machines(scene)
            for _ in range(self.nights):
                self._night(scene, names, cells)
                self._morning(scene)
                self._offset += timedelta(days=1)
            self._judge(scene)

    def _machines(self, scene: Scene) -> list[str]:
        site = scenes.site_of(scene.lab)
        names = []
        for number in range(self.machines):
            vm = site.vm(scene.lab.vsphere, f"vm{number:02d}", site.stores["labstore"], ip=f"10.1.0.{number + 1}",
                         change_tracking=number % 4 != 3)  # fmt: skip
            vm.write(vm.add_disk(MIB), 0, self._random.randbytes(50_000))
            vm.stun()
            names.append(vm.name)
        return names

    def _night(self, scene: Scene, names: list[str], cells: dict[str, list[Cell]]) -> None:
        for name in names:
            self._guest_writes(scene.proxy.vm(name))
            scene.transport = self._random.choice(TRANSPORTS)
            trouble = self._random.random() < self.troubled
            cell = self._random.choice(cells[scene.transport]) if trouble else None
            self._backup(scene, name, cell)

    def _guest_writes(self, vm: VM) -> None:
        for key, disk in vm.disks.items():
            for _ in range(self._random.randrange(3)):
                size = self._random.choice((512, 5_000, 70_000))
                place = self._random.randrange(0, disk.capacity - size, 512)
                vm.write(key, place, bytes(size) if self._random.random() < 0.2 else self._random.randbytes(size))

    def _backup(self, scene: Scene, name: str, cell: Cell | None) -> None:
        trouble = cell.trouble if cell else None
        settings: dict[str, Any] = {"PREEXISTING_VCB_SNAPSHOT": "delete", "PREEXISTING_MOUNTPOINT": "delete"}
        settings |= {"FULL_EVERY": RETENTION["FULL_EVERY"]}
        self.counts["jobs"] += 1
        scene.proxy.events.clear()
        scene.proxy.on_event[1:] = []
        if trouble and trouble.process:
            ended = child.run(scene, trouble.process, vm=name, **settings)
            self.counts["killed" if ended is None else ended.state.value] += 1
            if ended is None or trouble.process["signal"] != signal.SIGKILL:
                self.counts["SIGKILLs"] += 1
            return
        for rule in trouble.rules if trouble else ():
            scene.lab.faults.add(rule)
        try:
            with trouble.patched(scene) if trouble and trouble.patched else nullcontext():
                outcome = scene.backup(vm=name, **settings)
        except Exception as error:
            self.problems.append(f"{name}, {cell and cell.name}: a traceback: {error!r}")
            return
        finally:
            self.counts["faults met"] += bool(scene.lab.faults.log) or bool(trouble and trouble.patched)
            scene.lab.faults.clear()
        self.counts[outcome.state.value] += 1
        if cell is None and outcome.state is not ResultState.SUCCESS:
            self.problems.append(f"{name} failed without a fault: {outcome.state}: {outcome.sentence}")

    def _morning(self, scene: Scene) -> None:
        """Hashes of the night's frozen disks; then what an admin has cron do."""
        for point in self._points(scene):
            for disk in point.manifest.disk:
                key = (_name(point), disk.key)
                if key not in self.hashes:
                    frozen = scene.lab.frozen_image(point.manifest.snapshot.moref, disk.key).read_bytes()
                    self.hashes[key] = hashlib.sha256(frozen).hexdigest()
        shutil.rmtree(scene.lab.vsphere.state / "frozen", ignore_errors=True)
        settings, state = scene.proxy.settings(**RETENTION), StateDirectory.default()
        with reconciling(settings, silent(), CancelToken()) as reconcile:
            cleaned = reconcile.clean(reconcile.look().to_clean)
        self.counts["left-overs cleaned"] += len(cleaned.removed)
        self.problems += [f"reconcile: {leftover.text}: {error}" for leftover, error in cleaned.failed]
        decided = retain.plan(settings, scene.root, state)
        removals = retain.carry_out(decided, settings, scene.root, state, report=silent(), cancel=CancelToken())
        self.problems += [f"retain: {error}" for error in removals.errors]

    def _judge(self, scene: Scene) -> None:
        self.problems += scene.left() + scene.problems
        missing = [other for other in scene.others if other not in scene.snapshots()]
        self.problems += [f"gone: {other}" for other in missing]
        checks = PointChecks(Depth.CHAIN, CancelToken(), silent())
        for point in self._points(scene):
            self.counts["points kept"] += 1
            self.problems += [f"{_name(point)}: {found}" for found in checks.check(point.directory).findings]
            for disk in point.manifest.disk:
                self.counts["incremental" if disk.parent else "full"] += 1
                image = open_disk(point.directory / disk.files[0])
                content = bytearray(image.capacity)
                image.read_into(0, memoryview(content))
                image.close()
                if hashlib.sha256(content).hexdigest() != self.hashes[_name(point), disk.key]:
                    self.problems.append(f"{_name(point)} {disk.name} is not what was frozen that night")
                self.counts["disks equal to that night's"] += 1

    def _points(self, scene: Scene) -> Iterator[Point]:
        seen = catalog.look(scene.root, scene.state)
        self.problems += [f"{path}: {why}" for path, why in seen.troubles.items()]
        yield from seen.points

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """The flow's wall clock, days ahead of the machine's."""
        fortnight = self

        class Ahead(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.now(tz) + fortnight._offset

        flow = [module for name, module in sys.modules.items() if name.startswith(("engine.flow.", "engine.state_d"))]
        changed = [module for module in flow if getattr(module, "datetime", None) is datetime]
        for module in changed:
            module.datetime = Ahead  # type: ignore[attr-defined]
        try:
            yield
        finally:
            for module in changed:
                module.datetime = datetime  # type: ignore[attr-defined]


def _cells(transport: str, recorded: Recording) -> Iterator[Cell]:
    for family in _FAMILIES:
        yield from (cell for cell in family(transport, recorded) if not cell.row.endswith(_SLOW))


def _name(point: Point) -> str:
    return f"{point.directory.parent.name}/{point.name}"

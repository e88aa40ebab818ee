"""Several nights of a VM whose guest writes between them, each point held against that night's frozen disks."""

import random
import subprocess
from dataclasses import dataclass, field

from engine.events import ResultState
from engine.flow.outcome import DiskOutcome, Outcome
from engine.image.sparse_header import GRAIN
from tests.flow.checks import assert_nothing_left
from tests.flow.conftest import Proxy
from tests.tools import require_tool

MIB = 1 << 20


@dataclass
class Nights:
    """Backups of one VM of the lab; `points` are those that succeeded, with the snapshot they were made from."""

    proxy: Proxy
    vm_name: str = "db01"
    seed: int = 1
    points: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.proxy.lab.run_guest(False)
        self.random = random.Random(self.seed)

    @property
    def vm(self):
        return self.proxy.vm(self.vm_name)

    @property
    def key(self) -> int:
        """The first disk that is backed up."""
        return next(slot.key for slot in self.vm.definition.disks if not slot.independent)

    def write(self, *places: int, size: int = GRAIN, zeros: bool = False) -> None:
        """The guest writes at these byte offsets of its first disk."""
        for place in places:
            self.vm.write(self.key, place, bytes(size) if zeros else self.random.randbytes(size))

    def busy_day(self, writes: int = 40) -> None:
        for _ in range(writes):
            size = self.random.choice((512, 4096, 70_144, MIB))
            place = self.random.randrange(0, 64 * MIB - size, 512)
            self.write(place, size=size, zeros=self.random.random() < 0.3)

    def night(self, *, check: bool = True, **settings) -> DiskOutcome:
        """A backup; its first disk. The independent disk of db01 is left out as the operator's wish."""
        settings = {"EXCLUDE_DISKS": "scsi0:1" if self.vm_name == "db01" else "", **settings}
        outcome = self.proxy.backup(self.vm_name, **settings)
        assert outcome.error is None, outcome.sentence
        self.points.append(outcome)
        if check:
            self.compare(outcome)
        assert_nothing_left(self.proxy, self.vm_name)
        return outcome.disks[0]

    def compare(self, outcome: Outcome) -> None:
        """qemu-img opens the chain by itself and finds that night's disks."""
        qemu_img = require_tool("qemu-img")
        assert outcome.point is not None
        for done in outcome.disks:
            image = outcome.point / done.files[0].name
            frozen = self.proxy.lab.frozen_image(outcome.snapshot, done.disk.key)
            for command in (["check", "-f", "vmdk", image], ["compare", "-f", "vmdk", "-F", "raw", image, frozen]):
                if command[0] == "check" and len(done.files) > 1:
                    continue
                ran = subprocess.run([qemu_img, *command], check=False, capture_output=True, text=True)
                assert ran.returncode == 0, f"{outcome.point}: {ran.stdout}{ran.stderr}"

    def compare_all(self) -> None:
        for outcome in self.points:
            self.compare(outcome)

    def clean(self) -> bool:
        return all(outcome.state is ResultState.SUCCESS for outcome in self.points)

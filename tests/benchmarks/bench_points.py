"""Whole points: verified beside sha256sum, a chain of thirty read and merged."""

import random
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.extents import Extent
from engine.flow.merge import merge_points, whole
from engine.image.chain import open_disk
from engine.image.flat import RawDisk
from engine.points import catalog
from engine.reporter import silent
from engine.state_directory import StateDirectory
from tests.benchmarks.measure import Benchmark, Cost, Target, alternating, cost_of, out_of_cache, program
from tests.benchmarks.sample_disk import GIB, sample_disk
from tests.points.made import point

_OURS = Path(__file__).with_name("verify_point.py")
_GRAIN = 64 << 10
_LENGTH = 30


def _verify(work: Path, quick: bool) -> Mapping[str, float]:
    made = {}
    for kind in ("compact", "sparse"):
        raw = sample_disk(work / "disk.raw", GIB if quick else 6 * GIB)
        source = RawDisk(raw)
        made[kind] = point(work / kind, 0, kind=kind, source=source)
        source.close()
    sha256sum = program("sha256sum")
    sides: dict[str, Callable[[], Cost]] = {}
    for kind, directory in made.items():
        files = [path for path in sorted(directory.iterdir()) if path.name != "proof.toml"]
        sides[kind] = partial(_cold, files, [sys.executable, _OURS, directory])
        sides[f"{kind} theirs"] = partial(_cold, files, [sha256sum, *files])
    costs = alternating(1 if quick else 5, sides)
    return {f"verify-{kind}": costs[kind].wall / costs[f"{kind} theirs"].wall for kind in made}


def _cold(files: list[Path], command: list[str | Path]) -> Cost:
    out_of_cache(*files)
    return cost_of(command)


class _Nights:
    """A disk of which every night one part in fifty changes, and a point of each."""

    def __init__(self, work: Path, quick: bool) -> None:
        self.root, self.random = work / "root", random.Random(30)
        self.truth = sample_disk(work / "disk.raw", GIB // 4 if quick else 2 * GIB)
        self.points = [point(self.root, 0, source=RawDisk(self.truth))]
        while len(self.points) < _LENGTH:
            self._night()

    def _night(self) -> None:
        source = _Changed(self.truth)
        with self.truth.open("r+b") as disk:
            for grain in sorted(self.random.sample(range(source.capacity // _GRAIN), source.capacity // _GRAIN // 50)):
                disk.seek(grain * _GRAIN)
                disk.write(self.random.randbytes(4096))
                source.changed.append(Extent(grain * _GRAIN, _GRAIN))
        self.points.append(point(self.root, len(self.points), parent=self.points[-1], source=source))
        source.close()

    def read(self, night: int) -> float:
        """CPU seconds for a thousand reads of 256 KiB at random places; the same ones each time."""
        dice, buffer = random.Random(1), memoryview(bytearray(256 << 10))
        disk = open_disk(self.points[night] / "scsi0-0.vmdk")
        began = time.process_time()
        for _ in range(1000):
            disk.read_into(dice.randrange(0, disk.capacity - len(buffer), 512), buffer)
        seconds = time.process_time() - began
        disk.close()
        return seconds


class _Changed(RawDisk):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.changed: list[Extent] = []

    def allocated(self) -> list[Extent]:
        return self.changed


def _chain(work: Path, quick: bool) -> Mapping[str, float]:
    nights = _Nights(work, quick)
    rounds = 3 if quick else 5
    lengths = {length: partial(_timed, nights, length - 1) for length in (1, 10, _LENGTH)}
    costs = alternating(rounds, {str(length): side for length, side in lengths.items()})
    qemu_img, last = program("qemu-img"), nights.points[-1]
    compare = [qemu_img, "compare", "-f", "vmdk", "-F", "raw", last / "scsi0-0.vmdk", nights.truth]
    cost_of(compare)
    state = StateDirectory(work / "state")
    catalogue = catalog.look(nights.root, state.root)
    asked = whole(catalogue, catalogue.by_directory[last])
    options = Settings.of(BACKUPROOT=str(nights.root), KEEP_FREE="0")
    began = time.perf_counter()
    merge_points(asked, options, nights.root, state, report=silent(), cancel=CancelToken())
    merging = time.perf_counter() - began
    cost_of(compare)
    copied = work / "copied"
    began = time.perf_counter()
    cost_of([program("cp"), "-r", nights.root, copied])
    cost_of([program("sha256sum"), *copied.rglob("*.vmdk")])
    copying = time.perf_counter() - began
    per_link = (costs[str(_LENGTH)].wall - costs["1"].wall) / (_LENGTH - 1)
    return {
        "chain-reads": per_link / max((costs["10"].wall - costs["1"].wall) / 9, costs["1"].wall / 100),
        "chain-merge": merging / copying,
    }


def _timed(nights: _Nights, night: int) -> Cost:
    seconds = nights.read(night)
    return Cost(seconds, seconds)


BENCHMARKS = (
    Benchmark(
        "verify-point",
        {
            "verify-compact": Target(1.5, "wall time of vcb verify (grains) of a compact point / sha256sum of it"),
            "verify-sparse": Target(1.5, "the same of a sparse point"),
        },
        _verify,
    ),
    Benchmark(
        "chain-of-30",
        {
            "chain-reads": Target(1.2, "CPU that a link adds to random reads, over 30 links / over 10: linear is 1"),
            "chain-merge": Target(2.0, "merge of the whole chain, proof included / cp and sha256sum of its images"),
        },
        _chain,
    ),
)

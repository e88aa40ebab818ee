"""What every benchmark shares: figures with targets, costs of processes, rounds that alternate between the sides."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Target:
    """Where a ratio has to be: at most `limit`. `about` says what is divided by what."""

    limit: float
    about: str

    def verdict(self, value: float) -> str:
        return "ok" if value <= self.limit else "SHORT"


@dataclass(frozen=True)
class Benchmark:
    """`targets` by figure name; `run(work, quick)` measures a value for each, using the directory `work` freely."""

    name: str
    targets: Mapping[str, Target]
    run: Callable[[Path, bool], Mapping[str, float]]


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a process and its children."""

    wall: float
    cpu: float


def cost_of(command: Sequence[str | Path], *, stderr: int | None = None) -> Cost:
    """Runs a program to its end, start-up included; raises CalledProcessError when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [str(part) for part in command])
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def alternating(rounds: int, sides: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Each side once a round, in turn; the medians. So a noisy neighbour hits all sides."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            costs[name].append(side())
    return {
        name: Cost(statistics.median(c.wall for c in seen), statistics.median(c.cpu for c in seen))
        for name, seen in costs.items()
    }


def fresh(targets: Sequence[Path], commands: Sequence[Sequence[str | Path]]) -> Cost:
    """The commands' cost together, none of it for throwing away what an earlier round left."""
    for target in targets:
        target.unlink(missing_ok=True)
    costs = [cost_of(command) for command in commands]
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


def program(name: str) -> str:
    """The path of a foreign program. FileNotFoundError when it is not installed: nothing to compare with."""
    if (path := shutil.which(name)) is None:
        raise FileNotFoundError(f"{name} is not installed.")
    return path


def out_of_cache(*files: Path) -> None:
    """What was written and synced is read from the medium next time."""
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

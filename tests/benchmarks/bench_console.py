"""The console beside a minimal Textual app of three panes (tests/benchmarks/console/plain.py), on a pty of our own.

Start: CPU to the first frame, resident memory. Bytes: of a Tab, a moved row, a PgDn, and of the same screens in
Textual's own output (`VCB_WIRE=off`). Idle: bytes and CPU while nothing happens. Load: how long a key waits while a
journal grows and 10,000 VMs stand in the tree, on local and on slow lines; and after the terminal stood still.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.console.journal_writer import JOB
from tests.benchmarks.console.probe import KEY, mark
from tests.benchmarks.measure import ROOT, Benchmark, Target
from tests.tui.ptylab import PtyLab

PLAIN, OURS = "plain", "ours"
_TAB, _DOWN, _PAGE_DOWN = b"\t", b"\x1b[B", b"\x1b[6~"
_OFF = {"VCB_WIRE": "off"}
_KEY_GAP = (0.12, 0.28)
"""Seconds between keys, at random, so that they meet all phases of a repaint."""


@contextmanager
def started(side: str, state: Path, machines: int = 200, **line: object) -> Iterator[PtyLab]:
    """The app on its terminal, its first VMs drawn."""
    command = [sys.executable, "-m", f"tests.benchmarks.console.{side}", str(machines), str(state)]
    with PtyLab(command, **line) as lab:  # type: ignore[arg-type]
        if lab.wait_for(b"vm00001", seconds=60) is None:
            raise RuntimeError(f"{side} did not start: {bytes(lab.output[-400:])!r}")
        yield lab


@contextmanager
def growing(directory: Path, rate: int, seconds: float) -> Iterator[Path]:
    """The state directory of a job whose journal grows by `rate` events a second."""
    writer = [sys.executable, "-m", "tests.benchmarks.console.journal_writer"]
    process = subprocess.Popen([*writer, str(directory), str(rate), str(seconds)], cwd=ROOT)
    try:
        while not (directory / "jobs" / JOB / "journal.0001.jsonl").exists():
            time.sleep(0.01)
        yield directory
    finally:
        process.kill()
        process.wait()


# -- start


def start(work: Path, quick: bool) -> Mapping[str, float]:
    cpu: dict[str, list[float]] = {PLAIN: [], OURS: []}
    memory: dict[str, list[float]] = {PLAIN: [], OURS: []}
    for _ in range(1 if quick else 5):
        for side in (PLAIN, OURS):
            with started(side, work) as lab:
                lab.settle(0.3)
                cpu[side].append(lab.cpu())
                memory[side].append(lab.memory())
    return {
        "console-start-cpu": statistics.median(cpu[OURS]) / statistics.median(cpu[PLAIN]),
        "console-rss": statistics.median(memory[OURS]) / statistics.median(memory[PLAIN]),
    }


# -- bytes


def sizes(work: Path, environ: Mapping[str, str], size: tuple[int, int]) -> dict[str, int]:
    """Bytes of three acts: to the next pane (and back), a row down, a page down."""
    with started(OURS, work, environ=environ, size=size) as lab:
        lab.settle(0.5)
        tab = lab.cost(_TAB)
        lab.cost(b"\x1b[Z")
        lab.cost(_DOWN)
        return {"tab": tab, "row": lab.cost(_DOWN), "page": lab.cost(_PAGE_DOWN)}


def byte_ratios(work: Path, quick: bool) -> Mapping[str, float]:
    ours, theirs = (
        [sizes(work, environ, size) for size in ((80, 24), (200, 50))[: 1 if quick else 2]] for environ in ({}, _OFF)
    )
    return {
        f"console-{act}-bytes": max(mine[act] / other[act] for mine, other in zip(ours, theirs, strict=True))
        for act in ("tab", "row", "page")
    }


# -- idle


def idle(work: Path, quick: bool) -> Mapping[str, float]:
    seconds = 5.0 if quick else 30.0
    with started(OURS, work) as lab:
        lab.settle(1.0)
        length, cpu = len(lab.output), lab.cpu()
        time.sleep(seconds)
        return {
            "console-idle-bytes": len(lab.output) - length,
            "console-idle-cpu": 100 * (lab.cpu() - cpu) / seconds,
        }


# -- keys under load


def latencies(lab: PtyLab, seconds: float, limit: float = 8.0) -> list[float]:
    """Milliseconds from a key to its answer; one that doesn't come within `limit` seconds counts as that."""
    chance, waits, presses = random.Random(1), [], 0
    end = time.perf_counter() + seconds
    lab.send(KEY)
    lab.wait_for(mark(presses := presses + 1), seconds=limit)
    while time.perf_counter() < end:
        time.sleep(chance.uniform(*_KEY_GAP))
        presses += 1
        began = time.perf_counter()
        answered = lab.wait_for(mark(presses), lab.send(KEY), limit)
        waits.append(1000 * (answered - began if answered else limit))
    return waits


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def busy(work: Path, quick: bool) -> Mapping[str, float]:
    seconds = 4.0 if quick else 12.0
    waits = {}
    for side in (PLAIN, OURS):
        with growing(work / side, 10_000, seconds + 12) as state, started(side, state, 10_000) as lab:
            waits[side] = percentile(latencies(lab, seconds), 0.95)
    return {"console-busy-key-p95": waits[OURS], "console-busy-key-beside-log": waits[OURS] / waits[PLAIN]}


def slow(work: Path, quick: bool) -> Mapping[str, float]:
    seconds = 4.0 if quick else 12.0
    waits = {}
    for kilobits in (1000, 256, 64):
        for side in (OURS, PLAIN)[: 1 if quick else 2]:
            directory = work / f"{side}{kilobits}"
            with (
                growing(directory, 1000, seconds + 30) as state,
                started(side, state, 10_000, size=(200, 50), bits=kilobits * 1000) as lab,
            ):
                waits[side, kilobits] = statistics.median(latencies(lab, seconds))
    print({f"{side} {kilobits} kbit/s": round(wait) for (side, kilobits), wait in waits.items()}, file=sys.stderr)
    return {f"console-key-p50-{kilobits}k": waits[OURS, kilobits] for kilobits in (1000, 256, 64)}


def stalled(work: Path, quick: bool) -> Mapping[str, float]:
    with growing(work / "stalled", 10_000, 10) as state, started(OURS, state, 10_000, size=(200, 50)) as lab:
        latencies(lab, 1.0)
        lab.stalled = True
        time.sleep(2.0 if quick else 6.0)
        position = lab.send(_DOWN + KEY)
        presses = next(
            n for n in range(1, 100) if lab.output.rfind(mark(n)) == max(map(lab.output.rfind, map(mark, range(5))))
        )
        lab.stalled = False
        began = time.perf_counter()
        answered = lab.wait_for(mark(presses + 1), position, 10)
        last = lab.wait_for(b"the last of 100000", position, 20)
        return {
            "console-stall-key": answered - began if answered else 10.0,
            "console-stall-lost": 0.0 if last else 1.0,
        }


BENCHMARKS = (
    Benchmark(
        "console-start",
        {
            "console-start-cpu": Target(1.2, "CPU to the first frame, by a minimal Textual app's"),
            "console-rss": Target(1.5, "resident memory then, by the same app's"),
        },
        start,
    ),
    Benchmark(
        "console-bytes",
        {
            "console-tab-bytes": Target(1 / 3, "bytes of a Tab, by Textual's own for the same screens"),
            "console-row-bytes": Target(1 / 3, "bytes of a moved row, by Textual's own"),
            "console-page-bytes": Target(1 / 3, "bytes of a PgDn, by Textual's own"),
        },
        byte_ratios,
    ),
    Benchmark(
        "console-idle",
        {
            "console-idle-bytes": Target(0, "bytes in 30 s in which nothing happens"),
            "console-idle-cpu": Target(0.5, "percent of a core in the same time"),
        },
        idle,
    ),
    Benchmark(
        "console-busy",
        {
            "console-busy-key-p95": Target(60, "ms a key waits at 10,000 events a second and 10,000 VMs"),
            "console-busy-key-beside-log": Target(1, "the same, by an app's with Textual's Log and Tree"),
        },
        busy,
    ),
    Benchmark(
        "console-slow",
        {
            "console-key-p50-1000k": Target(60, "ms a key waits at 1,000 events a second, 200x50, 1 Mbit/s"),
            "console-key-p50-256k": Target(80, "the same at 256 kbit/s"),
            "console-key-p50-64k": Target(600, "the same at 64 kbit/s"),
        },
        slow,
    ),
    Benchmark(
        "console-stall",
        {
            "console-stall-key": Target(0.3, "seconds from the end of a stall of 6 s to the answer to a key"),
            "console-stall-lost": Target(0, "1 when the newest event is not shown in the end"),
        },
        stalled,
    ),
)

"""`python tests/benchmarks/run.py [NAME ...]`: measures ratios and prints `NAME value target ok|SHORT`, one a line.

NAME is a figure or a benchmark (`--list` shows both). A figure compares two sides that ran in turn in this run, so
it says the same on a fast and on a slow machine. The exit code is 0 whatever falls short. A new benchmark is a
module `bench_*.py` here with a tuple `BENCHMARKS`.
"""

import argparse
import importlib
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.benchmarks.measure import Benchmark  # noqa: E402 - found only with the path above


def benchmarks() -> list[Benchmark]:
    """All of them, in the order of their modules."""
    modules = [importlib.import_module(f"tests.benchmarks.{path.stem}") for path in sorted(HERE.glob("bench_*.py"))]
    return [benchmark for module in modules for benchmark in module.BENCHMARKS]


def show(found: Sequence[Benchmark]) -> None:
    for benchmark in found:
        print(benchmark.name)
        for name, target in benchmark.targets.items():
            print(f"  {name}  at most {target.limit:g}: {target.about}")


def measure(benchmark: Benchmark, wanted: set[str], quick: bool, work: str | None) -> None:
    """Prints the figures asked for (none named: all). One that cannot be measured is `nan`, and stderr says why."""
    try:
        with tempfile.TemporaryDirectory(prefix="vcb-bench-", dir=work) as directory:
            values = benchmark.run(Path(directory), quick)
    except Exception as error:
        print(f"{benchmark.name}: not measured: {error}", file=sys.stderr)
        values = dict.fromkeys(benchmark.targets, math.nan)
    for name, target in benchmark.targets.items():
        if not wanted or name in wanted or benchmark.name in wanted:
            print(f"{name} {values[name]:.3f} {target.limit:g} {target.verdict(values[name])}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks of the engine, as ratios to other programs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures or benchmarks (default: all)")
    parser.add_argument("--list", action="store_true", help="show the names and stop")
    parser.add_argument("--quick", action="store_true", help="small inputs: under a minute in all")
    parser.add_argument("--work", default="/var/tmp", help="where test disks are made (a real disk, not tmpfs)")
    options = parser.parse_args()
    found = benchmarks()
    if options.list:
        show(found)
        return 0
    wanted = set(options.names)
    if unknown := wanted - {name for benchmark in found for name in (benchmark.name, *benchmark.targets)}:
        parser.error(f"no benchmark or figure is called {', '.join(sorted(unknown))}; --list names them")
    for benchmark in found:
        if not wanted or wanted & {benchmark.name, *benchmark.targets}:
            measure(benchmark, wanted, options.quick, options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())

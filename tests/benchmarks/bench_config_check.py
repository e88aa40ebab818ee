"""`vcb config check` of a 600-line config.js beside Python doing nothing: CPU, start-up included."""

import sys
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from engine.config.samples import config_js
from tests.benchmarks.measure import Benchmark, Target, alternating, cost_of

LINES = 600
_CHECK = "import sys; from tui.cli.app import main; sys.exit(main(['config', 'check', sys.argv[1]]))"


def long_file() -> str:
    """The complete sample, then its blocks again with every default enabled, until it has the lines."""
    blocks = config_js().split("\n\n")
    lines: list[str] = []
    for block in chain(blocks, *[[block.replace("\n// ", "\n") for block in blocks]] * 5):
        if len(lines) < LINES:
            lines += [*block.split("\n"), ""]
    return "\n".join(lines)


def _config_check(work: Path, quick: bool) -> Mapping[str, float]:
    file = work / "config.js"
    file.write_text(long_file())
    file.chmod(0o600)
    costs = alternating(
        3 if quick else 9,
        {
            "nothing": partial(cost_of, [sys.executable, "-c", "pass"]),
            "check": partial(cost_of, [sys.executable, "-c", _CHECK, file]),
        },
    )
    print(f"# check {costs['check'].cpu:.3f} s of CPU, python -c pass {costs['nothing'].cpu:.3f} s", file=sys.stderr)
    return {"config-check-cpu": costs["check"].cpu}


BENCHMARKS = (
    Benchmark(
        "config-check",
        {"config-check-cpu": Target(0.3, "CPU seconds of vcb config check of 600 lines, Python's start-up included")},
        _config_check,
    ),
)

"""A compact disk back to a sparse raw file, beside qemu-img doing the same job."""

import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Cost, Target, alternating, cost_of
from tests.benchmarks.sample_disk import sample_disk

GIB = 1 << 30
HERE = Path(__file__).parent


def _restore(work: Path, quick: bool) -> Mapping[str, float]:
    qemu_img = shutil.which("qemu-img")
    if qemu_img is None:
        raise FileNotFoundError("qemu-img is not installed (Debian: qemu-utils), so there is nothing to compare with.")
    raw, image = sample_disk(work / "disk.raw", GIB // 2 if quick else 4 * GIB), work / "disk.vmdk"
    cost_of([sys.executable, HERE / "export_raw.py", raw, image, "compact"])
    ours, theirs = work / "ours.raw", work / "theirs.raw"
    costs = alternating(
        1 if quick else 5,
        {
            "ours": partial(_fresh, ours, [sys.executable, HERE / "restore_raw.py", image, ours]),
            "theirs": partial(_fresh, theirs, [qemu_img, "convert", "-f", "vmdk", "-O", "raw", image, theirs]),
        },
    )
    cost_of([qemu_img, "compare", "-f", "raw", "-F", "raw", raw, ours])
    return {
        "restore-wall": costs["ours"].wall / costs["theirs"].wall,
        "restore-cpu": costs["ours"].cpu / costs["theirs"].cpu,
        "restore-size": ours.stat().st_blocks / theirs.stat().st_blocks,
    }


def _fresh(target: Path, command: list[str | Path]) -> Cost:
    target.unlink(missing_ok=True)
    return cost_of(command)


BENCHMARKS = (
    Benchmark(
        "restore-raw",
        {
            "restore-wall": Target(0.33, "wall time of our restore to raw, on the medium / qemu-img convert -O raw"),
            "restore-cpu": Target(1.0, "CPU time, the same"),
            "restore-size": Target(1.05, "blocks allocated, the same"),
        },
        _restore,
    ),
)

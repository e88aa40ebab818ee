"""Our export of a local raw disk beside qemu-img doing the same job. Targets: the prototype's figures, plus noise."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Cost, Target, alternating, cost_of
from tests.benchmarks.sample_disk import sample_disk

GIB = 1 << 30
_OURS = Path(__file__).with_name("export_raw.py")
_SHA256 = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"
_MISSING = "qemu-img is not installed (Debian: qemu-utils), so there is nothing to compare with."


def _compact(work: Path, quick: bool) -> Mapping[str, float]:
    ours, theirs = work / "ours.vmdk", work / "theirs.vmdk"
    raw = sample_disk(work / "disk.raw", GIB // 2 if quick else 4 * GIB)
    qemu_img = _qemu_img()
    costs = alternating(
        1 if quick else 2,
        {
            "ours": partial(_fresh, ours, [[sys.executable, _OURS, raw, ours, "compact"]]),
            "theirs": partial(
                _fresh,
                theirs,
                [[qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, theirs]],
            ),
        },
    )
    cost_of([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, ours])
    return {
        "compact-wall": costs["ours"].wall / costs["theirs"].wall,
        "compact-cpu": costs["ours"].cpu / costs["theirs"].cpu,
        "compact-size": ours.stat().st_size / theirs.stat().st_size,
    }


def _flat(work: Path, quick: bool) -> Mapping[str, float]:
    """qemu-img past the page cache, as we write, and then SHA-256 of the file, which we have as well."""
    ours, theirs = work / "ours.vmdk", work / "theirs.raw"
    raw = sample_disk(work / "disk.raw", GIB // 2 if quick else 4 * GIB)
    qemu_img = _qemu_img()
    convert = [qemu_img, "convert", "-t", "none", "-f", "raw", "-O", "raw", raw, theirs]
    costs = alternating(
        1 if quick else 3,
        {
            "ours": partial(_fresh, work / "ours-flat.vmdk", [[sys.executable, _OURS, raw, ours, "flat"]]),
            "theirs": partial(_fresh, theirs, [convert, [sys.executable, "-c", _SHA256, theirs]]),
        },
    )
    cost_of([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, ours])
    allocated = (work / "ours-flat.vmdk").stat().st_blocks / theirs.stat().st_blocks
    return {
        "flat-wall": costs["ours"].wall / costs["theirs"].wall,
        "flat-cpu": costs["ours"].cpu / costs["theirs"].cpu,
        "flat-size": allocated,
    }


def _qemu_img() -> str:
    path = shutil.which("qemu-img")
    if path is None:
        raise FileNotFoundError(_MISSING)
    return path


def _fresh(target: Path, commands: Sequence[Sequence[str | Path]]) -> Cost:
    """The commands' cost together, none of it for throwing away what an earlier round left."""
    target.unlink(missing_ok=True)
    costs = [cost_of(command) for command in commands]
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


BENCHMARKS = (
    Benchmark(
        "export-compact",
        {
            "compact-wall": Target(0.07, "wall time of our compact export / qemu-img convert to streamOptimized"),
            "compact-cpu": Target(0.10, "CPU time, the same"),
            "compact-size": Target(1.08, "size of the file, the same"),
        },
        _compact,
    ),
    Benchmark(
        "export-flat",
        {
            "flat-wall": Target(
                1.0, "wall time of our flat export with SHA-256 / qemu-img convert -t none and SHA-256"
            ),
            "flat-cpu": Target(1.0, "CPU time, the same"),
            "flat-size": Target(1.02, "blocks allocated, the same"),
        },
        _flat,
    ),
)

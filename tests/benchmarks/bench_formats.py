"""Our uncompressed exports, SHA-256 included, beside the system's copiers; all end on the medium, not in the cache."""

import os
import random
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from engine.page_memory import private_memory
from tests.benchmarks.measure import Benchmark, Cost, Target, alternating, cost_of, fresh, program
from tests.benchmarks.sample_disk import GIB, sample_disk

_OURS = Path(__file__).with_name("export_raw.py")


def _formats(work: Path, quick: bool) -> Mapping[str, float]:
    raw = sample_disk(work / "disk.raw", GIB if quick else 6 * GIB)
    cp, nbdcopy, sync, qemu_img = (program(name) for name in ("cp", "nbdcopy", "sync", "qemu-img"))
    copied, flat, sparse = work / "copied.raw", work / "f.vmdk", work / "s.vmdk"
    sides = {
        "flat": partial(fresh, [flat, work / "f-flat.vmdk"], [[sys.executable, _OURS, raw, flat, "flat"]]),
        "sparse": partial(fresh, [sparse], [[sys.executable, _OURS, raw, sparse, "sparse"]]),
        "cp": partial(fresh, [copied], [[cp, "--sparse=always", raw, copied], [sync, copied]]),
        "nbdcopy": partial(fresh, [copied], [[nbdcopy, "--flush", raw, copied]]),
    }  # fmt: skip
    cost_of([nbdcopy, raw, copied])
    sides["device"] = partial(_bare_writes, work / "bare", copied.stat().st_blocks * 512)
    costs = alternating(1 if quick else 5, sides)
    for image in (flat, sparse):
        cost_of([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, image])
    faster = min(costs["cp"].wall, costs["nbdcopy"].wall)
    return {
        "flat-vs-copiers": costs["flat"].wall / faster,
        "sparse-vs-copiers": costs["sparse"].wall / faster,
        "device-vs-copiers": costs["device"].wall / faster,
    }


def _bare_writes(target: Path, size: int) -> Cost:
    """What the medium takes for as many bytes, of no matter what: nothing is read, nothing is hashed."""
    target.unlink(missing_ok=True)
    data = private_memory(4 << 20)
    data[:] = random.Random(1).randbytes(len(data))
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
    os.ftruncate(file, size)
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda at: os.pwrite(file, data, at), range(0, size, len(data))):
            pass
    os.fsync(file)
    wall = time.perf_counter() - began
    os.close(file)
    target.unlink()
    return Cost(wall, 0.0)


def _throttled(work: Path, quick: bool) -> Mapping[str, float]:
    """What is read at 60 MB/s takes at least that long; a second is allowed for the start and the end."""
    raw = sample_disk(work / "disk.raw", GIB // 2 if quick else 4 * GIB)
    read = raw.stat().st_blocks * 512
    ours, theirs, qemu_img = work / "ours.vmdk", work / "theirs.vmdk", program("qemu-img")
    cost_of([qemu_img, "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", "-f", "raw", raw, theirs])
    costs = alternating(
        1 if quick else 3, {"ours": partial(fresh, [ours], [[sys.executable, _OURS, raw, ours, "compact", "60"]])}
    )
    cost_of([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, ours])
    return {
        "throttled-wall": costs["ours"].wall / (read / 60e6 + 1),
        "throttled-size": ours.stat().st_size / theirs.stat().st_size,
    }


BENCHMARKS = (
    Benchmark(
        "export-uncompressed",
        {
            "flat-vs-copiers": Target(0.8, "wall time of flat, SHA-256 included / the faster of cp and nbdcopy"),
            "sparse-vs-copiers": Target(0.8, "wall time of sparse with SHA-256, the same"),
            "device-vs-copiers": Target(
                0.8, "the medium's own time for the same bytes, neither read nor hashed, the same"
            ),
        },
        _formats,
    ),
    Benchmark(
        "export-throttled",
        {
            "throttled-wall": Target(1.0, "wall time of compact from a source of 60 MB/s / the source's own + 1 s"),
            "throttled-size": Target(1.0, "size of the file / that of qemu-img's streamOptimized"),
        },
        _throttled,
    ),
)

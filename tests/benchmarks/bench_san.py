"""A disk read from its LUN, a loop device with a VMFS volume, beside dd that reads the same bytes with O_DIRECT."""

import mmap
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from engine.lab.lun_store import LunStore
from engine.transport.block_device import BlockDevice
from engine.transport.san.lun_lookup import DatastoreLuns, LunExtent, read_volume
from engine.transport.san.source import SanSource
from tests.benchmarks.measure import Benchmark, Cost, Target, alternating

MIB = 1 << 20
_READ = 2 * MIB
_NAME = "naa.600a0b80001234560000000000000021"


def _run(work: Path, quick: bool) -> Mapping[str, float]:
    capacity = (128 if quick else 1024) * MIB
    store = LunStore(work / "luns", work / "by-id", "bench", (_NAME,), 6)
    file = store.file("vm1/vm1-flat.vmdk", capacity)
    piece = random.Random(1).randbytes(16 * MIB)
    for at in range(0, capacity, len(piece)):
        file.write(piece, at)
    store.describe("vm1/vm1.vmdk", f'createType="vmfs"\nRW {capacity // 512} VMFS "vm1-flat.vmdk"\n')
    uuid = store.uuid
    store.close()
    with _loop(work / "luns" / f"{_NAME}.lun") as loop:
        device = BlockDevice(loop)
        luns = DatastoreLuns("bench", uuid, (LunExtent(_NAME, 1),))
        source = SanSource("[bench] vm1/vm1.vmdk", [device], lambda: read_volume(luns, [device]), frozen=False)
        places = [(extent.offset, extent.length) for extent in source.map.extents if extent.kind == "data"]
        sides = {
            f"{who}{threads}": partial(_in_threads, threads, read)
            for threads in (1, 4)
            for who, read in (("ours", partial(_ours, source)), ("dd", partial(_dd, loop, places)))
        }
        costs = alternating(1 if quick else 5, sides)
        device.close()
    return {f"san-{threads}": costs[f"ours{threads}"].wall / costs[f"dd{threads}"].wall for threads in (1, 4)}


def _in_threads(threads: int, read: Callable[[int, int], None]) -> Cost:
    """`read(part, parts)` in each thread; a part that fails fails the round."""
    failed: list[BaseException] = []

    def work(part: int) -> None:
        try:
            read(part, threads)
        except BaseException as error:
            failed.append(error)

    crew = [threading.Thread(target=work, args=(part,)) for part in range(threads)]
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if failed:
        raise failed[0]
    return Cost(time.perf_counter() - began, sum(os.times()[:4]) - cpu)


def _ours(source: SanSource, part: int, parts: int) -> None:
    buffer = memoryview(mmap.mmap(-1, _READ))
    share = source.capacity // parts
    for at in range(part * share, (part + 1) * share, _READ):
        source.read_into(at, buffer)


def _dd(loop: Path, places: list[tuple[int, int]], part: int, parts: int) -> None:
    """The same stretch of the device in reads of the same size: the disk lies there in one piece."""
    ((start, length),) = places
    share = length // parts
    skip = [f"skip={start + part * share}", f"count={share}", "iflag=direct,skip_bytes,count_bytes"]
    subprocess.run(["dd", f"if={loop}", "of=/dev/null", f"bs={_READ}", "status=none", *skip], check=True)


@contextmanager
def _loop(image: Path) -> Iterator[Path]:
    """A read-only loop device that passes O_DIRECT on to the file, where its file system can."""
    losetup = shutil.which("losetup") or "/usr/sbin/losetup"
    command = [losetup, "-f", "--show", "-r", "--direct-io=on", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"no loop device can be had (it takes root): {done.stderr.strip()}")
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run([losetup, "-d", str(device)], check=True)


BENCHMARKS = (
    Benchmark(
        "san",
        {
            "san-1": Target(1.1, "wall time of a disk read from its LUN (loop device) by one thread / dd iflag=direct"),
            "san-4": Target(1.1, "wall time, the same with 4 threads / 4 dd at once"),
        },
        _run,
    ),
)

"""Our side of the export benchmarks, as a program: `export_raw.py RAW TARGET compact|sparse|flat [MB-A-SECOND]`."""

import sys
import threading
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.cancel import CancelToken
from engine.image.flat import RawDisk
from engine.image.pipeline import ImageFormat, export


class Throttled(RawDisk):
    """A raw disk behind a link that carries `rate` bytes a second for all readers together."""

    def __init__(self, path: Path, rate: float) -> None:
        super().__init__(path)
        self._rate = rate
        self._lock = threading.Lock()
        self._free = time.monotonic()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        super().read_into(offset, buffer)
        with self._lock:
            self._free = max(self._free, time.monotonic()) + len(buffer) / self._rate
            arrives = self._free
        time.sleep(max(0.0, arrives - time.monotonic()))


def main() -> None:
    raw, target, kind, *rate = sys.argv[1:]
    source = Throttled(Path(raw), float(rate[0]) * 1e6) if rate else RawDisk(Path(raw))
    image = export(
        source,
        source.allocated(),
        Path(target),
        format=cast(ImageFormat, kind),
        threads=0,
        cancel=CancelToken(),
        progress=lambda _: None,
    )
    source.close()
    print(f"{image.seconds:.2f} s, bottleneck {image.bottleneck}, busy {image.busy}, levels {image.levels}")


if __name__ == "__main__":
    main()

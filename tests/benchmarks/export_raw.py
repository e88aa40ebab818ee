"""Our side of the export benchmarks, as a program: `export_raw.py RAW TARGET compact|flat`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.cancel import CancelToken
from engine.image.flat import RawDisk
from engine.image.pipeline import export


def main() -> None:
    raw, target, kind = sys.argv[1:]
    source = RawDisk(Path(raw))
    image = export(
        source,
        source.allocated(),
        Path(target),
        format="flat" if kind == "flat" else "compact",
        threads=0,
        cancel=CancelToken(),
        progress=lambda _: None,
    )
    source.close()
    print(f"{image.seconds:.2f} s, bottleneck {image.bottleneck}, busy {image.busy}")


if __name__ == "__main__":
    main()

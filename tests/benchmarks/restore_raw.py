"""Our side of the restore benchmark, as a program: `restore_raw.py COMPACT TARGET`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.cancel import CancelToken
from engine.image.chain import open_disk
from engine.image.raw_file import write_raw


def main() -> None:
    image, target = map(Path, sys.argv[1:])
    disk = open_disk(image)
    write_raw(disk, disk.allocated(), target, threads=0, cancel=CancelToken(), progress=lambda _: None)
    disk.close()


if __name__ == "__main__":
    main()

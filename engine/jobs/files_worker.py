"""A process of its own that looks into a point's disks for the console: what is on them is a guest's, read by libraries
in C. It takes a path a line on its standard input, as JSON, and answers each with a line; it ends when its input does.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.errors import VcbError
from engine.files.listing import list_files, list_volumes
from engine.files.point_volumes import PointVolumes
from engine.points.restore_files import chosen_disks, find_point, require_disks
from engine.secret import redact


def main() -> int:
    """`sys.argv[1]` is the directory of the point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the console's
    volumes: PointVolumes | None = None
    try:
        for line in sys.stdin:
            try:
                if volumes is None:
                    volumes = _opened(Path(sys.argv[1]))
                answer = _look(volumes, json.loads(line))
            except VcbError as error:
                answer = {"failed": error.to_json() | {"sentence": redact(error.sentence)}}
            print(json.dumps(answer), flush=True)  # noqa: T201 - its only voice
    finally:
        if volumes is not None:
            volumes.close()
    return 0


def _opened(directory: Path) -> PointVolumes:
    point = find_point(str(directory), directory)
    require_disks(point)
    return PointVolumes(point, chosen_disks(point, ()))


def _look(volumes: PointVolumes, path: str) -> dict[str, Any]:
    cancel = CancelToken()
    return (list_files(volumes, path, cancel) if path else list_volumes(volumes, cancel)).to_json()


if __name__ == "__main__":
    sys.exit(main())

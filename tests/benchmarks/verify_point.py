"""Our side of the verify benchmark, as a program: `verify_point.py POINT`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.cancel import CancelToken
from engine.flow.point_check import PointChecks
from engine.points.proof import Depth
from engine.reporter import silent


def main() -> int:
    checked = PointChecks(Depth.GRAINS, CancelToken(), silent()).check(Path(sys.argv[1]))
    return len(checked.findings)


if __name__ == "__main__":
    sys.exit(main())

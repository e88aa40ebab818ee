"""`python -m tests.endurance`: a fortnight of backups with random faults and kills; prints what is left of it."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.endurance.fortnight import Fortnight


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--nights", type=int, default=14)
    parser.add_argument("--vms", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--troubled", type=float, default=0.3, help="share of the jobs to which something happens")
    given = parser.parse_args()
    began = time.monotonic()
    fortnight = Fortnight(given.nights, given.vms, given.seed, given.troubled)
    with tempfile.TemporaryDirectory(prefix="vcb-endurance-", ignore_cleanup_errors=True) as directory:
        fortnight.run(Path(directory))
    print(f"{given.nights} nights of {given.vms} VMs, seed {given.seed}, in {time.monotonic() - began:.0f} s:")
    for what, count in fortnight.counts.most_common():
        print(f"{count:7,}  {what}")
    for problem in fortnight.problems:
        print(f"F {problem}")
    print(f"{len(fortnight.problems)} problems")
    return 1 if fortnight.problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""One of several writers of the same file: `python -m tests.config.rival_saves FILE STATE NAME ROUNDS`.

Raises the number behind NAME by one in each round. A conflict is answered as an operator would: by the merge that is
offered, or by reading again. Prints "ready" when it has read the file, waits for a line on stdin, and ends with a line
of JSON.
"""

import json
import re
import sys
from pathlib import Path

from engine.config.merging import three_way
from engine.config.saving import read, save
from engine.errors import BusyError, ConflictError
from engine.state_directory import StateDirectory


def main(file: Path, state: StateDirectory, name: str, rounds: int) -> None:
    told = {"ConflictError": 0, "BusyError": 0, "versions": []}
    data, base = read(file)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(rounds):
        mine = raised(data, name)
        while True:
            try:
                saved = save(file, mine, base=base, state=state, what=f"{name} raised")
                break
            except BusyError:
                told["BusyError"] += 1
            except ConflictError as error:
                told["ConflictError"] += 1
                view = three_way(error.base, error.mine, error.disk or b"")
                data, base = read(file)
                mine = view.merged if view.merged and error.disk == data else raised(data, name)
        told["versions"].append(saved.version)
        data, base = saved.base.data, saved.base
    print(json.dumps(told))


def raised(data: bytes, name: str) -> bytes:
    return re.sub(rb"(?m)^(%s=)(\d+)" % name.encode(), lambda found: b"%s%d" % (found[1], int(found[2]) + 1), data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), StateDirectory(Path(sys.argv[2])), sys.argv[3], int(sys.argv[4]))

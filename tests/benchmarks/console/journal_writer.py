"""A job that does nothing but write its journal, at a steady rate:
`python -m tests.benchmarks.console.journal_writer STATE RATE SECONDS`.

It looks like a running job of the state directory STATE. Its records are of LOGLEVEL 3; the last one's text is
`the last of N`.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

from engine.config.options import Settings
from engine.events import LogRecord
from engine.jobs.job import LOCK
from engine.jobs.journal import Writer
from engine.jobs.request import Act, Request
from engine.loglevel import LogLevel
from engine.process_identity import ProcessIdentity
from engine.state_directory import StateDirectory

JOB = "20260101-000000-bench"
_STEP = 0.01


def main(state: Path, rate: int, seconds: float) -> None:
    directory = StateDirectory(state).job(JOB)
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, str(ProcessIdentity.mine()).encode())
    writer = Writer(directory)
    Request(JOB, Act.BACKUP, ("name:web01",), Settings.of()).save(directory)
    began, written, total = time.monotonic(), 0, int(rate * seconds)
    while written < total:
        due = min(total, int((time.monotonic() - began) * rate))
        for number in range(written, due):
            text = f"extent {number * 65536:>16} +{number % 97 * 4096:<8} of [datastore1] web{number % 40:02}/web.vmdk"
            writer.append(LogRecord(at=time.time(), vm="web01", level=LogLevel.STAGE, text=text), 1)
        written = due
        time.sleep(_STEP)
    writer.append(LogRecord(at=time.time(), vm="web01", level=LogLevel.STAGE, text=f"the last of {total}"), 1)
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

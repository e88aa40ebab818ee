"""The lab of a demo, kept as long as somebody needs it: a console that shows it, or a job that reads from it.

`python -m tui.cli.lab_keeper DIRECTORY` is a process in a session of its own, so that leaving or losing the console
takes the lab from no running job. `kept_lab` starts it, or finds the one that an earlier console left running.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engine
from engine.config.secrets import child_environment
from engine.errors import VcbError
from engine.state_directory import StateDirectory
from tui.cli.lab_process import LabProcess

_KEEPER = "keeper.lock"
_CONSOLES = "consoles.lock"
_CONNECTION = "connection.json"
_LOOK_EVERY = 0.5


@contextmanager
def kept_lab(directory: Path) -> Iterator[dict[str, Any]]:
    """The options that lead to the lab in `directory`, by name; the lab stays at least until the block ends, and with
    it until the jobs of this state directory have ended. Raises VcbError when it does not start."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / _CONSOLES).open("a") as consoles:
        fcntl.flock(consoles, fcntl.LOCK_SH)  # waits while a keeper is just leaving
        if not _held(directory / _KEEPER):
            _start(directory)
        yield json.loads((directory / _CONNECTION).read_text())


def _held(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _start(directory: Path) -> None:
    with (directory / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "tui.cli.lab_keeper", str(directory.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=Path(engine.__file__).parents[1],
            env={**child_environment(), "VCB_STATE_DIR": str(StateDirectory.default().root)},
            start_new_session=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout:
        said = keeper.stdout.readline()
    if said.strip() != "ready":
        last = (directory / "keeper.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise VcbError("The embedded vSphere did not start.", hint=" ".join(last) or f"See {directory}.")
    threading.Thread(target=keeper.wait, name="keeper", daemon=True).start()  # no zombie when it ends before us


def keep(directory: Path) -> int:
    """Runs the lab until no console and no job is left. Returns the exit code."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with (directory / _KEEPER).open("a") as keeper, (directory / _CONSOLES).open("a") as consoles:
        fcntl.flock(keeper, fcntl.LOCK_EX)
        with LabProcess(directory / "lab", luns=True) as lab:
            _write_private(directory / _CONNECTION, json.dumps(lab.settings(), default=str))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            while not stopped.wait(_LOOK_EVERY):
                if jobs_run():
                    continue
                try:
                    fcntl.flock(consoles, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                break  # the lock stays taken until the lab is down: a console that comes now waits, and starts anew
    return 0


def jobs_run() -> bool:
    """Whether a job of this state directory is at work."""
    from engine.jobs import supervisor  # noqa: PLC0415 - the consoles that start a keeper have no need of it

    return any(job.alive for job in supervisor.jobs())


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))

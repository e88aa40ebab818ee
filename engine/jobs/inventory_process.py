"""The inventory worker as its starter sees it: a child with pipes on both ends. Imports no pyVmomi."""

import json
import subprocess
import sys
from pathlib import Path
from typing import IO

import engine
from engine.config.options import Settings
from engine.config.secrets import child_environment
from engine.errors import VcbError
from engine.jobs import plain_settings
from engine.jobs.inventory_rows import Asked, encode
from engine.secret import redact
from engine.state_directory import private_directory


class InventoryProcess:
    """A running worker. `output` is what it says, one message a line (engine.jobs.inventory_rows.decode).

    It runs in its own session, so that Ctrl-C on the terminal doesn't reach it, and ends when this process ends,
    however that happens."""

    def __init__(self, settings: Settings, errors: Path) -> None:
        """`errors` takes what a defect makes it print. Raises VcbError when no process can be started."""
        self._errors = errors
        command = [sys.executable, "-m", "engine.jobs.inventory_worker"]
        try:
            private_directory(errors.parent)
            with plain_settings.password_pipe(settings.PASSWORD) as passed, errors.open("wb") as file:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [*command, *passed.words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    cwd=Path(engine.__file__).parents[1],
                    env=child_environment(),
                    start_new_session=True,
                    pass_fds=passed.descriptors,
                )
        except OSError as error:
            raise VcbError(f"The inventory worker can't be started: {error.strerror or error}") from error
        assert self._process.stdout is not None
        self.output: IO[bytes] = self._process.stdout
        self._write(json.dumps(plain_settings.to_plain(settings)).encode())

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Asked) -> None:
        """Sends a request; one that has ended hears nothing, and its output tells that it is gone."""
        self._write(encode(request))

    def last_words(self) -> str:
        """The last line that it wrote to its standard error, once it has ended; "" when there is none."""
        try:
            lines = self._errors.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return redact(lines[-1]) if lines else ""

    def close(self) -> None:
        """Lets it log out and end by itself; does not wait for that. Safe twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def reap(self) -> int | None:
        """Its exit code, None while it runs; an ended one is no zombie any more."""
        return self._process.poll()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

"""The files worker as the console sees it: a child with pipes on both ends, which ends with its starter."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import engine
from engine.config.secrets import child_environment
from engine.errors import ImageError, VcbError


class FilesProcess:
    """Looks into the point of one directory. Started by the first look."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def look(self, path: str) -> dict[str, Any]:
        """What `VolumeList` ("" as path) or `FileList` (engine.files.listing) tell in JSON. It waits, so it is not
        for the thread of a user interface. Raises VcbError: what the worker could not do, or that it is gone."""
        with self._lock:
            process = self._process = self._process or self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(path).encode() + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except (BrokenPipeError, ValueError):
                line = b""
            if not line:
                raise self._gone(process)
            answer = json.loads(line)
        if failed := answer.get("failed"):
            raise ImageError(failed["sentence"], fault=failed["fault"], hint=failed["hint"])
        return answer

    def close(self) -> None:
        """Ends it, in the midst of a look too. Safe twice."""
        self._closed = True
        process = self._process  # a look that sees its end forgets it meanwhile
        if process is not None:
            process.kill()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ImageError("The look into the point was closed.")
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "engine.jobs.files_worker", str(self._directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(engine.__file__).parents[1],
                env=child_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise VcbError(f"The files worker can't be started: {error.strerror or error}.") from error

    def _gone(self, process: subprocess.Popen[bytes]) -> VcbError:
        """A new one is started by the next look."""
        self._process = None
        code = process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return ImageError(
            f"The process that read the disks ended {how}: what lies there was too much for the reader.",
            hint="vcb serve gives the disks to other tools.",
        )

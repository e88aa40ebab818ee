"""The process that holds the console's vCenter session: `python -m engine.jobs.inventory_worker [--password FD]`.

It reads one line of settings (engine.jobs.plain_settings) and then requests from its standard input, and writes
messages (engine.jobs.inventory_rows) to its standard output. It ends when the console does: its input is at its end.

A pipe, and no file as for the events of jobs: nothing here must outlive the console, days of changes would fill a disk,
and a console that stalls shall be felt: the server keeps what changed meanwhile and tells it as one.
"""

import argparse
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import VcbError
from engine.flow import job
from engine.jobs import plain_settings
from engine.jobs.inventory_follower import Follower
from engine.jobs.inventory_rows import Asked, Planned, Trouble, Wire, asked, encode
from engine.jobs.points_follower import PointsFollower
from engine.process_privacy import keep_memory_private
from engine.reporter import silent
from engine.secret import redact
from engine.state_directory import StateDirectory

_FAREWELL = 3.0
"""Seconds that a logout may take once the console is gone."""


class InventoryWorker:
    """Follows one server and one BACKUPROOT, and answers requests, until its input ends."""

    def __init__(self, settings: Settings, out: IO[bytes]) -> None:
        state = StateDirectory.default()
        self._settings, self._out, self._lock = settings, out, threading.Lock()
        self._follower = Follower(settings, state.proxy_id, self._say, silent())
        self._points = PointsFollower(settings.BACKUPROOT, state, self._say)
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")

    def run(self, lines: Iterable[bytes]) -> None:
        """Until `lines` ends."""
        for name, work in (("inventory", self._follower.run), ("points", self._points.run)):
            threading.Thread(target=_guarded, args=(work,), name=name, daemon=True).start()
        for line in lines:
            self._take(asked(line))
        self._close()

    def _take(self, request: Asked) -> None:
        match request.do:
            case "plan":
                self._planner.submit(_guarded, lambda: self._plan(request))
            case "reconnect":
                self._follower.reconnect()
            case "points":
                self._points.look_now()

    def _plan(self, request: Asked) -> None:
        plans, troubles = [], {}
        for spec in request.specs:
            try:
                plans.append(self._plan_of(spec, request))
            except VcbError as error:
                troubles[spec] = Trouble.of(error)
        self._say(Planned(request=request.request, plans=tuple(plans), troubles=troubles))

    def _plan_of(self, spec: str, request: Asked) -> dict[str, object]:
        session = self._follower.session
        if session is None:
            trouble = self._follower.status.trouble
            raise VcbError(
                "There is no connection to vCenter just now, and no plan without one.",
                hint=trouble.sentence if trouble else "It is being made.",
            )
        settings = plain_settings.from_plain(request.settings) if request.settings else self._settings
        return job.plan_in(session, spec, settings, silent(), CancelToken()).to_json()

    def _say(self, message: Wire) -> None:
        line = encode(message) + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def _close(self) -> None:
        """The console is gone, or wants us gone. The server is told, if it listens."""
        self._points.close()
        leaving = threading.Thread(target=self._follower.close, name="logout", daemon=True)
        leaving.start()
        leaving.join(_FAREWELL)


def _guarded(work: Callable[[], object]) -> None:
    """A thread that dies of a defect takes the process along: the console sees that, and says so."""
    try:
        work()
    except BrokenPipeError:
        os._exit(0)
    except BaseException as defect:
        print(redact("".join(traceback.format_exception(defect))), file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The process around the worker."""
    parser = argparse.ArgumentParser(prog="engine.jobs.inventory_worker")
    parser.add_argument("--password", type=int)
    given = parser.parse_args(arguments)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    os.chdir("/")
    keep_memory_private()
    settings = plain_settings.from_plain(json.loads(sys.stdin.buffer.readline()))
    settings = plain_settings.with_password(settings, given.password)
    InventoryWorker(settings, sys.stdout.buffer).run(sys.stdin.buffer)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread may still wait for the server, and must not hold the process

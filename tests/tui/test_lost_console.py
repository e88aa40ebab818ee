"""The console dies in mid-job, by SIGKILL or by a cut line: the job goes on, and the next console shows all of it."""

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from engine.config.options import Settings
from engine.events import LogRecord, StageStarted
from engine.jobs import supervisor
from engine.jobs.job import Job
from tests.jobs.conftest import Rig, rig, until  # noqa: F401 - a fixture
from tests.tui.ptylab import PtyLab
from tests.tui.replay import Replay
from tui.models.event_text import words

SIZE = (120, 40)


class Seen:
    """A console on a terminal, and what that shows."""

    def __init__(self, rig: Rig) -> None:  # noqa: F811
        environ = {"VCB_STATE_DIR": os.environ["VCB_STATE_DIR"], "VCB_CONFIG": str(rig.config), "HOME": str(rig.root)}
        self.lab = PtyLab([sys.executable, "-m", "tui.cli.app"], size=SIZE, environ=environ)
        self._screen, self._fed = Replay(*SIZE), 0

    def text(self) -> str:
        data = bytes(self.lab.output[self._fed :])
        self._fed += len(data)
        self._screen.feed(data.decode(errors="replace"))
        return "\n".join("".join(str(cell[0]) for cell in self._screen.row(y)) for y in range(SIZE[1]))

    def until_gone(self, shown: str) -> None:
        end = time.monotonic() + 60
        while shown in (text := self.text()):
            assert time.monotonic() < end, text
            self.lab.settle(0.05, 0.2)

    def until(self, *shown: str) -> str:
        """Until all of this is on the screen."""
        end = time.monotonic() + 60
        while not all(one in (text := self.text()) for one in shown):
            assert self.lab.alive, text
            assert time.monotonic() < end, text
            self.lab.settle(0.05, 0.2)
        return text


def cut(lab: PtyLab) -> None:
    lab.hang_up()


def kill(lab: PtyLab) -> None:
    lab.signal(signal.SIGKILL)


@pytest.mark.parametrize("end", [kill, pytest.param(cut, marks=pytest.mark.exhaustive)])
def test_the_job_ends_well_and_the_next_console_shows_everything(rig: Rig, end: Callable[[PtyLab], None]) -> None:  # noqa: F811
    rig.hold()
    first = Seen(rig)
    try:
        first.until("web01", "Welcome to vcb", "Esc Close")
        first.lab.send(b"\x1b")
        first.until_gone("Welcome to vcb")
        first.lab.send(b"/web01")
        first.until("1 of 3")
        first.lab.send(b"\r")
        first.until("b Backup")
        first.lab.send(b"b")
        first.until("Back up", "Start")
        first.lab.send(b"\r")
        job: Job = until(lambda: next(iter(supervisor.jobs()), None))
        until(lambda: any(part.stage == "open disks" for part in job.state.parts))  # reads samples, which are held
        end(first.lab)
        assert first.lab.wait_end() is not None
        assert job.alive
    finally:
        first.lab.close()
    second = Seen(rig)
    try:
        second.until("web01 running", "following")
        rig.let_go()
        until(lambda: not job.alive)
        assert job.state.state == "success"
        second.until("web01 success", "the job ended: success")
        entries = list(job.reader(trace=False).drain())
        assert [entry.seq for entry in job.reader().drain()] == list(range(1, entries[-1].seq + 1)), "no line is lost"
        second.lab.send(b"3z")
        second.lab.settle(0.2)
        second.lab.send(b"\x1b[H")
        level = Settings.of().LOGLEVEL
        said = [
            words(entry.event)[:40]
            for entry in entries
            if isinstance(entry.event, StageStarted) is False
            and (not isinstance(entry.event, LogRecord) or entry.event.level <= level)
        ]
        second.until(*said[:8])
    finally:
        second.lab.close()

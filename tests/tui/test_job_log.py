"""The pane "Job log": every key, on jobs that other processes write."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from engine.config.options import Settings
from engine.events import (
    DiskEnded,
    DiskProgress,
    DiskStarted,
    Event,
    JobEnded,
    LogRecord,
    Result,
    StageEnded,
    StageStarted,
)
from engine.jobs import control
from engine.jobs.job import LOCK
from engine.jobs.request import Act, Request
from engine.jobs.state import FILE_NAME, JobState
from engine.process_identity import ProcessIdentity
from tests.tui.journals import write
from tui.app import VcbApp
from tui.commands import Registry
from tui.panes.job_log import JobLogPane
from tui.panes.pane import Pane
from tui.screens.confirm import Confirm
from tui.screens.event_detail import EventDetail
from tui.screens.jobs import JobsScreen, JobTable

BEGAN = 1.7e9


class MadeJob:
    """A job's directory, without a worker: what one would have written."""

    def __init__(self, jobs: Path, job_id: str, *subjects: str) -> None:
        self.directory = jobs / job_id
        self.directory.mkdir(parents=True)
        request = Request(job_id, Act.BACKUP, subjects or ("name:web01",), Settings.of())
        request.save(self.directory)
        self.state = JobState.of(request)
        self.state.started = BEGAN
        self._seq = 0

    def says(self, *events: Event, part: int = 1) -> None:
        write(self.directory, [(event, part) for event in events], first=self._seq + 1)
        for event in events:
            self.state.follow(event, part)
        self._seq += len(events)
        fresh = self.directory / f"{FILE_NAME}.new"
        fresh.write_bytes(msgspec.json.encode(self.state))
        fresh.replace(self.directory / FILE_NAME)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """As if its worker ran: the lock is held, and by this process."""
        fd = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.pwrite(fd, str(ProcessIdentity.mine()).encode(), 0)
            self.state.state = "running"
            self.says()
            yield
        finally:
            os.close(fd)


def log(level: int, text: str, **more: str) -> LogRecord:
    return LogRecord(at=BEGAN + 61, level=level, text=text, stage=more.pop("stage", "export"), **more)


def past(jobs: Path, job_id: str = "20260101T000000Z-aaaaaa") -> MadeJob:
    """An ended job with lines of every level."""
    job = MadeJob(jobs, job_id)
    job.says(StageStarted(at=BEGAN, stage="export", vm="web01"))
    for number in range(40):
        job.says(log(number % 7, f"record {number}", disk="scsi0:1" if number == 20 else ""))
    job.says(
        DiskStarted(at=BEGAN, disk="scsi0:1", transport="nbdssl", capacity=1 << 30, to_read=1 << 20),
        DiskEnded(at=BEGAN + 9, disk="scsi0:1", read=1 << 20, stored=1 << 19, seconds=2.0),
        StageEnded(at=BEGAN + 62, stage="export", seconds=62.0),
        Result(at=BEGAN + 63, state="success", sentence="Everything is there."),
    )
    job.says(JobEnded(at=BEGAN + 63, state="success"), part=0)
    return job


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return tmp_path / "state" / "jobs"


class Console:
    """The console with the pane focused, and what it shows."""

    def __init__(self, app: VcbApp, pilot) -> None:
        self.app, self.pilot = app, pilot
        self.pane = app.screen.query_one(JobLogPane)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settled()

    async def settled(self) -> None:
        await self.pilot.pause()
        while self.pane.window and self.pane.window.busy:
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def until(self, true) -> None:
        for _ in range(500):
            if true():
                await self.settled()
                return
            await self.pilot.pause(0.02)
        pytest.fail(f"it never happened; note: {self.pane.note}; lines: {self.lines}")

    @property
    def lines(self) -> list[str]:
        view = self.pane.view
        return [view.render_line(y).text[:-1].rstrip() for y in range(view.size.height)]

    @property
    def texts(self) -> list[str]:
        return [line for line in self.lines if line]

    @property
    def current(self) -> str:
        return next(line for line in self.lines if line.startswith("▌"))

    @property
    def said(self) -> list[str]:
        return [notification.message for notification in self.app._notifications]


class OtherPane(Pane):
    pane_id, pane_title, purpose = "inventory", "Other", "Nothing."


class OneMore(OtherPane):
    pane_id = "config"


@asynccontextmanager
async def console(size: tuple[int, int] = (100, 40)):
    app = VcbApp(Settings.of(), panes=(OtherPane, OneMore, JobLogPane))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        shown = Console(app, pilot)
        shown.pane.focus()
        await pilot.pause()
        yield shown
        await pilot.press("escape")


@asynccontextmanager
async def with_past(jobs: Path, size: tuple[int, int] = (100, 40)):
    past(jobs)
    async with console(size) as shown:
        await shown.until(lambda: shown.texts)
        yield shown


async def test_no_job_yet(jobs):
    async with console() as shown:
        await shown.press("c", "e", "enter", "y", "m", "o")
        assert "There is no job yet." in shown.said
        await shown.press("J")
        assert isinstance(shown.app.screen, JobsScreen)
        await shown.press("enter", "c", "escape")
        assert not isinstance(shown.app.screen, JobsScreen)


async def test_a_past_job_is_shown_from_its_end_in_columns(jobs):
    async with with_past(jobs) as shown:
        assert shown.texts[-1].split(None, 2) == ["22:14:23", "✓", "the job ended: success"]
        assert [line for line in shown.texts if "export: ok, 1 min 02 s" in line]
        assert "web01 success" in shown.pane.note
        assert shown.pane.note.endswith("at the end")


@pytest.mark.parametrize(
    "level", [0, 3, 6, *(pytest.param(level, marks=pytest.mark.exhaustive) for level in (1, 2, 4, 5))]
)
async def test_level_keys_show_up_to_that_level(jobs, level):
    async with with_past(jobs, (100, 80)) as shown:
        await shown.press(str(level), "home")
        seen = [int(line.rsplit(None, 1)[1]) % 7 for line in shown.texts if "record" in line]
        assert set(seen) == set(range(level + 1))
        assert f"level {level}" in shown.pane.note


async def test_moving_up_stands_still_and_counts_what_comes(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb")
    with job.alive():
        job.says(*(log(3, f"record {number}") for number in range(60)))
        async with console() as shown:
            await shown.until(lambda: "record 59" in "".join(shown.lines))
            assert shown.pane.note.endswith("following")
            job.says(log(3, "record 60"))
            await shown.until(lambda: "record 60" in "".join(shown.lines))
            await shown.press("up", "k")
            before = shown.lines
            job.says(log(3, "record 61"), log(6, "hidden"), log(3, "record 62"))
            await shown.until(lambda: "2 new" in shown.pane.note)
            assert [line[1:] for line in shown.lines] == [line[1:] for line in before]
            await shown.press("f")
            assert "record 62" in shown.texts[-1]
            assert shown.pane.note.endswith("following")


async def test_motions(jobs):
    async with with_past(jobs) as shown:
        await shown.press("6")
        height = shown.pane.view.size.height
        for keys in (("home",), ("end", "g")):
            await shown.press(*keys)
            assert "started" in shown.lines[0]
            assert shown.lines[0].startswith("▌")
        await shown.press("down", "j")
        assert shown.lines[2].startswith("▌")
        await shown.press("pagedown")
        first = shown.lines[0]
        assert first.endswith(f"record {height - 2}")
        await shown.press("pageup")
        assert "started" in shown.lines[0]
        await shown.press("ctrl+d", "ctrl+u")
        assert "started" in shown.lines[0]
        await shown.press("G")
        assert "the job ended" in shown.texts[-1]


async def test_search_goes_upward_and_marks_what_matched(jobs):
    async with with_past(jobs) as shown:
        await shown.press("6", "slash", *"record 1.$", "enter")
        assert shown.pane.has_focus
        assert shown.current.endswith("record 19")
        view = shown.pane.view
        painted = [segment for y in range(view.size.height) for segment in view.render_line(y)]
        matched = next(segment for segment in painted if segment.text == "record 19")
        assert matched.style
        assert matched.style.underline, "not by colour alone"
        await shown.press("N")
        assert shown.current.endswith("record 18")
        await shown.press("n")
        assert shown.current.endswith("record 19")
        await shown.press("n")
        assert "no match that way" in shown.pane.note
        await shown.press("escape", "n")
        assert "Nothing has been searched for: / asks for it." in shown.said


async def test_a_broken_pattern_is_told(jobs):
    async with with_past(jobs) as shown:
        await shown.press("slash", "(", "enter")
        assert any("no regular expression" in text for text in shown.said)
        await shown.press("slash", "escape")
        assert shown.pane.has_focus


async def test_errors_are_jumped_to(jobs):
    async with with_past(jobs) as shown:
        await shown.press("0", "E")
        assert shown.current.endswith("record 36")
        await shown.press("E")
        assert shown.current.endswith("record 35")
        await shown.press("e")
        assert shown.current.endswith("record 36")


async def test_times_are_absolute_or_since_the_start(jobs):
    async with with_past(jobs) as shown:
        assert shown.texts[-1].startswith(" 22:14:23 ")
        await shown.press("t")
        assert shown.texts[-1].startswith(" +01:03.0 ")
        await shown.press("t")
        assert shown.texts[-1].startswith(" 22:14:23 ")


async def test_folding(jobs):
    async with with_past(jobs) as shown:
        await shown.press("6", "O")
        assert not any("record 39" in line for line in shown.lines)
        assert any("record 37" in line for line in shown.lines), "warnings stay"
        assert any("export: ok" in line for line in shown.lines)
        await shown.press("O")
        assert any("record 39" in line for line in shown.lines)
        await shown.press("up", "up", "o")
        assert not any("record 39" in line for line in shown.lines)
        await shown.press("escape")
        assert any("record 39" in line for line in shown.lines)
        await shown.press("G", "o")
        assert "This line belongs to no stage." in shown.said


async def test_one_disk_one_vm(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb", "name:web01", "name:db01")
    job.says(
        log(3, "of web", vm="web01", disk="scsi0:1"),
        DiskStarted(disk="scsi0:1", transport="nbd", capacity=9, to_read=9),
    )
    job.says(log(3, "of db", vm="db01"), part=2)
    job.says(JobEnded(state="success"), part=0)
    async with console() as shown:
        await shown.until(lambda: len(shown.texts) == 4)
        assert "web01" in shown.texts[0]
        await shown.press("v")
        assert "of db" not in "".join(shown.texts)
        assert "web01 ·" in shown.pane.note
        await shown.press("v")
        assert "of web" not in "".join(shown.texts)
        assert "of db" in "".join(shown.texts)
        await shown.press("v")
        assert len(shown.texts) == 4
        await shown.press("d")
        assert len(shown.texts) == 2
        await shown.press("d")
        assert len(shown.texts) == 4


async def test_one_vm_is_no_choice(jobs):
    async with with_past(jobs) as shown:
        await shown.press("v")
        assert "This job has one VM." in shown.said
        await shown.press("d")
        assert all("scsi0:1" in line for line in shown.texts if "ended" not in line)


async def test_long_lines_wrap_or_slide(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb")
    job.says(log(3, "start " + "x" * 200 + " end"))
    async with console() as shown:
        await shown.until(lambda: shown.texts)
        assert not any("end" in line for line in shown.texts)
        await shown.press("w")
        assert "end" in shown.texts[-1]
        assert len(shown.texts) > 1
        await shown.press("w", *["right"] * 9)
        assert "end" in shown.texts[-1]
        await shown.press("left")
        assert shown.pane.view.left == 128


async def test_the_whole_event(jobs):
    async with with_past(jobs) as shown:
        await shown.press("up", "enter")
        assert isinstance(shown.app.screen, EventDetail)
        await shown.press("y", "escape")
        assert any("clipboard" in text for text in shown.said)


async def test_marking_and_copying(jobs, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(VcbApp, "copy", lambda app, text: sent.append(text) or "Sent.")
    async with with_past(jobs) as shown:
        await shown.press("6", "home", "down", "m", "down", "down", "y")
        lines = sent[0].splitlines()
        assert [line.rsplit(None, 2)[-1] for line in lines] == ["0", "1", "2"]
        assert [line[0] for line in shown.lines[:5]] == [" ", "│", "│", "│", " "]
        assert "marking" in shown.pane.note
        await shown.press("escape", "space", "space", "y")
        assert len(sent[1].splitlines()) == 1


async def test_saving_never_overwrites(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with with_past(jobs) as shown:
        await shown.press("1", "s", "enter")
        path = tmp_path / "20260101T000000Z-aaaaaa.log"
        await shown.until(path.exists)
        await shown.until(lambda: any("saved to" in text for text in shown.said))
        lines = path.read_text().splitlines()
        assert len(lines) == 14
        assert lines[0].endswith("record 0")
        path.write_text("mine")
        await shown.press("s", "enter")
        await shown.until(lambda: any("exists already" in text for text in shown.said))
        assert path.read_text() == "mine"


async def test_no_control_character_reaches_the_terminal(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb", "name:web\x1b[2J01", "name:\u202eb")
    job.says(log(3, "bad \x1b]0;title\x07 \u202etxt \u009b31m", disk="\x1b[1m", vm="web\x1b[2J01"))
    job.says(
        StageStarted(at=BEGAN, stage="\x1b[2Jexport"), DiskStarted(disk="\x1b[5m", transport="x", capacity=1, to_read=1)
    )
    async with console() as shown:
        await shown.until(lambda: len(shown.texts) >= 2)
        await shown.press("6", "enter")
        await shown.press("escape", "J")
        text = shown.app.export_screenshot() + "".join(
            strip.text for screen in shown.app.screen_stack for strip in screen._compositor.render_strips()
        )
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\x9b" not in text
        assert "x1b" in "".join(shown.lines)


async def test_a_job_that_starts_elsewhere_appears(jobs):
    async with with_past(jobs) as shown:
        job = MadeJob(jobs, "20260102T000000Z-bbbbbb", "name:db01")
        with job.alive():
            job.says(log(3, "here I am", vm="db01"))
            await shown.until(lambda: "here I am" in "".join(shown.lines))
            assert "db01 running" in shown.pane.note
            await shown.press("less_than_sign")
            await shown.until(lambda: "the job ended" in "".join(shown.lines))
            await shown.press("less_than_sign")
            assert "This is the oldest job." in shown.said
            await shown.press("greater_than_sign")
            await shown.until(lambda: "here I am" in "".join(shown.lines))


@pytest.mark.parametrize("gone", ["#timeline", "LogView"])
async def test_news_that_come_while_the_console_is_left_are_no_defect(jobs, gone):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb")
    with job.alive():
        job.says(log(3, "here I am"))
        async with console() as shown:
            await shown.until(lambda: "here I am" in "".join(shown.lines))
            pane = shown.pane
            await pane.query_one(gone).remove()
            job.says(log(3, "and still here"))
            pane.post_message(JobLogPane._Fed())
            await shown.pilot.pause(0.1)
            shown.app.exit()


async def test_the_timeline_tells_stages_disks_and_bottleneck(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb")
    gib = 1 << 30
    with job.alive():
        job.says(
            StageStarted(at=BEGAN, stage="lookup", vm="web01"),
            StageEnded(at=BEGAN + 2, stage="lookup", seconds=2.0),
            StageStarted(at=BEGAN + 2, stage="export"),
            DiskStarted(at=BEGAN + 2, disk="scsi0:0", transport="nbdssl", capacity=8 * gib, to_read=4 * gib),
            DiskProgress(at=BEGAN + 6, disk="scsi0:0", read=gib, to_read=4 * gib, stored=9, bottleneck="source"),
        )
        async with console((120, 60)) as shown:
            await shown.until(lambda: shown.pane.summary)
            timeline = shown.app.screen.query_one("#timeline")
            lines = [timeline.render_line(y).text.rstrip() for y in range(timeline.size.height)]
            assert "✓ lookup 0:02" in lines[0]
            assert "▶ export" in lines[0]
            figures = "25% of 4.0 GiB 256 MiB/s 0:12 left waits for reading"
            assert lines[1].split() == ["scsi0:0", "━" * 6 + "─" * 18, *figures.split()]
            assert shown.pane.summary == "web01: export 25%"
            job.says(DiskStarted(at=BEGAN + 6, disk="scsi0:1", transport="nbdssl", capacity=gib, to_read=gib))
            await shown.until(lambda: timeline.size.height == 3)
            await shown.pilot.resize_terminal(80, 14)
            await shown.until(lambda: timeline.size.height == 2)
            assert "2 disks" in timeline.render_line(1).text


async def test_loudness_and_cancel_reach_the_worker(jobs):
    job = MadeJob(jobs, "20260102T000000Z-bbbbbb")
    asked: list[dict] = []
    with job.alive():
        job.says(log(3, "running"))
        commands = {word: (lambda request: asked.append(request) or {}) for word in ("loglevel", "cancel")}
        server = control.ControlServer(job.directory, commands)
        try:
            async with console() as shown:
                await shown.until(lambda: shown.texts)
                await shown.press("L")
                await shown.until(lambda: asked)
                assert asked.pop() == {"do": "loglevel", "level": 6}
                assert "level 6" in shown.pane.note
                job.state.loglevel = 6
                job.says()
                await shown.until(lambda: shown.pane.row and shown.pane.row.loglevel == 6)
                await shown.press("L")
                await shown.until(lambda: asked)
                assert asked.pop() == {"do": "loglevel", "level": 3}
                await shown.press("c", "enter")
                await shown.press("c", "n")
                assert asked == []
                await shown.press("c", "y")
                await shown.until(lambda: asked)
                assert asked == [{"do": "cancel"}]
        finally:
            server.close()


async def test_a_past_job_is_neither_cancelled_nor_louder(jobs):
    async with with_past(jobs) as shown:
        await shown.press("c", "L")
        assert sum("does not run any more: success" in text for text in shown.said) == 2


async def test_the_list_of_jobs(jobs):
    past(jobs)
    dead = MadeJob(jobs, "20260103T000000Z-cccccc", "name:db01")
    dead.state.state = "running"
    dead.says(log(3, "I die"))
    running = MadeJob(jobs, "20260104T000000Z-dddddd", "name:web02")
    with running.alive():
        running.says(log(3, "I run"))
        async with console() as shown:
            await shown.until(lambda: "I run" in "".join(shown.lines))
            await shown.press("J")
            table = shown.app.screen.query_one(JobTable)
            lines = [table.render_line(y).text for y in range(1, 4)]
            assert [line[2:].split()[1] for line in lines] == ["running", "dead", "success"]
            assert [line[2] for line in lines] == ["▶", "⊘", "✓"]
            await shown.press("slash", *"db01", "enter")
            assert [job.id for job in table.rows] == [dead.directory.name]
            await shown.press("c")
            assert any("does not run any more: dead" in text for text in shown.said)
            await shown.press("enter")
            await shown.until(lambda: "I die" in "".join(shown.lines))
            assert shown.pane.has_focus
            await shown.press("J", "end", "home", "pagedown", "pageup", "c")
            await shown.until(lambda: isinstance(shown.app.screen, Confirm))
            await shown.press("n")


async def test_state_survives_and_damage_is_ignored(jobs):
    async with with_past(jobs) as shown:
        await shown.press("5", "t", "w")
        kept = shown.pane.save_state()
        assert kept == {"level": 5, "relative": True, "wrap": True}
        shown.pane.restore_state({"level": "x", "relative": 3})
        assert shown.pane.save_state() == {"level": 5, "relative": False, "wrap": False}
        shown.pane.restore_state(kept)
        assert shown.pane.save_state() == kept
        await shown.settled()
        assert shown.texts[-1].startswith(" +01:03.0 ")


async def test_every_key_is_unique_and_explained():
    registry = Registry(JobLogPane.commands)
    assert registry.collisions() == {}
    assert all(command.help.endswith(".") for command in registry)
    assert all(hasattr(JobLogPane, f"action_{command.action.partition('(')[0]}") for command in registry)
    assert Registry(JobsScreen.commands).collisions() == {}

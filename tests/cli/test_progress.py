"""The same events in a pipe and on a terminal."""

import io
import re
import time

import pytest
from rich.cells import cell_len

from engine.events import DiskProgress, DiskStarted, LogRecord, StageStarted
from tests.cli import shapes
from tui.cli import render
from tui.cli.progress import JobPicture, LiveView, PlainView, view
from tui.cli.screen import Screen

PIPE = """\
2026-01-02 03:04:06 web01: lookup: ok, 0.1 s
2026-01-02 03:04:09 web01: warning: The guest tools are old. Update them.
2026-01-02 03:04:10 web01: scsi0:1: skipped, independent: an independent disk takes no part in snapshots
2026-01-02 03:04:11 web01: checks: ok, 0.2 s
2026-01-02 03:04:13 web01: scsi0:0: reading 1.0 GiB of 72.0 GiB by nbdssl
2026-01-02 03:04:16 web01: scsi0:0: 14%, 154 MiB read, 60.0 MiB stored, 51.2 MiB/s
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("COLUMNS", raising=False)
    time.tzset()
    monkeypatch.setattr(render, "age", lambda created: "6 years old")


def piped(level: int) -> str:
    out = io.StringIO()
    screen = Screen(stdout=out, stderr=io.StringIO())
    with view(screen, level) as shown:
        assert isinstance(shown, PlainView)
        for event in shapes.events():
            shown(event)
    return out.getvalue()


def records(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if re.match(r"\d{4}-", line))


def test_pipe_at_level_3() -> None:
    said = piped(3)
    assert records(said).startswith(PIPE)
    assert "Plan for web01\n" in said
    assert sum("% " in line or "%," in line for line in said.splitlines() if "scsi0:0:" in line) == 9
    assert said.endswith("web01: export: ok, 21.0 s\n")


@pytest.mark.parametrize(("level", "said"), [(0, []), (1, []), (2, ["warning: The", "skipped, independent"])])
def test_pipe_below_level_3_has_no_stages(level: int, said: list[str]) -> None:
    lines = piped(level).splitlines()
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))


def test_pipe_at_level_4_has_steps_and_no_control_characters() -> None:
    said = piped(4)
    assert "export: started" in said
    assert "step: a step\\x1b[31m that tries to paint" in said
    assert not re.search(r"[^\x20-\x7e\n]", said)


def test_a_disk_without_known_length_tells_bytes_now_and_then() -> None:
    out = io.StringIO()
    shown = PlainView(Screen(stdout=out, stderr=out), 3)
    shown(DiskStarted(at=100.0, disk="scsi0:0", transport="https", capacity=1 << 30, to_read=0))
    for second in range(101, 165):
        shown(DiskProgress(at=float(second), disk="scsi0:0", read=second << 20, to_read=0, stored=0))
    assert len(out.getvalue().splitlines()) == 3
    assert "scsi0:0: reading 1.0 GiB by https" in out.getvalue()


def test_the_picture_has_bars_that_fit() -> None:
    picture = JobPicture(stages={"export": 1.0})
    screen = Screen(stdout=io.StringIO(), stderr=io.StringIO())
    live = LiveView(screen, 3)
    live._picture = picture
    for event in list(shapes.events())[7:19]:
        live(event)
    for width in (40, 60, 79, 131):
        stage, disk = picture.lines(width, shapes.START + 20)
        assert "export" in stage.plain
        assert disk.plain.startswith("    scsi0:0   ━")
        assert " 50% of  1.0 GiB" in disk.plain
        assert cell_len(disk.plain) <= width
    assert picture.lines(79, shapes.START + 20)[1].plain.endswith("0:12 left")


def test_the_picture_in_ascii() -> None:
    picture = JobPicture(unicode=False, stages={"export": 0.0})
    assert picture.lines(80, 3.0)[0].plain == "  * export               3.0 s"


def test_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    screen = Screen(stdout=out, stderr=io.StringIO())
    with view(screen, 3) as shown:
        assert isinstance(shown, LiveView)
        for event in shapes.events():
            shown(event)
        shown(LogRecord(level=0, text="told by the summary"))
        shown.say("Cancelling")
    said = out.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert "✓ export" in plain
    assert "scsi0:0   1.0 GiB read, 412 MiB stored, 20.0 s, 51.2 MiB/s" in plain
    assert "told by the summary" not in plain
    assert "Cancelling" in plain
    assert "\x1b[32m" in said


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    with view(Screen(stdout=out, stderr=io.StringIO()), 3) as shown:
        for event in shapes.events():
            shown(event)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", out.getvalue())


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view(Screen(stdout=Terminal(), stderr=io.StringIO()), 3), PlainView)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", [PlainView, LiveView])
def test_a_terminal_that_went_away_ends_nothing(kind: type[PlainView] | type[LiveView]) -> None:
    screen = Screen(stdout=Gone(), stderr=Gone())
    with kind(screen, 6) as shown:
        for event in shapes.events():
            shown(event)
        shown(StageStarted(stage="verify"))
    screen.result({"x": 1})
    screen.error("x", fault="f", hint="h")

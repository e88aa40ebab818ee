"""The console's terminal: how it is left, whatever ends the console, and how a bad one is served."""

import os
import signal
import sys
import time
from collections.abc import Mapping

import pytest

from tests.tui.ptylab import PtyLab

SAMPLE = (sys.executable, "-m", "tests.tui.sample_app")
QUIT = b"\x11"
F2, F9 = b"\x1bOQ", b"\x1b[20~"
LEFT = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1003l", b"\x1b[?2004l", b"\x1b[?7h")
"""Main screen, cursor, mouse, paste, wrap: as a shell wants them."""


def sample(environ: Mapping[str, str] | None = None, *, answers: bool = True, bits: float | None = None) -> PtyLab:
    lab = PtyLab(SAMPLE, environ=environ, answers=answers, bits=bits)
    assert lab.wait_for(b"palette"), bytes(lab.output[-500:])
    return lab


def assert_left_clean(lab: PtyLab) -> None:
    assert lab.cooked()
    assert [mode for mode in LEFT if mode not in lab.output] == []


def test_leaving_restores_the_terminal() -> None:
    with sample() as lab:
        assert not lab.cooked()
        lab.send(QUIT)
        assert lab.wait_end() == 0
        assert_left_clean(lab)


def test_a_defect_restores_the_terminal_and_is_told() -> None:
    with sample() as lab:
        lab.send(F9)
        assert lab.wait_end() == 1
        assert_left_clean(lab)
        assert lab.output.rfind(b"as ordered") > lab.output.rfind(b"\x1b[?1049l")


def test_sigterm_restores_the_terminal() -> None:
    with sample() as lab:
        lab.signal(signal.SIGTERM)
        assert lab.wait_end() is not None
        assert_left_clean(lab)


def test_a_cut_line_ends_the_console() -> None:
    with sample({"SAMPLE_LIVE": "1"}) as lab:
        lab.hang_up()
        assert lab.wait_end() is not None


def test_sigterm_ends_the_console_though_its_terminal_takes_nothing() -> None:
    with sample({"SAMPLE_LIVE": "1"}) as lab:
        lab.stalled = True
        for _ in range(40):
            lab.send(b"\t\x1b[6~")
        lab.signal(signal.SIGTERM)
        assert lab.wait_end(20) is not None


def test_suspended_and_back_the_whole_screen_is_drawn_again() -> None:
    with sample() as lab:
        lab.signal(signal.SIGTSTP)
        assert lab.wait_for(rb"\x1b\[\?1049l")
        _wait_stopped(lab.pid)
        assert lab.cooked()
        position = len(lab.output)
        lab.signal(signal.SIGCONT)
        assert lab.wait_for(rb"\x1b\[\?1049h", position)
        assert lab.wait_for(b"palette", position), "drawn again with nothing having changed"
        position = lab.send(b"\t")
        assert lab.wait_for(rb"\x1b\[6n", position)


def _wait_stopped(pid: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done and os.WIFSTOPPED(status):
            return
        time.sleep(0.002)
    raise AssertionError("not stopped")


def test_resized_to_and_fro_the_whole_screen_is_drawn_again() -> None:
    with sample() as lab:
        for size in ((60, 15), (250, 70), (80, 24)):
            lab.settle(0.2)
            position = len(lab.output)
            lab.resize(*size)
            assert lab.wait_for(b"palette", position), size


def test_bytes_that_are_no_characters_are_no_crash() -> None:
    with sample() as lab:
        lab.send(b"\xff\xfe\x80")
        position = lab.send(F2)
        assert lab.wait_for(b"Remove", position)


def test_a_terminal_that_answers_nothing_is_served_by_time() -> None:
    with sample({"SAMPLE_LIVE": "1"}, answers=False) as lab:
        assert lab.wait_for(b"C{12}", seconds=10)
        position = lab.send(F2)
        assert lab.wait_for(b"Remove", position, 3)
        seen = len(lab.output)
        assert lab.wait_for(rb"(?s)\x1b\[6n.*\x1b\[6n", seen, 5), "live repaints go on"


def test_while_a_repaint_is_under_way_nothing_queues_up_behind_it() -> None:
    with sample({"SAMPLE_LIVE": "1"}) as lab:
        assert lab.wait_for(b"F{12}", seconds=10)
        lab.stalled = True
        time.sleep(0.5)  # what is measured: a terminal that takes nothing for a while
        lab.stalled = False
        position = len(lab.output)
        lab.wait_for(rb"\x1b\[6n", position)
        assert lab.output.count(b"\x1b[6n", position) <= 2


def test_nothing_is_sent_while_nothing_happens() -> None:
    with sample() as lab:
        lab.settle(0.5)
        before = len(lab.output)
        time.sleep(1.5)  # what is measured: the bytes of a quiet time
        assert len(lab.output) == before


def test_switched_off_the_app_is_textuals_own() -> None:
    with sample({"VCB_WIRE": "off"}) as lab:
        lab.settle(0.3)
        assert b"\x1b[6n" not in lab.output
        plain = lab.cost(b"\t", 0.3)
    with sample() as lab:
        lab.settle(0.3)
        assert lab.cost(b"\t", 0.3) < plain / 2


@pytest.mark.parametrize(
    "term",
    [
        "vt100",
        *(
            pytest.param(term, marks=pytest.mark.exhaustive)
            for term in ("xterm-256color", "screen-256color", "tmux-256color", "linux")
        ),
    ],
)
def test_every_terminal_is_served_at_every_size(term: str) -> None:
    with sample({"TERM": term, "COLORTERM": ""}) as lab:
        for size in ((60, 15), (250, 70), (80, 24)):
            lab.resize(*size)
            lab.cost(b"\t\x1b[6~", 0.2)
        if term in {"vt100", "linux"}:
            assert b"$p" not in lab.output
        lab.send(QUIT)
        assert lab.wait_end() == 0

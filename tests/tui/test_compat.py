"""Each defect of Textual that tui/compat.py works round, shown in Textual itself, and gone in the console.

A test named `still` that fails after an update of Textual says that its work-around can go.
"""

import inspect
import itertools
import sys
from types import SimpleNamespace

import pytest
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.widgets import Input

from tests.tui.ptylab import PtyLab
from tests.tui.sample_app import Question, SampleApp
from tui.app import VcbApp
from tui.compat import SureTimers
from tui.widgets.log_view import LogView

SAMPLE = (sys.executable, "-m", "tests.tui.sample_app")


def test_bytes_that_are_no_utf8_still_end_textual() -> None:
    with PtyLab(SAMPLE, environ={"VCB_WIRE": "off"}) as lab:
        assert lab.wait_for(b"palette")
        lab.send(b"\xff")
        assert lab.wait_end() is not None


def test_textual_still_reads_on_at_the_end_of_input() -> None:
    source = inspect.getsource(LinuxDriver.run_input_thread)
    assert "if not unicode_data:" in source
    assert "exit_event.set()" not in source


def test_inputs_still_blink_unless_told() -> None:
    assert Input().cursor_blink


async def test_the_consoles_inputs_do_not_blink() -> None:
    app = SampleApp()
    async with app.run_test() as pilot:
        await pilot.press("f2")
        await pilot.pause()
        assert isinstance(app.screen, Question)
        field = app.screen.query_one(Input)
        assert field.has_focus
        assert not field.cursor_blink
        assert field._cursor_visible


@pytest.mark.parametrize(("set_timer", "rings"), [(MessagePump.set_timer, 0), (SampleApp.set_timer, 1)])
async def test_a_timer_that_starts_late_still_never_rings_in_textual(monkeypatch, set_timer, rings) -> None:
    """The clock goes on by a second whenever it is read: the task that waits lost the processor for as long."""
    app, rung = SampleApp(), []
    async with app.run_test() as pilot:
        clock = itertools.count()
        monkeypatch.setattr("textual.timer._time", SimpleNamespace(get_time=lambda: float(next(clock))))
        timer = set_timer(app, 1 / 120, lambda: rung.append(timer))
        await timer._task
        await pilot.pause()
        monkeypatch.undo()
        assert rung == [timer] * rings


def test_whatever_sets_short_timers_sets_sure_ones() -> None:
    assert issubclass(VcbApp, SureTimers)
    assert issubclass(LogView, SureTimers)

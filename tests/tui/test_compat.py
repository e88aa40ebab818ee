"""Each defect of Textual that tui/compat.py works round, shown in Textual itself, and gone in the console.

A test named `still` that fails after an update of Textual says that its work-around can go.
"""

import inspect
import sys

from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import Input

from tests.tui.ptylab import PtyLab
from tests.tui.sample_app import Question, SampleApp

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

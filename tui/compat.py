"""Work-arounds for Textual 8.2.8, each with where it is told. tests/tui/test_compat.py shows each defect in Textual
itself: a test that fails after an update says which work-around can go."""

import contextlib
import os
import selectors
from codecs import getincrementaldecoder
from typing import Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.widget import Widget


class SturdyInputDriver(LinuxDriver):
    """Reads the keyboard without two ways to lose the console.

    Bytes that are no UTF-8 (a Latin-1 terminal, half a paste) end Textual's input thread, and the app with it:
    https://github.com/Textualize/textual/issues/6456. At the end of input (the line was cut, and no SIGHUP came) that
    thread spins at 100 % CPU for ever: https://github.com/Textualize/textual/pull/6690.
    """

    def input_ended(self) -> None:
        """The terminal is gone. Called in the input thread."""
        raise EOFError("the terminal is gone")

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(0.1):
                    data = self._read()
                    if not data:
                        self.input_ended()
                        return
                    for message in parser.feed(decode(data)):
                        self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)
        with contextlib.suppress(EOFError, ParseError):
            list(parser.feed(""))

    def _read(self) -> bytes:
        """Input; empty when the terminal is gone."""
        try:
            return os.read(self.fileno, 4096)
        except OSError:
            return b""


class SureTimers(MessagePump):
    """One-shot timers that ring, however busy the machine is.

    A timer of Textual leaves out the ticks that it is late for. One that is due once is late when its task loses the
    processor for longer than its delay just as it starts, and then never rings: after a window was resized (8 ms) the
    app waits for it for ever, and takes no other size.
    """

    def set_timer(self, *arguments: Any, **named: Any) -> Timer:
        timer = super().set_timer(*arguments, **named)
        timer._skip = False
        return timer


def steady_cursor(widget: Widget) -> None:
    """Inputs blink their cursor by two repaints a second, for ever, and no setting of the app stops it: other Textual
    apps send 450 bytes a second while nothing happens."""
    if getattr(widget, "cursor_blink", False):
        widget.cursor_blink = False  # type: ignore[attr-defined] - Input and TextArea, not imported: 40 ms

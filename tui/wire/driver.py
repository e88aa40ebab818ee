"""The terminal: Textual's Linux driver, with the line's pacing, and with endings that leave a usable terminal behind.

What differs from `LinuxDriver`: cursor position replies acknowledge repaints and go no further; repaints leave in one
write each; SIGTERM, SIGHUP and the end of input leave the app in good order; a terminal that would print an unknown
query is not asked.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from textual import events, messages
from textual.message import Message

from tui.compat import SturdyInputDriver
from tui.wire.abilities import Abilities
from tui.wire.line import Line
from tui.wire.output import TerminalOutput
from tui.wire.pacing import Pacing

if TYPE_CHECKING:
    from textual._compositor import CompositorUpdate
    from textual.app import App

_OPERATOR = (events.Key, events.Paste, events.MouseDown, events.MouseUp, events.MouseScrollDown, events.MouseScrollUp)
_POLL = 0.02
"""Seconds between looks at a line whose bytes are still in the process."""
_FAREWELL = 2.0
"""Seconds that a terminal gets to take the last bytes, and the app to end after SIGTERM or SIGHUP."""


class LineDriver(SturdyInputDriver):
    """`line` takes the repaints. Everything runs in the event loop's thread, but `process_message`."""

    def __init__(
        self, app: "App[object]", *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        colours = None if getattr(app, "monochrome", False) else app.console._color_system
        self._abilities = Abilities.of(os.environ, colours)
        self._output = TerminalOutput((sys.__stderr__ or sys.stderr).fileno(), self._abilities.charset)
        self._file = self._output
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Callable[[], None], None] = {}
        self.line = Line(self._abilities, Pacing(), self.write, self._output.drained)

    # -- repaints

    def paint(self, update: "CompositorUpdate | None", cursor: tuple[int, int] | None) -> None:
        """Takes a repaint; without one, what is held may go if it is its time."""
        if update is not None:
            self.line.paint(update, cursor)
        self._pump()

    def when_clear(self, repaint: Callable[[], None]) -> None:
        """Has the app call `repaint`, once, when what it repaints would be sent at once."""
        self._waiting[repaint] = None
        self._pump()

    def _pump(self) -> None:
        """Sends what is due, and looks again when the line's next limit is reached."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.line.due():
            self.line.flush()
        if self._waiting and self.line.clear():
            for repaint in self._waiting:
                self._app.call_next(repaint)
            self._waiting.clear()
        if self.line.holds or self._waiting:
            self._timer = self._loop.call_later(max(self.line.pacing.wait(), _POLL), self._pump)

    def _answered(self) -> None:
        self.line.pacing.answered()
        self._pump()

    # -- the terminal

    def write(self, data: str) -> None:
        self._output.announce()
        super().write(data)

    def start_application_mode(self) -> None:
        super().start_application_mode()
        self.line.forget()
        self._pump()
        resized = signal.getsignal(signal.SIGWINCH)

        def on_resize(number: int, frame: FrameType | None) -> None:
            self._loop.call_soon_threadsafe(self.line.forget)
            if callable(resized):
                resized(number, frame)

        signal.signal(signal.SIGWINCH, on_resize)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._end, 128 + number)

    def stop_application_mode(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.remove_signal_handler(number)
        self.write("\x1b[m")
        super().stop_application_mode()

    def close(self) -> None:
        """Ends the writer, at the latest when a stalled terminal has had its time."""
        if self._timer is not None:
            self._timer.cancel()
        writer = self._writer_thread
        if writer is not None:
            self._output.wait(_FAREWELL)
            if self._output.drained():
                writer.stop()

    def _end(self, code: int) -> None:
        """Leaves as `q` does; a process that cannot, since its terminal takes nothing any more, ends all the same."""
        threading.Thread(target=self._end_hard, args=(code,), daemon=True, name="farewell").start()
        self._app.exit(return_code=code)

    def _end_hard(self, code: int) -> None:
        if not threading.Event().wait(2 * _FAREWELL):
            os._exit(code)

    def _request_terminal_sync_mode_support(self) -> None:
        if self._abilities.queries:
            super()._request_terminal_sync_mode_support()

    def _query_in_band_window_resize(self) -> None:
        if self._abilities.queries:
            super()._query_in_band_window_resize()

    # -- input, in a thread of its own

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.CursorPosition):
            self._loop.call_soon_threadsafe(self._answered)
            return
        if isinstance(message, _OPERATOR):
            self.line.pacing.key()
        elif isinstance(message, events.Resize):
            self._loop.call_soon_threadsafe(self.line.forget)
        elif isinstance(message, messages.TerminalSupportsSynchronizedOutput):
            self.line.synchronized = True
        super().process_message(message)

    def input_ended(self) -> None:
        self._loop.call_soon_threadsafe(self._end, 128 + signal.SIGHUP)

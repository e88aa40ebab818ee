"""The app's side of the line: repaints go through the model of the screen instead of straight to the terminal."""

import os
from collections.abc import Callable

from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App, ReturnType
from textual.driver import Driver
from textual.screen import Screen

from tui.compat import SureTimers, steady_cursor
from tui.wire.driver import LineDriver


class LineApp(SureTimers, App[ReturnType]):
    """An app whose repaints are paced and sent as changed cells, unless `VCB_WIRE=off` or the app has no terminal."""

    monochrome = False
    """Whether the terminal gets no colours at all, only attributes. Read when the app starts."""

    def get_driver_class(self) -> type[Driver]:
        if os.environ.get("VCB_WIRE", "").lower() == "off":
            return super().get_driver_class()
        return LineDriver

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        steady_cursor(event.widget)

    def when_clear(self, repaint: Callable[[], None]) -> None:
        """Calls `repaint` as soon as what it repaints would be sent at once: now, or, however often it was asked for,
        once when the line is free again. For repaints that no key has asked for (a feed's tick): made while another is
        under way, they cost CPU for nothing, and stand in front of the answer to a key."""
        driver = self._driver
        if isinstance(driver, LineDriver) and not driver.line.clear():
            driver.when_clear(repaint)
        else:
            repaint()

    def redraw(self) -> None:
        """Sends the whole screen again: another program has written on the terminal."""
        if isinstance(self._driver, LineDriver):
            self._driver.line.forget()
        self.refresh()

    def _display(self, screen: Screen, renderable: RenderableType | None) -> None:
        driver = self._driver
        if not isinstance(driver, LineDriver) or not isinstance(renderable, CompositorUpdate | None):
            super()._display(screen, renderable)
            return
        try:
            if not self._batch_count and self._running and not self._closed:
                driver.paint(self._whole(screen, driver, renderable), self._cursor())
        except Exception as error:
            self._handle_exception(error)
        finally:
            self.post_display_hook()

    def _whole(self, screen: Screen, driver: LineDriver, update: CompositorUpdate | None) -> CompositorUpdate | None:
        """The update, or all of the screen when its size isn't the line's."""
        size = screen._compositor.size
        if size == driver.line.size:
            return update
        driver.line.resize(*size)
        return update if isinstance(update, LayoutUpdate) else screen._compositor.render_full_update()

    def _cursor(self) -> tuple[int, int] | None:
        """Where the hidden cursor is to stand, if it matters: input methods look for it where one types."""
        if not hasattr(self.focused, "cursor_blink"):
            return None
        x, y = self.screen.outer_size.clamp_offset(self.cursor_position)
        return x, y

"""The app's side of the line: repaints go through the model of the screen instead of straight to the terminal."""

import os

from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App, ReturnType
from textual.driver import Driver
from textual.screen import Screen

from tui.compat import steady_cursor
from tui.wire.driver import LineDriver


class LineApp(App[ReturnType]):
    """An app whose repaints are paced and sent as changed cells, unless `VCB_WIRE=off` or the app has no terminal."""

    def get_driver_class(self) -> type[Driver]:
        if os.environ.get("VCB_WIRE", "").lower() == "off":
            return super().get_driver_class()
        return LineDriver

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        steady_cursor(event.widget)

    @property
    def line_clear(self) -> bool:
        """Whether a live repaint made now would be sent now. Who repaints without being asked (a feed's tick) looks
        here first: while a repaint is under way, another costs CPU only, and stands before the answer to a key."""
        driver = self._driver
        return not isinstance(driver, LineDriver) or (driver.line.pacing.clear() and not driver.line.holds)

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

    def _cursor(self) -> tuple[int, int]:
        x, y = self.screen.outer_size.clamp_offset(self.cursor_position)
        return x, y

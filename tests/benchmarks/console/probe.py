"""A key whose answer can be found in the bytes, in any Textual app."""

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.widget import Widget

KEY = b"\x1b[19~"
"""F8."""
MARKS = "@%&~="


def mark(presses: int) -> bytes:
    """What stands in the output when the app has answered that many presses: no cell as it was before."""
    return MARKS[presses % len(MARKS)].encode() * 6


class Probe(Widget):
    """Six cells in the corner, of one mark."""

    DEFAULT_CSS = "Probe { layer: probe; dock: right; width: 6; height: 1; }"
    presses = 0

    def render(self) -> str:
        return MARKS[self.presses % len(MARKS)] * 6


def probed(app: type[App[None]]) -> type[App[None]]:
    """The same app with a probe on its screen."""

    class Probed(app):
        BINDINGS: ClassVar[list[BindingType]] = [Binding("f8", "probe", priority=True, show=False)]

        async def action_probe(self) -> None:
            found = self.screen.query(Probe)
            probe = found.first() if found else Probe()
            if not found:
                self.screen.styles.layers = "default probe"
                await self.screen.mount(probe)
            probe.presses += 1
            probe.refresh()

    return Probed

"""The title line of a pane: its number and name, the names of those hidden behind it, and what it notes of itself."""

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.glyphs import Glyphs


class PaneTitle(Widget):
    DEFAULT_CSS = """
    PaneTitle { height: 1; width: 1fr; background: $panel; color: $muted; }
    """

    tabs: reactive[tuple[tuple[int, str], ...]] = reactive(())
    """Number and name of each pane that the title names."""
    current: reactive[int] = reactive(0)
    """The number of the pane below."""
    active: reactive[bool] = reactive(False)
    note: reactive[str] = reactive("")

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, glyphs: Glyphs, fill: str) -> None:
        super().__init__()
        self._glyphs = glyphs
        self.fill = fill
        """What stands between name and note: a rule where the terminal has no background colours, else nothing."""

    def render(self) -> Content:
        names = self._names()
        left = Content.assemble(*[part for name in names for part in name])
        room = self.size.width - left.cell_length - 2
        note = Content(_cropped(self.note, room - 2, self._glyphs.more) if room > 4 else "")
        gap = max(0, self.size.width - left.cell_length - note.cell_length - 3)
        filled = Content.styled(f" {self.fill * gap} ", "$rule")
        return Content.assemble(left, filled, note, " ")

    def _names(self) -> list[list[Content]]:
        names = []
        for number, name in self.tabs:
            if number == self.current:
                sign = Content.styled(self._glyphs.focus if self.active else " ", "$accent")
                names.append(
                    [sign, Content.styled(f"{number} {name}", "bold $accent" if self.active else "$foreground")]
                )
            else:
                names.append([Content("  "), Content.styled(f"{number} {name}", "$muted")])
        return names

    def on_click(self, event: events.Click) -> None:
        column = 0
        for (number, _), parts in zip(self.tabs, self._names(), strict=True):
            column += sum(part.cell_length for part in parts)
            if event.x < column:
                self.post_message(self.Chosen(number))
                return
        self.post_message(self.Chosen(self.current))


def _cropped(text: str, room: int, more: str) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + more

"""The rows of the option form, painted line by line: marks, name, value, origin."""

from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.config.options import OPTIONS
from tui.glyphs import UNICODE, Glyphs
from tui.models.marks import finding_sign

if TYPE_CHECKING:
    from tui.models.option_form import Row

_NAME_WIDTH = max(map(len, OPTIONS))
_SHORT_NAME_WIDTH = 18
_ORIGIN_WIDTH = 12


class OptionRows(ScrollView, can_focus=True):
    """The cursor stands on options only, never on the title of a section."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--section", "rows--name", "rows--default", "rows--value", "rows--origin", "rows--error",
        "rows--warning", "rows--note", "rows--changed", "rows--cursor", "rows--cursor-blurred",
    }  # fmt: skip
    DEFAULT_CSS = """
    OptionRows {
        height: 1fr;
        scrollbar-size-vertical: 1;
        & > .rows--section { color: $accent; text-style: bold; }
        & > .rows--name { color: $foreground; }
        & > .rows--default { color: $muted; }
        & > .rows--value { color: $foreground; text-style: bold; }
        & > .rows--origin { color: $muted; }
        & > .rows--error { color: $state-error; text-style: bold; }
        & > .rows--warning { color: $state-warning; }
        & > .rows--note { color: $state-note; }
        & > .rows--changed { color: $accent; text-style: bold; }
        & > .rows--cursor { background: $cursor; color: $cursor-text; text-style: bold; }
        & > .rows--cursor-blurred { background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "ends(0)", show=False),
        Binding("end,G", "ends(1)", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another option, or the option says something else."""

    class Chosen(Message):
        """The option under the cursor was clicked once more."""

    def __init__(self) -> None:
        super().__init__(id="config_rows")
        self.shown: list[Row] = []
        self.cursor = 0
        self.glyphs: Glyphs = UNICODE

    @property
    def current(self) -> "Row | None":
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    def show(self, rows: list["Row"]) -> None:
        """Other rows; the cursor stays on its option where that is still shown."""
        name = self.current.name if self.current else ""
        self.shown = rows
        self.virtual_size = Size(0, len(rows))
        place = next((i for i, row in enumerate(rows) if name and row.name == name), None)
        self.cursor = place if place is not None else next((i for i, row in enumerate(rows) if row.name), 0)
        self.refresh()
        self.post_message(self.Moved())

    def go_to(self, name: str) -> bool:
        """Puts the cursor on an option; False when it is not shown."""
        place = next((i for i, row in enumerate(self.shown) if name and row.name == name), None)
        if place is None:
            return False
        self._place(place)
        return True

    def action_move(self, step: int) -> None:
        place = self.cursor + step
        while 0 <= place < len(self.shown) and not self.shown[place].name:
            place += step
        if 0 <= place < len(self.shown):
            self._place(place)
        elif step < 0:
            self.scroll_to(y=0, animate=False)  # the title of the first section

    def action_page(self, step: int) -> None:
        target = min(max(self.cursor + step * max(self.size.height - 1, 1), 0), len(self.shown) - 1)
        self._place_near(target, 1 if step > 0 else -1)

    def action_ends(self, end: int) -> None:
        self._place_near((len(self.shown) - 1) * end, -1 if end else 1)

    def _place_near(self, target: int, step: int) -> None:
        for way in (step, -step):
            place = target
            while 0 <= place < len(self.shown):
                if self.shown[place].name:
                    self._place(place)
                    return
                place += way

    def _place(self, place: int) -> None:
        old, self.cursor = self.cursor, place
        self._reveal()
        for line in {old, place}:
            self.refresh(Region(0, line - self.scroll_offset.y, self.size.width, 1))
        self.post_message(self.Moved())

    def _reveal(self) -> None:
        """The cursor's row, with the title of the section when it is the first of it."""
        above = 1 if self.cursor and not self.shown[self.cursor - 1].name else 0
        self.scroll_to_region(Region(0, self.cursor - above, 1, 1 + above), animate=False)

    def on_click(self, event: events.Click) -> None:
        place = event.y + self.scroll_offset.y
        if 0 <= place < len(self.shown) and self.shown[place].name:
            again = place == self.cursor
            self._place(place)
            if again:
                self.post_message(self.Chosen())

    def on_resize(self) -> None:
        if self.shown:
            self._reveal()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        place = y + self.scroll_offset.y
        width = self.size.width
        if not 0 <= place < len(self.shown):
            return Strip.blank(width, self.rich_style)
        row = self.shown[place]
        if not row.name:
            section = [Segment(set_cell_size(f" {row.section}", width), self._style("section"))]
            return Strip(section, width).apply_style(self.rich_style)
        strip = Strip(self._cells(row, width, here=place == self.cursor), width)
        if place == self.cursor:
            strip = strip.apply_style(self._style("cursor" if self.has_focus else "cursor-blurred", partial=True))
        return strip

    def _cells(self, row: "Row", width: int, *, here: bool) -> list[Segment]:
        name_width = _NAME_WIDTH if width >= 46 else max(min(_NAME_WIDTH, width - 14), _SHORT_NAME_WIDTH)
        with_origin = width >= name_width + 5 + 14 + _ORIGIN_WIDTH
        value_width = max(width - name_width - 6 - (_ORIGIN_WIDTH + 1 if with_origin else 0), 0)
        worst = row.worst
        value_style = "error" if worst == "error" else "default" if row.is_default else "value"
        name = self._cut(row.name, name_width)
        cells = [
            Segment(self.glyphs.focus if here else " ", self._style("changed")),
            Segment(finding_sign(worst, self.glyphs), self._style(worst or "name")),
            Segment(self.glyphs.modified if row.changed else " ", self._style("changed")),
            Segment(f" {name:<{name_width}} ", self._style("changed" if row.changed else "name")),
            Segment(set_cell_size(self._cut(row.value or "-", value_width), value_width), self._style(value_style)),
            Segment(" ", self._style("name")),
        ]
        if with_origin:
            cells.append(Segment(f"{self._cut(row.origin, _ORIGIN_WIDTH):>{_ORIGIN_WIDTH}} ", self._style("origin")))
        return cells

    def _style(self, name: str, *, partial: bool = False) -> Style:
        return self.get_component_rich_style(f"rows--{name}", partial=partial)

    def _cut(self, text: str, width: int) -> str:
        plain = "".join(character if character.isprintable() else "?" for character in text)
        return plain if cell_len(plain) <= width else set_cell_size(plain, max(width - 1, 0)) + self.glyphs.more

"""The inventory tree on the line API: only the lines in sight are ever made, whatever the tree holds."""

from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.models.inventory import Change, InventoryModel
from tui.widgets.inventory_line import LOOKS, LineMaker, header

_TALL = 8
"""From so many lines on, one goes to the titles of the columns."""


class FlatTree(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows `model`. The cursor stays on its node, by id, whatever comes and goes around it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tree--{look}" for look in (*LOOKS, "cursor", "blurred")}
    DEFAULT_CSS = """
    FlatTree {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & > .tree--place { text-style: bold; color: $accent; }
        & > .tree--dim { color: $muted; text-style: $muted-style; }
        & > .tree--guide { color: $rule; }
        & > .tree--good { color: $state-ok; }
        & > .tree--warn { color: $state-warning; }
        & > .tree--bad { color: $state-error; text-style: bold; }
        & > .tree--busy { color: $state-running; }
        & > .tree--mark { color: $accent; text-style: bold; }
        & > .tree--match { text-style: bold underline; }
        & > .tree--cursor { background: $cursor; color: $cursor-text; text-style: $cursor-style; }
        & > .tree--blurred { background: $panel; }
    }
    """

    class Moved(Message):
        """The cursor stands on another node."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, FlatTree.Moved)

    class Clicked(Message):
        """A node was clicked; `fold` when on its fold sign, or a second time."""

        def __init__(self, *, fold: bool) -> None:
            super().__init__()
            self.fold = fold

    def __init__(self, model: InventoryModel) -> None:
        super().__init__()
        self.model = model
        self.lines_of = LineMaker(model)
        self._row = 0
        self.cursor_id = ""

    @property
    def cursor_slot(self) -> int | None:
        """The node under the cursor; None in an empty tree."""
        rows = self.model.rows
        return rows[self._row] if self._row < len(rows) else None

    @property
    def head(self) -> int:
        """Lines above the first node."""
        return 1 if self.size.height >= _TALL else 0

    def move(self, by: int) -> None:
        self.go(self._row + by)

    def page(self, direction: int) -> None:
        self.move(direction * max(1, self.size.height - self.head - 1))

    def go(self, row: int) -> None:
        """Puts the cursor onto a row, the nearest there is."""
        before = self._row
        self._row = max(0, min(row, len(self.model.rows) - 1))
        slot = self.cursor_slot
        self.cursor_id = self.model.ids[slot] if slot is not None else ""
        self._follow_cursor()
        for each in {before, self._row}:
            self._repaint(each)
        self.post_message(self.Moved())

    def go_to(self, identity: str) -> None:
        """Puts the cursor onto a node, or what holds it."""
        row = self.model.row_of(identity)
        if row is not None:
            self.go(row)

    def show(self, change: Change) -> None:
        """Paints what a message to the model made different."""
        if change.shape:
            self.rebuilt()
            return
        top, height = self.scroll_offset.y, self.size.height
        for at in range(top, min(top + height, len(self.model.rows))):
            if self.model.rows[at] in change.slots:
                self._repaint(at)

    def rebuilt(self) -> None:
        """The model's rows are others now."""
        found = self.model.row_of(self.cursor_id) if self.cursor_id else None
        self._row = found if found is not None else max(0, min(self._row, len(self.model.rows) - 1))
        slot = self.cursor_slot
        if found is None:
            self.cursor_id = self.model.ids[slot] if slot is not None else ""
        self._measure()
        self._follow_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if self.head and y == 0:
            return self._strip(header(width), "")
        row = y - self.head + self.scroll_offset.y
        if row >= len(self.model.rows):
            return Strip.blank(width, self.rich_style)
        pieces = self.lines_of.line(self.model.rows[row], self.model.depths[row], width)
        chosen = ("cursor" if self.has_focus else "blurred") if row == self._row else ""
        return self._strip(pieces, chosen)

    def _strip(self, pieces: list[tuple[str, str]], chosen: str) -> Strip:
        over = self.get_component_rich_style(f"tree--{chosen}", partial=True) if chosen else None
        segments = []
        for text, look in pieces:
            style = self.rich_style + self.get_component_rich_style(f"tree--{look}", partial=True)
            segments.append(Segment(text, style + over if over else style))
        return Strip(segments)

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.model.rows) + self.head)

    def _follow_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height - self.head)
        if self._row < top:
            self.scroll_to(y=self._row, animate=False, immediate=True)
        elif self._row >= top + height:
            self.scroll_to(y=self._row - height + 1, animate=False, immediate=True)

    def _repaint(self, row: int) -> None:
        y = row - self.scroll_offset.y + self.head
        if self.head <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self) -> None:
        self._measure()
        self._follow_cursor()

    def on_focus(self) -> None:
        self._repaint(self._row)

    def on_blur(self) -> None:
        self._repaint(self._row)

    def on_click(self, event: object) -> None:
        y = getattr(event, "y", 0) - self.head
        row = y + self.scroll_offset.y
        if y >= 0 and row < len(self.model.rows):
            again = row == self._row
            self.go(row)
            self.post_message(self.Clicked(fold=again))

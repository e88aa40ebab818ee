"""The footer: the keys that work here and now.

Our own, since Textual's makes a widget for each key at each change and never lets go of the old ones (405 alive after
400 refreshes; qlever-control PR#316). This one is a single line, painted again only when its words change.
"""

from collections.abc import Container

import msgspec
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.commands import Command, Offers, key_word

_KEPT = 2


class Item(msgspec.Struct, frozen=True):
    command_id: str
    key: str
    word: str
    possible: bool
    here: bool
    """Of the pane or dialog, not of the console."""


class KeyBar(Widget):
    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; background: $panel; color: $muted; padding: 0 1; }
    """

    items: reactive[tuple[Item, ...]] = reactive(())

    class Pressed(Message):
        """A word of the footer was clicked."""

        def __init__(self, command_id: str) -> None:
            super().__init__()
            self.command_id = command_id

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii = ascii_only

    def show(
        self, here: Offers, everywhere: tuple[Command, ...], *, without: Container[str] = (), typing: bool = False
    ) -> None:
        """The footer words of who has the keyboard, then those of the console; not those of the commands `without`.
        While letters are text (`typing`), of each command a key that is none, and no command without one."""
        offered = (command for command in here.offered() if command.footer and command.id not in without)
        own = [self._item(command, here, typing) for command in offered]
        rest = [self._item(command, None, typing) for command in everywhere if command.footer]
        self.items = tuple(item for item in own + rest if item.key)

    def _item(self, command: Command, here: Offers | None, typing: bool) -> Item:
        possible = here is None or not here.why_not(command)
        keys = [key for key in command.keys if not typing or not _is_text(key)]
        key = key_word(keys[0], ascii_only=self._ascii) if keys else ""
        return Item(command.id, key, command.footer, possible, here is not None)

    def render(self) -> Content:
        here, rest = self._shown()
        left, right = self._line(here), self._line(rest)
        gap = max(2 if here else 0, self.size.width - left.cell_length - right.cell_length)
        return Content.assemble(left, " " * gap, right)

    def _shown(self) -> tuple[list[Item], list[Item]]:
        """Those that have room. The console's own give way first, but not its last two: help, and the way out."""
        here = [item for item in self.items if item.here]
        rest = [item for item in self.items if not item.here]
        while len(rest) > _KEPT and self._width(here) + self._width(rest) + 2 > self.size.width:
            del rest[0]
        while here and self._width(here) + self._width(rest) + 2 > self.size.width:
            here.pop()
        return here, rest

    @staticmethod
    def _width(items: list[Item]) -> int:
        return sum(len(item.key) + len(item.word) + 3 for item in items)

    @staticmethod
    def _line(items: list[Item]) -> Content:
        parts: list[Content | str] = []
        for item in items:
            parts += [
                "  " if parts else "",
                Content.styled(item.key, "bold $accent" if item.possible else "$muted"),
                Content.styled(f" {item.word}", "$foreground" if item.possible else "$muted"),
            ]
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        here, rest = self._shown()
        starts = [(0, here), (self.size.width - self._line(rest).cell_length, rest)]
        for column, items in starts:
            for item in items:
                width = len(item.key) + len(item.word) + 1
                if column <= event.x - 1 < column + width:
                    self.post_message(self.Pressed(item.command_id))
                    return
                column += width + 2  # noqa: PLW2901 - walks along the line


def _is_text(key: str) -> bool:
    """Whether a key may write something into a line."""
    return not (key.startswith("ctrl+") or key == "escape" or (key[0] == "f" and key[1:].isdigit()))

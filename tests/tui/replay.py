"""Terminals that only remember: pyte, with its own defects worked round, fed with what an app sends."""

import pyte


class Replay:
    """A pyte screen. Rows are comparable between terminals: character and all attributes that pyte
    knows; of a blank what is seen of it, its background.

    Two defects of pyte 0.8.2 are worked round. A wide character that loses one half keeps the other (terminals blank
    it): `row` blanks it. And with autowrap off, which Textual sets, a character drawn after the last column lands in
    the last but one for a wide one; nobody here draws there.
    """

    def __init__(self, width: int, height: int) -> None:
        self.screen = pyte.Screen(width, height)
        self.screen.reset_mode(7, private=True)
        self._stream = pyte.Stream(self.screen)

    def feed(self, data: str) -> None:
        self._stream.feed(data)

    def resize(self, width: int, height: int) -> None:
        """An empty screen of the new size: what terminals keep of the old one differs."""
        self.__init__(width, height)

    def row(self, y: int) -> list[tuple[object, ...]]:
        cells = [self.screen.buffer[y][x] for x in range(self.screen.columns)]
        for x, cell in enumerate(cells):
            followed = x + 1 < len(cells) and not cells[x + 1].data
            if (_is_wide(cell) and not followed) or (not cell.data and not (x and _is_wide(cells[x - 1]))):
                cells[x] = cell._replace(data=" ")
        return [(" ", cell.bg) if cell.data == " " and not _inked(cell) else tuple(cell) for cell in cells]

    def changed(self) -> set[int]:
        """The rows drawn on since the last call."""
        rows = {y for y in self.screen.dirty if y < self.screen.lines}
        self.screen.dirty.clear()
        return rows


def _inked(cell: pyte.screens.Char) -> bool:
    return cell.reverse or cell.underscore or cell.strikethrough


def _is_wide(cell: pyte.screens.Char) -> bool:
    return bool(cell.data) and pyte.screens.wcwidth(cell.data[0]) == 2

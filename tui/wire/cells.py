"""The screen as a table of cells: what Textual wants to be seen, and what the terminal shows."""

from collections.abc import Iterator

from rich.cells import split_graphemes
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from tui.wire.pens import Pens

UNKNOWN = "\0"
"""A cell of which nobody knows what the terminal shows. Equal to no drawn cell."""
REST = ""
"""The second cell of a wide character."""


class Cells:
    """`characters[y][x]`: one grapheme, REST or UNKNOWN; `pens[y][x]`: the number of its look."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.characters: list[list[str]] = []
        self.pens: list[list[int]] = []
        self.forget()

    def forget(self) -> None:
        """Marks all cells as unknown: the terminal was resized, or another program has used it."""
        self.characters = [[UNKNOWN] * self.width for _ in range(self.height)]
        self.pens = [[0] * self.width for _ in range(self.height)]

    def put(self, x: int, y: int, strip: Strip, pens: Pens, charset: str) -> None:
        """Draws a strip; what lies right of or below the edge is cut, as the terminal would. A wide character that
        loses a half to it becomes blank, as on terminals: one that stayed would push the rest of the row aside."""
        if not 0 <= y < self.height:
            return
        characters, looks = self.characters[y], self.pens[y]
        for text, style, control in strip:
            if control:
                continue
            cells = text if text.isascii() and text.isprintable() else _cells(text, charset)
            end = x + len(cells)
            if 0 < x < self.width and characters[x] == REST:
                characters[x - 1] = " "
            characters[x:end] = cells
            looks[x:end] = [pens.of(style)] * len(cells)
            if end < self.width and characters[end] == REST:
                characters[end] = " "
            x = end
        del characters[self.width :], looks[self.width :]


def strips_of(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]]:
    """x, y and content of all that an update draws, cut exactly as Textual's own `render_segments` cuts it."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield x, y, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, left, right in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x >= right or end <= left:
                    continue
                yield x, y, strip if end <= right else strip.crop(0, right - x)


_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))


def _cells(text: str, charset: str) -> list[str]:
    """One entry a cell. Control characters, which could command the terminal, are left out (they have no width in
    Textual's layout either); what the terminal's charset lacks becomes question marks of the same width."""
    text = text.translate(_CONTROLS)
    cells: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        grapheme = text[start:end]
        if width == 0:
            if cells:
                cells[-2 if cells[-1] == REST else -1] += grapheme
        elif not _encodable(grapheme, charset):
            cells += ["?"] * width
        else:
            cells += [grapheme, REST] if width == 2 else [grapheme]
    return cells


def _encodable(grapheme: str, charset: str) -> bool:
    if charset == "utf-8":
        return True
    try:
        grapheme.encode(charset)
    except UnicodeEncodeError:
        return False
    return True

"""From the cells that differ to the bytes that make the terminal show them.

Moves: CUP, CUF, CR and LF, which a VT100 knows; ECH and EL erase runs of blanks (ECMA-48). The line's last column is
special: after it has been drawn, terminals disagree on where the cursor is, so its position is then taken as unknown.
"""

import re
from collections.abc import Iterable

from tui.wire.abilities import Abilities
from tui.wire.cells import REST, Cells
from tui.wire.pens import Pens

_SHORT_GAP = 4
"""Unchanged cells that cost no more to draw again than to jump over."""
_BLANKS = re.compile(" {12,}")
"""Blanks in a row that ECH and a jump draw cheaper."""
_ERASE_LINE_FROM = 4


class Encoder:
    """Remembers the terminal's cursor and pen from frame to frame; None is unknown."""

    def __init__(self, pens: Pens, abilities: Abilities) -> None:
        self._pens = pens
        self._abilities = abilities
        self._x: int | None = None
        self._y: int | None = None
        self._pen: int | None = None
        self._out: list[str] = []
        self._width = 0

    def forget(self) -> None:
        self._x = self._y = self._pen = None

    def encode(self, shown: Cells, wanted: Cells, rows: Iterable[int], cursor: tuple[int, int] | None) -> str:
        """The bytes that turn these rows of `shown` into those of `wanted`, in order; "" when nothing differs. `shown`
        is brought up to date. With `cursor` (x, y) the cursor ends there, where input methods open their windows."""
        self._out, self._width = [], wanted.width
        for y in sorted(rows):
            characters, looks = wanted.characters[y], wanted.pens[y]
            if shown.characters[y] == characters and shown.pens[y] == looks:
                continue
            for start, end in self._runs(shown, wanted, y):
                if self._draw(characters, looks, (start, end), y):
                    break
            shown.characters[y] = characters.copy()
            shown.pens[y] = looks.copy()
        if self._out and cursor:
            self._move(*cursor)
        return "".join(self._out)

    def _runs(self, shown: Cells, wanted: Cells, y: int) -> list[tuple[int, int]]:
        """Half-open runs of changed cells; those with little between them joined, wide characters kept whole."""
        old, new, looks = shown.characters[y], wanted.characters[y], wanted.pens[y]
        changed = [
            x for x, (a, b, c, d) in enumerate(zip(old, new, shown.pens[y], looks, strict=True)) if a != b or c != d
        ]
        runs: list[tuple[int, int]] = []
        for x in changed:
            start, end = x, x + 1
            while start and (new[start] == REST or old[start] == REST):
                start -= 1
            while end < len(new) and (new[end] == REST or old[end] == REST):
                end += 1
            if runs and (start <= runs[-1][1] or self._joins(looks, runs[-1][1], start)):
                runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
            else:
                runs.append((start, end))
        return runs

    @staticmethod
    def _joins(looks: list[int], end: int, start: int) -> bool:
        return start - end <= _SHORT_GAP and all(look == looks[end - 1] for look in looks[end:start])

    def _draw(self, characters: list[str], looks: list[int], run: tuple[int, int], y: int) -> bool:
        """True when the rest of the line has been erased, and so drawn."""
        start, end = run
        tail = self._blank_tail(characters, looks, start)
        erase = end - tail >= _ERASE_LINE_FROM and self._pens.erasable(looks[-1])
        x, last = start, tail if erase else end
        while x < last:
            self._move(x, y)
            if not self._is_ground(characters[x], looks[x]):
                self._change(looks[x])
            stop = x + 1
            while stop < last and (looks[stop] == self._pen or self._is_ground(characters[stop], looks[stop])):
                stop += 1
            self._write(characters[x:stop], x, y)
            x = stop
        if erase:
            self._move(tail, y)
            if not self._is_ground(" ", looks[-1]):
                self._change(looks[-1])
            self._out.append("\x1b[K")
        return erase

    @staticmethod
    def _blank_tail(characters: list[str], looks: list[int], start: int) -> int:
        """Where the blanks of one look begin that end the line, `start` at the earliest."""
        tail, look = len(characters), looks[-1]
        while tail > start and characters[tail - 1] == " " and looks[tail - 1] == look:
            tail -= 1
        return tail

    def _write(self, cells: list[str], x: int, y: int) -> None:
        """Draws cells of one look; long runs of blanks by ECH where it leaves what spaces would."""
        text = "".join(cells)
        if not text.isascii() and _doubtful(text):
            for place, cell in enumerate(cells, x):
                if cell != REST:
                    self._text(cell, place, y, 2 if cells[place - x + 1 :][:1] == [REST] else 1)
                    self._x = None if _doubtful(cell) else self._x
            return
        position = 0
        if self._abilities.turns_off and REST not in cells and len(text) == len(cells) and self._pen_erases():
            for blanks in _BLANKS.finditer(text):
                self._text(text[position : blanks.start()], x + position, y, blanks.start() - position)
                self._move(x + blanks.start(), y)
                self._out.append(f"\x1b[{len(blanks[0])}X")
                position = blanks.end()
        self._text(text[position:], x + position, y, len(cells) - position)

    def _text(self, text: str, x: int, y: int, cells: int) -> None:
        if text:
            self._move(x, y)
            self._out.append(text)
            self._x = None if x + cells >= self._width else x + cells

    def _pen_erases(self) -> bool:
        return self._pen is not None and self._pens.erasable(self._pen)

    def _is_ground(self, character: str, look: int) -> bool:
        """Whether a cell is a blank that the pen in hand draws as well as its own."""
        return character == " " and self._pens.covers(self._pen, look)

    def _change(self, look: int) -> None:
        if look != self._pen:
            self._out.append(self._pens.change(self._pen, look))
            self._pen = look

    def _move(self, x: int, y: int) -> None:
        """The cheapest way to a cell."""
        if (self._x, self._y) == (x, y):
            return
        if self._y == y and x == 0:
            self._out.append("\r")
        elif self._y is not None and self._y + 1 == y and x == 0:
            self._out.append("\r\n")
        elif self._y == y and self._x is not None and x > self._x:
            self._out.append("\x1b[C" if x == self._x + 1 else f"\x1b[{x - self._x}C")
        elif x == 0:
            self._out.append(f"\x1b[{y + 1}H" if y else "\x1b[H")
        else:
            self._out.append(f"\x1b[{y + 1};{x + 1}H")
        self._x, self._y = x, y


def _doubtful(text: str) -> bool:
    """Whether there are graphemes in it that terminals measure differently: joined emoji, emoji presentation."""
    return "\u200d" in text or "\ufe0f" in text

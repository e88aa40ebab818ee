"""The looks that cells have, numbered, and the shortest way from one look to the next.

Codes: ECMA-48, 8.3.117 (SGR); colours as rich makes them for the terminal's depth; links: OSC 8
(https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda).
"""

from typing import NamedTuple

from rich.color import Color
from rich.style import Style

from tui.wire.abilities import Abilities

PLAIN = 0
"""The terminal's default look."""

# Bits of rich's Style.attributes, by position: bold dim italic underline blink blink2 reverse conceal strike
# underline2 frame encircle overline.
_ON = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")
_OFF = (22, 22, 23, 24, 25, 25, 27, 28, 29, 24, 54, 54, 55)
_VT100 = 0b0_0000_0101_1001  # bold, underline, blink, reverse
_INKED = 0b1_1111_0100_1000  # what shows on a blank cell: underline, reverse, strike, frames, overline


class Pen(NamedTuple):
    """One look: attribute bits, SGR codes of the colours ("" is the default) and the target of a link."""

    attributes: int = 0
    foreground: str = ""
    background: str = ""
    link: str = ""


class Pens:
    """Numbers for looks. The table grows with the looks ever shown, some hundreds in a session."""

    def __init__(self, abilities: Abilities) -> None:
        self._abilities = abilities
        self._pens = [Pen()]
        self._grounds = [Pen()]
        """What is seen of a blank drawn with each pen: its background, where nothing else of it shows."""
        self._numbers = {Pen(): PLAIN}
        self._of_style: dict[Style, int] = {}
        self._changes: dict[tuple[int | None, int], str] = {}

    def of(self, style: Style | None) -> int:
        """The look of a style; its meta data (actions, offsets) doesn't count."""
        if style is None:
            return PLAIN
        number = self._of_style.get(style)
        if number is None:
            number = self._number(self._pen(style))
            if len(self._of_style) > 20_000:  # styles with ever new meta data
                self._of_style.clear()
            self._of_style[style] = number
        return number

    def erasable(self, pen: int) -> bool:
        """Whether erasing with this pen leaves what spaces drawn with it would."""
        look = self._pens[pen]
        return not (look.attributes & _INKED or look.link) and (not look.background or self._abilities.erases_in_colour)

    def covers(self, pen: int | None, blank: int) -> bool:
        """Whether a blank of look `blank` may as well be drawn with `pen`."""
        return pen is not None and self._grounds[pen] == self._grounds[blank]

    def change(self, old: int | None, new: int) -> str:
        """What to send so that the terminal draws with `new`; `old` None: nobody knows what it draws with."""
        key = (old, new)
        codes = self._changes.get(key)
        if codes is None:
            codes = self._changes[key] = self._change(None if old is None else self._pens[old], self._pens[new])
        return codes

    def _number(self, pen: Pen) -> int:
        number = self._numbers.setdefault(pen, len(self._pens))
        if number == len(self._pens):
            self._pens.append(pen)
            inked = pen.attributes & _INKED or pen.link
            self._grounds.append(pen if inked else Pen(background=pen.background))
        return number

    def _pen(self, style: Style) -> Pen:
        bits = sum(1 << bit for bit, name in enumerate(_ATTRIBUTES) if getattr(style, name))
        if not self._abilities.turns_off:
            bits &= _VT100
        return Pen(bits, self._colour(style.color, True), self._colour(style.bgcolor, False), style.link or "")

    def _colour(self, colour: Color | None, foreground: bool) -> str:
        depth = self._abilities.colours
        if colour is None or colour.is_default or depth is None:
            return ""
        return ";".join(colour.downgrade(depth).get_ansi_codes(foreground))

    def _change(self, old: Pen | None, new: Pen) -> str:
        link = _link(new.link) if new.link != (old.link if old else "") else ""
        if old is not None and old[:-1] == new[:-1]:
            return link
        codes = ";".join(["", *_attribute_codes(new.attributes), *filter(None, (new.foreground, new.background))])
        if old is not None and self._abilities.turns_off:
            codes = min(_steps(old, new), codes, key=len)
        return f"\x1b[{codes}m{link}"


_ATTRIBUTES = (
    *("bold", "dim", "italic", "underline", "blink", "blink2", "reverse", "conceal", "strike"),
    *("underline2", "frame", "encircle", "overline"),
)


def _attribute_codes(attributes: int) -> list[str]:
    return [code for bit, code in enumerate(_ON) if attributes >> bit & 1]


def _steps(old: Pen, new: Pen) -> str:
    """Only what changes. Some attributes share their off code: the other of a pair is then set again."""
    dropped = old.attributes & ~new.attributes
    off = sorted({code for bit, code in enumerate(_OFF) if dropped >> bit & 1})
    again = sum(1 << bit for bit, code in enumerate(_OFF) if code in off)
    codes = [str(code) for code in off] + _attribute_codes(new.attributes & (~old.attributes | again))
    if old.foreground != new.foreground:
        codes.append(new.foreground or "39")
    if old.background != new.background:
        codes.append(new.background or "49")
    return ";".join(codes)


def _link(target: str) -> str:
    return f"\x1b]8;;{target}\x1b\\"

"""What the terminal at the other end can do, as far as the bytes we send depend on it."""

import locale
import re
from collections.abc import Mapping

import msgspec
from rich.color import ColorSystem

_ERASES_IN_COLOUR = ("xterm", "tmux", "linux", "rxvt", "alacritty", "kitty", "foot", "wezterm", "ghostty", "vte")
_HARDWARE = re.compile(r"vt(1\d\d|2\d\d)|ansi|dumb")


class Abilities(msgspec.Struct, frozen=True):
    """`colours`: None is monochrome. `erases_in_colour`: erasing leaves the current background (terminfo's `bce`; GNU
    screen doesn't). `turns_off`: knows SGR 22-29 and 39/49, which a VT100 doesn't. `queries`: swallows mode queries
    that it does not know (older Linux consoles print their last letter). `charset`: a Python codec."""

    colours: ColorSystem | None = ColorSystem.TRUECOLOR
    erases_in_colour: bool = True
    turns_off: bool = True
    queries: bool = True
    charset: str = "utf-8"

    @classmethod
    def of(cls, environ: Mapping[str, str], colours: ColorSystem | None) -> "Abilities":
        """From TERM and the locale; `colours` is what the app's profile of the terminal found."""
        term = environ.get("TERM", "")
        hardware = _HARDWARE.match(term) is not None
        return cls(
            colours=None if hardware else colours,
            erases_in_colour=term.startswith(_ERASES_IN_COLOUR),
            turns_off=not hardware,
            queries=not hardware and term != "linux",
            charset=locale.getpreferredencoding(False).lower(),
        )

"""What the terminal can do. Read before Textual is imported, since Textual looks at the environment only then."""

import locale
import os
from collections.abc import Mapping, MutableMapping
from enum import StrEnum

import msgspec

from tui.glyphs import ASCII, UNICODE, Glyphs


class Colours(StrEnum):
    NONE = "none"
    SIXTEEN = "16"
    MANY = "256"
    TRUE = "truecolor"


_SIXTEEN = ("linux", "ansi", "cygwin", "rxvt", "xterm-16color", "xterm-color", "eterm-color")
_NONE = ("vt1", "vt2", "vt3", "vt4", "vt5", "xterm-mono", "wy", "sun")
"""Beginnings of $TERM. Textual reads no terminfo, and would paint a vt100 in sixteen million colours."""
_NO_UNICODE = ("linux", "vt1", "vt2", "vt3", "vt4", "vt5", "ansi", "cygwin", "wy", "sun")
"""Terminals whose fonts lack our signs, whatever the locale says: the kernel's console has 256 or 512 glyphs."""
_NO_KEY_PROTOCOL = ("linux", "screen", "vt", "ansi")
"""Terminals that answer the kitty key protocol wrongly or print it: facts in textual#4779, tmux#81."""
_RICH_SYSTEM = {Colours.SIXTEEN: "standard", Colours.MANY: "256", Colours.TRUE: "truecolor"}


class TerminalProfile(msgspec.Struct, frozen=True):
    colours: Colours = Colours.TRUE
    unicode: bool = True
    remote: bool = False
    """Over SSH: nothing moves that needn't."""
    tmux: bool = False
    plain_keys: bool = False
    """The kitty key protocol is not even asked for."""

    @property
    def glyphs(self) -> Glyphs:
        return UNICODE if self.unicode else ASCII

    def prepare(self, environ: MutableMapping[str, str]) -> None:
        """Tells Textual, which must not have been imported yet. What the operator has set himself stays, except a size:
        with that Textual would neither ask the terminal nor follow it when it is resized."""
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)
        environ.setdefault("TEXTUAL_ANIMATIONS", "none" if self.remote else "basic")
        if self.remote:
            environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
        if self.plain_keys:
            environ.setdefault("TEXTUAL_DISABLE_KITTY_KEY", "1")
        if self.colours in _RICH_SYSTEM:
            environ.setdefault("TEXTUAL_COLOR_SYSTEM", _RICH_SYSTEM[self.colours])


def profile(environ: Mapping[str, str] = os.environ, encoding: str | None = None) -> TerminalProfile:
    """The terminal that `environ` describes; `encoding` is the locale's, asked for when it isn't given."""
    term = environ.get("TERM", "")
    encoding = encoding or locale.getpreferredencoding(do_setlocale=False)
    return TerminalProfile(
        colours=_colours(term, environ),
        unicode=encoding.upper().replace("-", "").startswith("UTF8") and not term.startswith(_NO_UNICODE),
        remote=any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")),
        tmux=bool(environ.get("TMUX")) or term.startswith("tmux"),
        plain_keys=term.startswith(_NO_KEY_PROTOCOL),
    )


def _colours(term: str, environ: Mapping[str, str]) -> Colours:
    """NO_COLOR counts when it is not empty (no-color.org). COLORTERM is believed except where $TERM excludes it: sudo
    and ssh carry it to terminals that it doesn't describe."""
    if environ.get("NO_COLOR") or term.startswith(_NONE):
        return Colours.NONE
    if term.startswith(_SIXTEEN) and "256" not in term:
        return Colours.SIXTEEN
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return Colours.TRUE
    return Colours.MANY if "256" in term or term.startswith(("xterm-kitty", "alacritty", "foot")) else Colours.SIXTEEN

"""Signs of levels, outcomes and states, each with its plain twin: none is told apart by colour alone."""

import locale
import sys

LEVELS = "■✗▲●·›~"
_ASCII_LEVELS = "#x!*.>~"
LEVEL_NAMES = "fatal", "error", "warning", "stage", "step", "api", "wire"
"""Of LOGLEVEL 0 to 6, in one word."""
_SIGNS = {
    "ok": ("✓", "+"), "failed": ("✗", "x"), "cancelled": ("■", "#"), "skipped": ("-", "-"),
    "running": ("▶", ">"), "waiting": ("·", "."), "starting": ("▷", ">"), "cancelling": ("■", "#"),
    "success": ("✓", "+"), "completed with exceptions": ("▲", "!"), "failure": ("✗", "x"), "dead": ("†", "D"),
    "cursor": ("▌", ">"), "marked": ("┃", "|"), "full": ("━", "#"), "empty": ("─", "."),
    "thumb": ("█", "#"), "track": ("│", "|"), "more": ("…", "~"), "folded": ("▸", "+"), "between": (" → ", " > "),
}  # fmt: skip


def plain_terminal() -> bool:
    """Whether the terminal's encoding has no such signs."""
    encoding = getattr(sys.__stdout__, "encoding", None) or locale.getpreferredencoding(False)
    return "utf" not in encoding.lower()


def level_sign(level: int, *, plain: bool) -> str:
    return (_ASCII_LEVELS if plain else LEVELS)[level]


def sign(name: str, *, plain: bool) -> str:
    """The sign of an outcome, of a job's state, or of a part of the picture; "?" for one that is not known."""
    return _SIGNS.get(name, ("?", "?"))[plain]

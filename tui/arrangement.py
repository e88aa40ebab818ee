"""Which panes a screen of some size has room for, and how it is divided. Knows no widget.

The panes lie in two places: inventory and configuration share the upper one, side by side; the job log has the lower
one. A narrow screen shows one of the upper two at a time; a short one shows the upper place or the job log. A screen
of 80x24 is both: one pane fills it, the others are tabs in its title, and a strip tells what the job log would.
"""

import msgspec

UPPER, LOG = ("inventory", "config"), "job_log"
NARROW, SHORT = 100, 30
"""Columns and rows below which two panes side by side, or one above the other, are no longer worth their frames."""
_LEAST_COLUMNS, _LEAST_ROWS = 24, 6


class Arrangement(msgspec.Struct, frozen=True):
    shown: tuple[str, ...]
    """Pane ids, in the order inventory, config, job_log."""
    tabs: dict[str, tuple[str, ...]]
    """For each pane shown: the panes whose names its title bears, itself among them."""
    strip: bool
    """Whether a line tells what the hidden job log would."""
    inventory_columns: int
    log_rows: int
    """Of the job log with its title, where it shares the height."""


def arrange(
    columns: int, rows: int, *, focus: str, upper: str, maximised: bool, inventory_share: float, log_share: float
) -> Arrangement:
    """`columns` and `rows` are the room of all panes together (header and footer taken off); `focus` is the pane with
    the keyboard, `upper` the one of the upper two that had it last."""
    narrow, short = columns < NARROW, rows < SHORT - 2
    if maximised:
        shown: tuple[str, ...] = (focus,)
    else:
        top = (upper,) if narrow else UPPER
        shown = (LOG,) if short and focus == LOG else top if short else (*top, LOG)
    log_rows = min(max(_LEAST_ROWS, round(rows * log_share)), max(1, rows - _LEAST_ROWS))
    wide = min(max(_LEAST_COLUMNS, round(columns * inventory_share)), max(1, columns - _LEAST_COLUMNS))
    strip = LOG not in shown
    return Arrangement(shown, _tabs(shown), strip, wide, log_rows)


def _tabs(shown: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Hidden panes are named in the title of the pane that has their place: the last one above the job log."""
    everything = (*UPPER, LOG)
    above = [pane for pane in shown if pane != LOG]
    bearer = above[-1] if above else LOG
    hidden = {pane for pane in everything if pane not in shown}
    return {
        pane: tuple(other for other in everything if other == pane or (pane == bearer and other in hidden))
        for pane in shown
    }

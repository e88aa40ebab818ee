"""Which sign of the console stands for a level of the log, for an outcome, for a job's state."""

from tui.glyphs import Glyphs

LEVEL_NAMES = "fatal", "error", "warning", "stage", "step", "api", "wire"
"""Of LOGLEVEL 0 to 6, in one word."""
_STATES = {
    "ok": "ok", "success": "ok", "failed": "error", "failure": "error", "completed with exceptions": "warning",
    "cancelled": "cancelled", "cancelling": "cancelled", "skipped": "skipped", "dead": "skipped",
    "warning": "warning", "starting": "waiting", "waiting": "waiting", "running": "running",
}  # fmt: skip


def level_sign(level: int, glyphs: Glyphs) -> str:
    signs = (
        glyphs.cancelled, glyphs.error, glyphs.warning, glyphs.powered_on, glyphs.separator, glyphs.right, glyphs.rule,
    )  # fmt: skip
    return signs[level]


def state_sign(state: str, glyphs: Glyphs) -> str:
    """Of a stage's outcome, or of how a job is or ended; "?" for a word that a newer worker wrote."""
    return getattr(glyphs, _STATES[state]) if state in _STATES else "?"


def finding_sign(severity: str | None, glyphs: Glyphs) -> str:
    """Of what is said about a configuration; a blank for all but errors, warnings and notes."""
    return getattr(glyphs, severity) if severity in ("error", "warning", "note") else " "

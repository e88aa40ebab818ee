"""Below the options, or the text: what is to be said about the one under the cursor, what is wrong with it first."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from engine.config.finding import Finding
from engine.config.options import OPTIONS
from engine.secret import redact
from tui.glyphs import UNICODE, Glyphs
from tui.models.marks import finding_sign

if TYPE_CHECKING:
    from tui.models.open_config import OpenConfig
    from tui.models.option_form import Row

_STYLES = {
    "error": "bold $state-error", "warning": "$state-warning", "note": "$state-note", "fix": "$muted",
    "repair": "$accent", "help": "", "allowed": "", "cost": "$muted", "origin": "$muted",
}  # fmt: skip
_LOW = 14
"""Rows of the pane below which there is room for what is wrong and little else."""


class OptionAbout(Static):
    DEFAULT_CSS = """
    OptionAbout { height: 35%; min-height: 3; max-height: 10; padding: 0 1; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__(id="config_about")
        self.glyphs: Glyphs = UNICODE

    def say(self, text: str) -> None:
        self.update(Content(text))

    def show_row(self, config: "OpenConfig", row: "Row", room: int) -> None:
        """`room`: the rows that the whole pane has."""
        from tui.models.option_form import about  # noqa: PLC0415 - a console without a file starts without it

        said = about(config, row)
        self._show(said if room > _LOW else said[:2])

    def show_trial(self, config: "OpenConfig", name: str, text: str) -> None:
        """What would be wrong with this value, while it is typed."""
        trouble = config.trial(name, text)
        kind = "error" if config.is_bad(name, text) else "warning"
        said = [(kind, trouble)] if trouble else []
        allowed = f"Allowed: {OPTIONS[name].allowed}. Enter takes it, Esc leaves it as it was."
        self._show([*said, ("allowed", allowed)])

    def show_line(self, config: "OpenConfig", number: int) -> None:
        """What is wrong with a line of the text, counted from 1."""
        here = [finding for finding in config.findings if finding.line == number]
        if here:
            self._show(_of_line(config, here)[:3])
            return
        errors = sum(finding.severity == "error" for finding in config.findings)
        count = {0: "No errors.", 1: "1 error; ^N goes there."}.get(errors, f"{errors} errors; ^N goes to the next.")
        self.say(f"Line {number}. {count} Esc: back to the form.")

    def _show(self, said: Iterable[tuple[str, str]]) -> None:
        self.update(Content("\n").join(self._sentence(kind, text) for kind, text in said))

    def _sentence(self, kind: str, text: str) -> Content:
        sign = self.glyphs.right if kind in ("fix", "repair") else finding_sign(kind, self.glyphs)
        return Content.styled(f"{sign} {text}" if sign.strip() else text, _STYLES[kind])


def _of_line(config: "OpenConfig", findings: Sequence[Finding]) -> list[tuple[str, str]]:
    from tui.models.option_form import Row, about  # noqa: PLC0415

    name = findings[0].options[0] if findings[0].options else ""
    if name in OPTIONS:
        return about(config, Row("", name=name, findings=tuple(findings)))
    return [(finding.severity, redact(finding.text)) for finding in findings]

"""A unified diff, with the sign of each line in a column of its own: colour only repeats what the signs say."""

from collections.abc import Iterable

from textual.content import Content
from textual.widgets import Static

_STYLES = {"+": "$state-ok", "-": "$state-error", "@": "$accent", " ": "$foreground"}


def coloured(lines: Iterable[str]) -> Content:
    """`lines` are those of difflib or of `engine.config.difference`, with or without their line ends."""
    shown = []
    for number, line in enumerate(lines):
        text = line.rstrip("\r\n")
        if text.startswith(("--- ", "+++ ")) and number < 2:
            shown.append(Content.styled(text, "bold"))
        elif text.startswith("@@"):
            shown.append(Content.styled(text, _STYLES["@"]))
        elif text[:1] in ("+", "-"):
            style = _STYLES[text[0]]
            shown.append(
                Content.assemble(Content.styled(f"{text[0]} ", f"bold {style}"), Content.styled(text[1:], style))
            )
        else:
            shown.append(Content.styled(f"  {text[1:]}", "$muted"))
    return Content("\n").join(shown)


class DiffView(Static):
    """Give it lines whose secrets are masked already: it shows what it gets."""

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__(coloured(lines))

"""A unified diff, with the sign of each line in a column of its own: colour only repeats what the signs say."""

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import chop_cells
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

_STYLES = {"+": "$state-ok", "-": "$state-error", "@": "$accent", " ": "$muted"}


class DiffView(Widget):
    """Give it lines, with or without their ends, whose secrets are masked already: it shows what it gets. A line that
    is too long goes on below, without a sign of its own."""

    DEFAULT_CSS = "DiffView { height: auto; width: 1fr; }"

    def __init__(self, lines: Iterable[str], without: str = "") -> None:
        super().__init__()
        self._lines, self._without = tuple(lines), without

    def show(self, lines: Sequence[str], without: str = "") -> None:
        """Another diff; `without` is said where it has no lines."""
        self._lines, self._without = tuple(lines), without
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, sum(1 for _ in self._painted(width)))

    def render(self) -> Content:
        return Content("\n").join(self._painted(self.size.width)) if self._lines else Content(self._without)

    def _painted(self, width: int) -> Iterator[Content]:
        for number, line in enumerate(self._lines):
            text = line.rstrip("\r\n").expandtabs(4)
            text = "".join(character if character.isprintable() else "?" for character in text)
            if number < 2 and text.startswith(("--- ", "+++ ")):
                sign, style = "", "bold"
            elif text.startswith("@@"):
                sign, style = "", _STYLES["@"]
            else:
                sign, text = text[:1] or " ", text[1:]
                style = _STYLES.get(sign, _STYLES[" "])
                sign = f"{sign} "
            for piece in chop_cells(text, max(8, width - len(sign))) or [""]:
                yield Content.assemble(Content.styled(sign, f"bold {style}" if sign else style),
                                       Content.styled(piece, style))  # fmt: skip
                sign = " " * len(sign)

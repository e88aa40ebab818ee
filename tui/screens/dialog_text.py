"""Text in the dialogs of the configuration."""

from collections.abc import Iterable

from textual.content import Content
from textual.widgets import Static

Styled = tuple[str, str]


def text(*lines: str | Styled | Content, name: str | None = None) -> Static:
    """Lines, plain or with a style; the dialog scrolls where they are too many."""
    return Static(joined(lines), id=name)


def joined(lines: Iterable[str | Styled | Content]) -> Content:
    return Content("\n").join(
        line if isinstance(line, Content) else Content(line) if isinstance(line, str) else Content.styled(*line)
        for line in lines
    )


def printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line.expandtabs(4))

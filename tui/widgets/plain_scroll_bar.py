"""Scroll bars for terminals without block signs: Textual draws their ends in eighths of a cell."""

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender

_SMOOTH = ScrollBar.renderer


class PlainScrollBarRender(ScrollBarRender):
    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


def choose_scroll_bars(*, unicode: bool) -> None:
    """For all scroll bars of the process: Textual has one renderer for them."""
    ScrollBar.renderer = _SMOOTH if unicode else PlainScrollBarRender

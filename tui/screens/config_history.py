"""The saved versions of a configuration file, each with what taking it back would change."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.config.difference import unified
from engine.config.history import Version
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.widgets.diff_view import coloured


class ConfigHistoryScreen(CommandDialog[Version]):
    """Gives the version to take back into the editor. Newest first."""

    DEFAULT_CSS = """
    ConfigHistoryScreen OptionList { height: auto; max-height: 10; border: none; background: $surface; padding: 0; }
    ConfigHistoryScreen #diff { margin-top: 1; }
    """
    AUTO_FOCUS = "OptionList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("versions.take", "Take it back", "Puts this version into the editor; nothing is written.", ("enter",),
                footer="Take it back into the editor"),
    )  # fmt: skip

    def __init__(self, path: Path, versions: Sequence[Version], current: int, data: bytes) -> None:
        super().__init__(f"Saved versions of {path.name}", f"vcb config history {path}")
        self._path, self._versions, self._current, self._data = path, versions[::-1], current, data

    def body(self) -> Iterable[Widget]:
        if not self._versions:
            yield Static(Content("vcb has not saved this file yet."))
            return
        yield OptionList(*(Option(self._label(version)) for version in self._versions))
        yield Static(id="diff")

    def _label(self, version: Version) -> Content:
        here = "->" if version.number == self._current else "  "
        when = f"{version.at.astimezone():%Y-%m-%d %H:%M:%S}"
        return Content(f"{here} {version.number:>3}  {when}  {version.what}")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        lines = unified(self._data, self._versions[event.option_index].data, self._path)
        text = coloured(lines) if lines else Content("This is what stands in the editor.")
        self.query_one("#diff", Static).update(text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_take()

    def action_take(self) -> None:
        if self._versions:
            self.dismiss(self._versions[self.query_one(OptionList).highlighted or 0])

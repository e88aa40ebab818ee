"""The saved versions of a configuration file, each with what taking it back would change."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.widget import Widget

from engine.config.difference import unified
from engine.config.history import Version
from tui.commands import Command
from tui.screens.command_dialog import CommandDialog
from tui.screens.dialog_text import text
from tui.widgets.choice_list import Choice, ChoiceList
from tui.widgets.diff_view import DiffView

_MOST_SHOWN = 8


class ConfigHistoryScreen(CommandDialog[Version]):
    """Gives the version to take back into the editor. Newest first."""

    DEFAULT_CSS = """
    ConfigHistoryScreen DiffView { margin-top: 1; }
    """
    AUTO_FOCUS = "ChoiceList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("versions.take", "Take it back", "Puts this version into the editor; nothing is written.", ("enter",),
                footer="Take it back into the editor"),
    )  # fmt: skip
    hides_impossible = True

    def __init__(self, path: Path, versions: Sequence[Version], current: int, data: bytes) -> None:
        super().__init__(f"Saved versions of {path.name}", f"vcb config history {path}")
        self._path, self._versions, self._current, self._data = path, versions[::-1], current, data

    def body(self) -> Iterable[Widget]:
        if not self._versions:
            yield text("vcb has not saved this file yet.")
            return
        yield ChoiceList()
        yield DiffView(())

    def on_mount(self) -> None:
        super().on_mount()
        if self._versions:
            lines = self.query_one(ChoiceList)
            lines.styles.height = min(len(self._versions), _MOST_SHOWN)
            lines.show([Choice(str(version.number), self._label(version)) for version in self._versions])
            self._show_difference()

    def _label(self, version: Version) -> str:
        here = "on the disk" if version.number == self._current else ""
        return f"{version.number:>3}  {version.at.astimezone():%Y-%m-%d %H:%M:%S}  {version.what}  {here}"

    @property
    def _here(self) -> Version:
        return self._versions[self.query_one(ChoiceList).cursor]

    @on(ChoiceList.Moved)
    def _show_difference(self) -> None:
        lines = unified(self._data, self._here.data, self._path)
        self.query_one(DiffView).show(lines, "This is what stands in the editor.")

    def why_not(self, command: Command) -> str:
        if command.id == "versions.take" and not self._versions:
            return "There is no version to take back."
        return super().why_not(command)

    @on(ChoiceList.Taken)
    def action_take(self) -> None:
        self.dismiss(self._here)

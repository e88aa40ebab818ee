"""The first start: the three panes in one screen, and the four keys that lead everywhere else."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.commands import Command
from tui.screens.command_dialog import CLOSE, CommandDialog


class Welcome(CommandDialog[None]):
    DEFAULT_CSS = """
    Welcome > #dialog { width: 76; max-width: 94%; }
    Welcome #places { margin: 1 0; color: $muted; width: auto; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        Command(
            "welcome.start", "Start", "Closes this and starts.", ("enter", "space"), footer="Start", method="close"
        ),
        CLOSE,
    )

    def __init__(self) -> None:
        super().__init__("Welcome to vcb")

    def body(self) -> Iterable[Widget]:
        yield Static(Content("VMware Consolidated Backup for today's vSphere. Three panes:"))
        yield Static(self._picture(), id="places")
        yield Static(
            self._entries(
                ("1 Inventory", "your VMs and disks: what is backed up, when last, what is skipped and why. "
                                "Space marks, / filters."),
                ("2 Configuration", "every option with what it means here, what it costs and what is wrong with it. "
                                    "Nothing invalid is saved by accident."),
                ("3 Job log", "what jobs do, live, at LOGLEVEL 0 to 6. Jobs run on their own: leave, "
                              "lose the line, come back."),
            )
        )  # fmt: skip
        yield Static(
            Content.assemble(
                "\n", *self._keys(("?", "help"), ("^P", "all commands"), ("Tab", "next pane"), ("q", "leave"))
            )
        )

    def _picture(self) -> Content:
        rows = (
            "┌──────────────────┬──────────────────────────┐",
            "│ 1 Inventory      │ 2 Configuration          │",
            "│                  │                          │",
            "├──────────────────┴──────────────────────────┤",
            "│ 3 Job log                                   │",
            "└─────────────────────────────────────────────┘",
        )
        picture = "\n".join(rows)
        if not self.app.profile.unicode:
            picture = picture.translate(str.maketrans("─│┌┐└┘├┤┬┴", "-|++++++++"))
        return Content(picture)

    @staticmethod
    def _entries(*entries: tuple[str, str]) -> Content:
        lines = [Content.assemble(Content.styled(name, "bold $accent"), f"  {text}") for name, text in entries]
        return Content("\n").join(lines)

    @staticmethod
    def _keys(*keys: tuple[str, str]) -> list[Content]:
        return [Content.assemble(Content.styled(key, "bold $accent"), f" {word}    ") for key, word in keys]

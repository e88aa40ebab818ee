"""The command palette: everything that can be done, found by typing a part of its name."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.commands import Command, key_word
from tui.screens.command_dialog import CLOSE, CommandDialog
from tui.widgets.choice_list import Choice, ChoiceList


def fits(wanted: str, text: str) -> int | None:
    """How well `wanted` names `text`: the smaller the better, None for not at all. A part of it beats letters of it in
    order; the beginning of a word beats its middle."""
    wanted, text = wanted.lower().strip(), text.lower()
    if not wanted:
        return 0
    if (at := text.find(wanted)) >= 0:
        return at if at == 0 or not text[at - 1].isalnum() else 50 + at
    place, spread = -1, 0
    for letter in wanted.replace(" ", ""):
        found = text.find(letter, place + 1)
        if found < 0:
            return None
        spread, place = spread + found - place - 1, found
    return 200 + spread


class Palette(CommandDialog[str]):
    """Answers the id of the command chosen. `commands_shown` come with the words that name their scope."""

    DEFAULT_CSS = """
    Palette { align: center top; }
    Palette > #dialog { margin-top: 2; height: 80%; width: 80; max-width: 94%; }
    Palette #dialog-body { height: 1fr; overflow: hidden; }
    Palette Input { margin-bottom: 1; }
    Palette #told { height: 2; color: $muted; margin-top: 1; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        Command("palette.take", "Do it", "Does what the cursor is on.", ("enter",), footer="Do it"),
        Command("palette.up", "Up", "The line above.", ("up", "ctrl+k"), method="move", argument=-1, hidden=True),
        Command("palette.down", "Down", "The line below.", ("down", "ctrl+n"), method="move", argument=1, hidden=True),
        Command("palette.page_up", "Page up", "Ten lines up.", ("pageup",), method="move", argument=-10, hidden=True),
        Command("palette.page_down", "Page down", "Ten lines down.", ("pagedown",), method="move", argument=10,
                hidden=True),
        CLOSE,
    )  # fmt: skip

    def __init__(self, shown: Sequence[tuple[str, Command]]) -> None:
        super().__init__("Commands")
        self._shown = shown
        self._by_id = {command.id: command for _, command in shown}

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder="a part of its name", id="wanted")
        yield ChoiceList()
        yield Static("", id="told", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self._fill("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self._fill(message.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_take()

    def _fill(self, wanted: str) -> None:
        scored = [
            (score, place, scope, command)
            for place, (scope, command) in enumerate(self._shown)
            if (score := fits(wanted, f"{command.title} {scope}")) is not None
        ]
        ascii_only = not self.app.profile.unicode
        self.query_one(ChoiceList).show(
            [
                Choice(
                    command.id,
                    f"{scope}: {command.title}",
                    " ".join(key_word(key, ascii_only=ascii_only) for key in command.keys[:2]),
                )
                for _, _, scope, command in sorted(scored, key=lambda entry: entry[:2])
            ]
        )
        self._tell()

    def _tell(self) -> None:
        choices = self.query_one(ChoiceList)
        chosen = choices.choices[choices.cursor] if choices.choices else None
        self.query_one("#told", Static).update(self._by_id[chosen.id].help if chosen else "")

    def action_move(self, step: int) -> None:
        self.query_one(ChoiceList).action_move(step)
        self._tell()

    def action_take(self) -> None:
        self.query_one(ChoiceList).action_take()

    @on(ChoiceList.Taken)
    def _taken(self, message: ChoiceList.Taken) -> None:
        self.dismiss(message.choice.id)

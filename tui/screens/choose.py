"""A dialog for an option with a fixed list of words: each in a line, and below what the one at the cursor means."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.commands import Command
from tui.models.option_form import Choice, set_command
from tui.screens.command_dialog import CommandDialog
from tui.widgets.choice_list import Choice as Line, ChoiceList


class ChooseScreen(CommandDialog[str]):
    """Gives the chosen word, or for several the words with ", " between, in the order of their choice."""

    DEFAULT_CSS = """
    ChooseScreen #help { margin-bottom: 1; }
    ChooseScreen #meaning { margin-top: 1; min-height: 4; }
    """
    AUTO_FOCUS = "ChoiceList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("choose.take", "Take it", "Takes the word under the cursor; of a list, the marked ones.", ("enter",),
                footer="Take"),
        Command("choose.toggle", "Mark", "Puts the word into the list, or takes it out.", ("space",), footer="Mark"),
    )  # fmt: skip
    hides_impossible = True

    def __init__(self, file: Path, name: str, help_text: str, choices: Sequence[Choice], chosen: Sequence[str], *,
                 many: bool) -> None:  # fmt: skip
        super().__init__(name, set_command(file, name, ", ".join(chosen)))
        self.file, self.option_name, self.help_text, self.choices, self.many = file, name, help_text, choices, many
        self.chosen = list(chosen)

    def body(self) -> Iterable[Widget]:
        yield Static(Content(self.help_text), id="help")
        yield ChoiceList()
        yield Static(id="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        words = [choice.word for choice in self.choices]
        lines = self.query_one(ChoiceList)
        lines.styles.height = len(words)
        lines.show(self._lines(), words.index(self.chosen[0]) if self.chosen and self.chosen[0] in words else 0)
        self._tell()

    def _lines(self) -> list[Line]:
        width = max(len(choice.word) for choice in self.choices)
        sign = self.app.glyphs.error
        return [
            Line(choice.word, f"{self._mark(choice.word)} {choice.word:<{width}}  {choice.meaning}",
                 f"{sign} not here" if choice.hindrance else "", muted=bool(choice.hindrance))
            for choice in self.choices
        ]  # fmt: skip

    def _mark(self, word: str) -> str:
        if not self.many:
            return "(o)" if word in self.chosen else "( )"
        return f"[{self.chosen.index(word) + 1}]" if word in self.chosen else "[ ]"

    @property
    def _here(self) -> Choice:
        return self.choices[self.query_one(ChoiceList).cursor]

    @on(ChoiceList.Moved)
    def _tell(self) -> None:
        """What the word at the cursor means, and the command that would take it."""
        here = self._here
        parts: list[str | tuple[str, str]] = [(here.word, "bold"), f": {here.meaning}"]
        if here.needs:
            parts.append((f" {here.needs}", "$muted"))
        if here.hindrance:
            parts.append((f"\n{self.app.glyphs.error} {here.hindrance}", "$state-error"))
        self.query_one("#meaning", Static).update(Content.assemble(*parts))
        self.show_command(set_command(self.file, self.option_name, self._answer()))

    def _answer(self) -> str:
        return ", ".join(self.chosen) if self.many else self._here.word

    def why_not(self, command: Command) -> str:
        if command.id == "choose.toggle" and not self.many:
            return "One word only: Enter takes it."
        return super().why_not(command)

    @on(ChoiceList.Taken)
    def action_take(self) -> None:
        self.dismiss(self._answer())

    def action_toggle(self) -> None:
        word, lines = self._here.word, self.query_one(ChoiceList)
        if word in self.chosen:
            self.chosen.remove(word)
        else:
            self.chosen.append(word)
        lines.show(self._lines(), lines.cursor)
        self._tell()

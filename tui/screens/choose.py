"""A dialog for an option with a fixed list of words: each with what it means here."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.commands import Command
from tui.models.option_form import Choice
from tui.screens.command_dialog import CommandDialog


class ChooseScreen(CommandDialog[str]):
    """Gives the chosen word, or for several the words with ", " between, in the order of their choice."""

    DEFAULT_CSS = """
    ChooseScreen OptionList { height: auto; max-height: 70vh; border: none; background: $surface; padding: 0; }
    ChooseScreen #help { margin-bottom: 1; }
    """
    AUTO_FOCUS = "OptionList"
    commands: ClassVar[tuple[Command, ...]] = (
        Command("choose.take", "Take it", "Takes the word under the cursor; of a list, the marked ones.", ("enter",),
                footer="Take"),
        Command("choose.toggle", "Mark", "Puts the word into the list, or takes it out.", ("space",), footer="Mark"),
    )  # fmt: skip

    def __init__(self, name: str, help_text: str, choices: Sequence[Choice], chosen: Sequence[str], *, many: bool,
                 equivalent: str = "") -> None:  # fmt: skip
        super().__init__(name, equivalent)
        self.help_text, self.choices, self.many = help_text, choices, many
        self.chosen = list(chosen)

    def body(self) -> Iterable[Widget]:
        yield Static(Content(self.help_text), id="help")
        words = [choice.word for choice in self.choices]
        options = OptionList(*(Option(self._label(choice), choice.word) for choice in self.choices))
        options.highlighted = words.index(self.chosen[0]) if self.chosen and self.chosen[0] in words else 0
        yield options

    def _label(self, choice: Choice) -> Content:
        if self.many:
            mark = f"[{self.chosen.index(choice.word) + 1}] " if choice.word in self.chosen else "[ ] "
        else:
            mark = "(o) " if choice.word in self.chosen else "( ) "
        parts: list[str | tuple[str, str]] = [mark, (choice.word, "bold"), f"  {choice.meaning}"]
        if choice.needs:
            parts.append((f" {choice.needs}", "$muted"))
        if choice.hindrance:
            parts.append((f" x {choice.hindrance}", "$state-error"))
        return Content.assemble(*parts)

    def why_not(self, command: Command) -> str:
        if command.id == "choose.toggle" and not self.many:
            return "One word only: Enter takes it."
        return super().why_not(command)

    def action_take(self) -> None:
        place = self.query_one(OptionList).highlighted
        if self.many:
            self.dismiss(", ".join(self.chosen))
        elif place is not None:
            self.dismiss(self.choices[place].word)

    def action_toggle(self) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return
        word = self.choices[options.highlighted].word
        if word in self.chosen:
            self.chosen.remove(word)
        else:
            self.chosen.append(word)
        for choice in self.choices:
            options.replace_option_prompt(choice.word, self._label(choice))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_take()

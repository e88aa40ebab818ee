"""The one registry of what the console can do. Bindings, footer, palette and help screen are all drawn from it.

A command is data: who offers it (a pane, a screen, the console itself) names it in its `commands`, and has the method
`action_<name>` that does it. `Offers` makes the key bindings of the two.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from textual.binding import Binding

from engine.errors import VcbError
from engine.secret import redact

if TYPE_CHECKING:
    from textual.app import App

CONSOLE = "console"
"""The scope of commands that work in every pane."""

_WORDS = {
    "up": "↑", "down": "↓", "left": "←", "right": "→", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home",
    "end": "End", "enter": "Enter", "escape": "Esc", "space": "Space", "tab": "Tab", "shift+tab": "S-Tab",
    "backspace": "Bksp", "delete": "Del", "question_mark": "?", "colon": ":", "slash": "/",
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "plus": "+", "minus": "-", "equals_sign": "=", "full_stop": ".", "comma": ",", "exclamation_mark": "!",
    "asterisk": "*", "less_than_sign": "<", "greater_than_sign": ">", "at": "@", "number_sign": "#", "tilde": "~",
    "semicolon": ";", "apostrophe": "'",
}  # fmt: skip
"""What Textual calls a key, and what is printed on it."""
_ASCII_WORDS = {"up": "Up", "down": "Down", "left": "Left", "right": "Right"}


class Command(msgspec.Struct, frozen=True):
    """One thing the operator can do.

    `id` is `<scope>.<name>`, such as `inventory.filter`: the scope is a pane's `pane_id`, a screen's `scope`, or
    `console`; the name is that of the method `action_<name>` of who offers it. `title` is two or three words for the
    palette, `help` a full sentence: what it does and what it is good for. `keys` are Textual's names of keys, the first
    one is shown; only keys that exist on every terminal (no ctrl+a/b/h/i/j/m/z, no ctrl+shift, alt never alone).
    `footer` is the one word that the footer shows beside the key; without one the command is in help and palette only.
    `danger` marks what destroys something or is hard to undo: such a command must ask (screens/confirm.py).
    `argument` is passed to the action as its only parameter, so that keys 0-6 can be seven commands of one method.
    `hidden` keeps a command out of palette and help (the same thing by another way, such as plain motions).
    """

    id: str
    title: str
    help: str
    keys: tuple[str, ...] = ()
    footer: str = ""
    danger: bool = False
    method: str = ""
    argument: int | str | None = None
    hidden: bool = False

    @property
    def pane(self) -> str:
        """The scope: a pane's id, a screen's, or `console`."""
        return self.id.partition(".")[0]

    @property
    def action(self) -> str:
        """What Textual runs in the namespace of who offers the command."""
        name = self.method or self.id.partition(".")[2]
        return name if self.argument is None else f"{name}({self.argument!r})"


def key_word(key: str, *, ascii_only: bool = False) -> str:
    """A key as it is printed: `^P` for ctrl+p, `?` for question_mark, `F1`, arrows where the terminal has them."""
    if key.startswith("ctrl+"):
        return "^" + key_word(key.removeprefix("ctrl+"), ascii_only=ascii_only).upper()
    if ascii_only and key in _ASCII_WORDS:
        return _ASCII_WORDS[key]
    if key in _WORDS:
        return _WORDS[key]
    return key.upper() if key.startswith("f") and key[1:].isdigit() else key


def bindings(commands: Iterable[Command]) -> list[Binding]:
    """Key bindings that run the commands through `Offers.action_command`, so that each key press asks `why_not`."""
    return [
        Binding(
            ",".join(command.keys), f"command({command.id!r})", command.title, show=bool(command.footer), id=command.id
        )
        for command in commands
        if command.keys
    ]


class Offers:
    """Mixed into a widget, screen or app that offers commands: declares their keys and runs them.

    Put it before the Textual class among the bases. A command is inherited with its binding.
    """

    commands: ClassVar[tuple[Command, ...]] = ()

    if TYPE_CHECKING:

        @property
        def app(self) -> App[Any]: ...

    def __init_subclass__(cls, **arguments: Any) -> None:
        own = cls.__dict__.get("commands", ())
        cls.BINDINGS = [*cls.__dict__.get("BINDINGS", ()), *bindings(own)]
        super().__init_subclass__(**arguments)

    def why_not(self, command: Command) -> str:
        """Why the command cannot be done now, as a sentence for the operator; empty when it can."""
        return ""

    @classmethod
    def offered(cls) -> tuple[Command, ...]:
        """The commands of this class and its bases, its own first."""
        found: dict[str, Command] = {}
        for base in cls.__mro__:
            for command in base.__dict__.get("commands", ()):
                found.setdefault(command.id, command)
        return tuple(found.values())

    async def action_command(self, command_id: str) -> None:
        """Runs one of this object's commands, or says why not. Keys, palette and footer all come this way.

        An error of the engine becomes a notice with its sentence and hint; anything else is a defect of the console.
        """
        command = next(command for command in self.offered() if command.id == command_id)
        if reason := self.why_not(command):
            self.app.notify(reason, severity="warning", title=command.title, markup=False)
            return
        try:
            await self.app.run_action(command.action, default_namespace=self)  # pyright: ignore[reportArgumentType]
        except VcbError as error:
            words = redact("\n".join(part for part in (str(error), error.hint) if part))
            self.app.notify(words, severity="error", title=command.title, timeout=15, markup=False)


class Registry:
    """All commands of a console. Raises ValueError for two commands of one id."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._by_id: dict[str, Command] = {}
        for command in commands:
            if command.id in self._by_id:
                raise ValueError(f"two commands are called {command.id}")
            self._by_id[command.id] = command

    def __iter__(self) -> Iterator[Command]:
        return iter(self._by_id.values())

    def __getitem__(self, command_id: str) -> Command:
        return self._by_id[command_id]

    def of(self, scope: str) -> tuple[Command, ...]:
        return tuple(command for command in self if command.pane == scope)

    def collisions(self) -> dict[tuple[str, str], list[Command]]:
        """Keys that two commands of one scope claim, by (scope, key)."""
        claims: defaultdict[tuple[str, str], list[Command]] = defaultdict(list)
        for command in self:
            for key in command.keys:
                claims[command.pane, key].append(command)
        return {claim: commands for claim, commands in claims.items() if len(commands) > 1}

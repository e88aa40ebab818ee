"""The base of all dialogs: a box over the screen with a title, its keys, and what does the same from a shell."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.commands import Command, Offers
from tui.shell_line import on_file
from tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from tui.app import VcbApp

Answer = TypeVar("Answer")

CLOSE = Command("dialog.close", "Close", "Closes this without doing anything.", ("escape",), footer="Close")
COPY = Command(
    "dialog.copy_command",
    "Copy the command line",
    "Sends the command line that does the same to the terminal's clipboard.",
    ("ctrl+y",),
    footer="Copy command",
)
KEYS = Command("dialog.keys", "Keys", "What can be done in this dialog.", ("question_mark", "f1"), footer="Keys")


class CommandDialog(Offers, ModalScreen[Answer], Generic[Answer]):
    """A subclass gives `body()` and, in `commands`, what can be done here; CLOSE, COPY and KEYS come with the
    base, `purpose` in a sentence what it is for.

    `command_line` is shown at the bottom, word for word what an operator may type; a dialog that has none (help, a
    choice of colours) leaves it empty. Answered by `dismiss`; closing answers None.
    """

    DEFAULT_CSS = """
    CommandDialog {
        align: center middle;
        background: $background 60%;
        &:ansi { background: ansi_default; }
        & > #dialog {
            width: 92%; max-width: 96; height: auto; max-height: 100%;
            background: $surface; border: $box $rule; padding: 0 1 0 1;
            border-title-color: $accent; border-title-style: bold; border-title-background: $surface;
        }
        & #dialog-body { height: auto; scrollbar-size-vertical: 1; padding: 0 1; }
        & #dialog-body Static { height: auto; }
        & #dialog-command { height: auto; color: $muted; padding: 0 1; margin-top: 1; }
        & KeyBar { dock: none; background: $surface; margin-top: 1; }
    }
    """

    commands: ClassVar[tuple[Command, ...]] = (CLOSE, COPY, KEYS)
    purpose: ClassVar[str] = ""
    hides_impossible: ClassVar[bool] = False
    """Whether keys that do nothing now are left out at the bottom: where what is possible does not change by itself."""

    if TYPE_CHECKING:

        @property
        def app(self) -> "VcbApp": ...

    def __init__(self, title: str, command_line: str = "") -> None:
        super().__init__()
        self.dialog_title = title
        self.command_line = command_line

    def body(self) -> Iterable[Widget]:
        """What stands between title and command line; it scrolls where the screen is too small for it."""
        return ()

    def compose(self) -> ComposeResult:
        box = Vertical(id="dialog")
        box.border_title = self.dialog_title
        with box:
            with VerticalScroll(id="dialog-body"):
                yield from self.body()
            yield Static(self._shown_command(), id="dialog-command")
            yield KeyBar(ascii_only=not self.app.profile.unicode)

    def on_mount(self) -> None:
        self.show_command(self.command_line)

    def show_command(self, command_line: str) -> None:
        """Replaces the command line, as the choices in the dialog change what it would be."""
        self.command_line = on_file(command_line, self.app.document_path)
        shown = self.query_one("#dialog-command", Static)
        shown.update(self._shown_command())
        shown.display = bool(command_line)
        self.tell_keys()
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """The body scrolls rather than push command line and keys off the screen; TCSS cannot say that of a box that
        is else as high as what it holds."""
        command = len(self.command_line) // max(20, self.size.width * 9 // 10 - 6) + 2 if self.command_line else 0
        self.query_one("#dialog-body").styles.max_height = max(3, self.size.height - 5 - command)

    def tell_keys(self) -> None:
        offered = self.offered()
        without = {command.id for command in offered if self.hides_impossible and self.why_not(command)}
        if not self.command_line:
            without.add(COPY.id)
        if all(command.footer or command.hidden for command in offered) or any(
            field.display for field in self.query(Input)
        ):
            without.add(KEYS.id)  # help has no more to tell than the footer; or ? is a letter that is typed
        self.query_one(KeyBar).show(self, (), without=without)

    def _shown_command(self) -> Content:
        return Content.assemble(Content.styled("$ ", "$rule"), Content(self.command_line))

    def why_not(self, command: Command) -> str:
        if command is COPY and not self.command_line:
            return "Nothing on the command line does just this."
        return super().why_not(command)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_keys(self) -> None:
        from tui.screens.help import HelpScreen  # noqa: PLC0415 - it is a dialog itself

        can = [command for command in self.offered() if not self.why_not(command) or not self.hides_impossible]
        self.app.push_screen(HelpScreen(self.dialog_title.strip(), self.purpose, can))

    def action_copy_command(self) -> None:
        self.app.notify(self.app.copy(self.command_line))

    @on(KeyBar.Pressed)
    async def _key_bar_clicked(self, message: KeyBar.Pressed) -> None:
        await self.action_command(message.command_id)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.action_close()

"""The full-screen console: its screens, its theme, what it remembers, and how it ends."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace
from textual import on
from textual.notifications import Notify
from textual.theme import Theme

from engine.config.options import Origin, Settings
from engine.config.secrets import PROMPTED
from engine.secret import redact
from engine.state_directory import StateDirectory
from tui import clipboard, defects
from tui.acts import ACTS, Acts
from tui.commands import Command, Offers, Registry
from tui.glyphs import Glyphs
from tui.keys_in_order import KeysInOrder
from tui.panes.config import ConfigPane
from tui.panes.inventory import InventoryPane
from tui.panes.job_log import JobLogPane
from tui.panes.pane import Pane
from tui.screens.main import MainScreen
from tui.state import UiState
from tui.status import Link, Status
from tui.terminal import Colours, TerminalProfile
from tui.themes import ThemeFile, fitting, load_themes, variables
from tui.widgets.plain_scroll_bar import choose_scroll_bars
from tui.wire.display import LineApp

if TYPE_CHECKING:
    from textual.timer import Timer

PANES: tuple[type[Pane], ...] = (InventoryPane, ConfigPane, JobLogPane)
_SAVE_AFTER = 0.4
"""Seconds of rest after a change before the state is written."""


def _command(name: str, title: str, text: str, keys: tuple[str, ...] = (), **more: str) -> Command:
    return Command(f"console.{name}", title, text, keys, **more)  # pyright: ignore[reportArgumentType]


class VcbApp(Acts, Offers, KeysInOrder[None], LineApp[None]):
    """`settings` are those in effect when the console starts; `document_path` is the configuration file they came from,
    None while there is none. `directory` keeps state and defects; without one nothing is kept. `themes` is the folder
    of the operator's own themes.

    What the panes have of it: `settings`, `document_path`, `glyphs`, `profile`, `tell()` for the header, `copy()`,
    `run_offered()`, and `notify()`.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Toast { background: $panel; color: $foreground; }
    ToastRack { margin-bottom: 1; }
    CommandDialog Input, CommandDialog Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
    Tooltip { background: $panel; color: $foreground; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        _command("palette", "Command palette", "Everything that can be done, by typing a part of its name.",
                 ("ctrl+p", "colon"), footer="Commands"),
        *ACTS,
        _command("theme", "Choose a theme", "Shows the themes and tries each on as the cursor comes to it."),
        _command("welcome", "Explain the three panes", "Shows once more what the first start showed."),
        _command("redraw", "Draw the screen anew", "For a screen that another program wrote on.", ("ctrl+l",)),
        _command("help", "Help", "What the pane with the keyboard is for, and all its keys.", ("question_mark", "f1"),
                 footer="Help"),
        _command("quit", "Leave the console", "Leaves the console. Jobs that run go on running; the next console, or "
                 "vcb jobs, shows where they are.", ("q", "ctrl+q"), footer="Quit"),
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        document_path: Path | None = None,
        *,
        panes: Sequence[type[Pane]] = PANES,
        profile: TerminalProfile | None = None,
        directory: Path | None = None,
        themes: Path | None = None,
    ) -> None:
        self.profile = profile or TerminalProfile()
        self._ui_file = directory / "console.json" if directory else None
        self._defects_file = (directory or StateDirectory.default().root) / "console-defects.log"
        self.state = UiState.read(self._ui_file) if self._ui_file else UiState(welcomed=True)
        self.themes, self._theme_errors = load_themes(themes)
        self._worn = fitting(self.state.theme, self.themes, self.profile)
        super().__init__()
        choose_scroll_bars(unicode=self.profile.unicode)
        for theme in self.themes.values():
            self.register_theme(_textual(theme))
        self.theme = self._worn.id
        self.monochrome = self.profile.colours is Colours.NONE
        self.settings, self.document_path = settings, document_path
        self.status = replace(Status.of(settings), link=Link.CONNECTING if settings.HOST else Link.NONE)
        self.pane_types = tuple(panes)
        self.registry = Registry(
            [*self.offered(), *MainScreen.offered(), *(command for pane in panes for command in pane.offered())]
        )
        self.parting = ""
        self.way_back = "vcb jobs lists them, vcb shows them again"
        """What is said on the terminal once the console has left it."""
        self._saving: Timer | None = None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        solid = self.profile.unicode
        return {**variables(self._worn), "line": "solid" if solid else "ascii", "box": "round" if solid else "ascii"}

    @property
    def glyphs(self) -> Glyphs:
        return self.profile.glyphs

    @property
    def terminal_theme(self) -> bool:
        """Whether the theme has no backgrounds of its own to tell one area from another."""
        return self._worn.terminal

    @property
    def everywhere(self) -> tuple[Command, ...]:
        """The commands that work in every pane."""
        return (*MainScreen.offered(), *self.offered())

    # Start and end

    def on_mount(self) -> None:
        self._main = MainScreen([pane() for pane in self.pane_types])
        self.push_screen(self._main)
        self.look_for_leftovers()
        if not self.state.welcomed:
            self.call_after_refresh(self.action_welcome)
        for error in self._theme_errors:
            words = f"{error.sentence}. {error.hint} The other themes are there.".replace("  ", " ")
            self.notify(words, title="A theme was left out", severity="warning", timeout=12, markup=False)

    async def action_quit(self) -> None:
        running = self.status.running
        if running:
            jobs = "The job that runs goes" if running == 1 else f"{running} jobs that run go"
            self.parting = f"{jobs} on. {self.way_back}."
        self.write_state()
        self.exit()

    def _fatal_error(self) -> None:
        """Textual would print a traceback with local variables, passwords among them."""
        if self._exception is not None:
            self.parting = defects.record(self._exception, self._defects_file)
        self._close_messages_no_wait()

    # What the panes tell

    @on(JobLogPane.JobsChanged)
    def _jobs_changed(self, message: JobLogPane.JobsChanged) -> None:
        for pane in self.main_screen.panes.values() if self.main_screen else ():
            pane.show_jobs(message.jobs)

    def tell(self, **changes: Any) -> None:
        """Changes the header: fields of `Status`, such as `tell(link=Link.UP, running=2)`."""
        changed = replace(self.status, **changes)
        if changed != self.status:
            self.status = changed
            if main := self.main_screen:
                main.tell_status()

    @property
    def main_screen(self) -> MainScreen | None:
        """None until the console is mounted."""
        return getattr(self, "_main", None)

    def adopt(self, settings: Settings, document_path: Path | None) -> None:
        """From now on these settings hold, for the header and in every pane; jobs that run keep theirs. A password that
        somebody typed for this vCenter and this account holds on."""
        before, self.document_path = self.settings, document_path
        typed = before.PASSWORD if before.origin("PASSWORD").kind == PROMPTED else None
        if typed and settings.PASSWORD is None and (settings.HOST, settings.USERNAME) == (before.HOST, before.USERNAME):
            settings = settings.having("PASSWORD", typed, Origin(PROMPTED))
        self.settings = settings
        of = Status.of(settings)
        self.tell(host=of.host, user=of.user, transport=of.transport, certificate=of.certificate)
        for pane in self.main_screen.panes.values() if self.main_screen else ():
            pane.settings_changed(before)

    def copy(self, text: str) -> str:
        """Copies to the terminal's clipboard without secrets; returns the words for the operator."""
        driver = self._driver
        return clipboard.copy(text, driver.write) if driver else "There is no terminal."

    # State

    def keep_state(self) -> None:
        """Writes the state once things have come to rest for a moment."""
        if self._saving is not None:
            self._saving.stop()
        self._saving = self.set_timer(_SAVE_AFTER, self.write_state)

    def write_state(self) -> None:
        """Writes the state now. A disk that refuses costs the state, and is not worth a word."""
        if self._ui_file is None or self.main_screen is None:
            return
        self.state.panes = {pane_id: pane.save_state() for pane_id, pane in self.main_screen.panes.items()}
        try:
            self.state.write(self._ui_file)
        except (OSError, TypeError, ValueError) as error:
            self.log.warning(f"console state not written: {error}")

    # Commands

    def _offerers(self) -> Iterable[Offers]:
        main = self.main_screen
        return (self, main, *main.panes.values()) if main else (self,)

    async def run_offered(self, command_id: str) -> None:
        """Runs a command of the registry wherever it belongs, as palette and footer do."""
        for offerer in self._offerers():
            if any(command.id == command_id for command in offerer.offered()):
                if isinstance(offerer, Pane) and self.main_screen:
                    self.main_screen.action_go(offerer.pane_id)
                await offerer.action_command(command_id)
                return
        raise KeyError(command_id)

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen  # noqa: PLC0415 - a dialog is imported when it is wanted

        if main := self.main_screen:
            pane = main.focused_pane
            self.push_screen(HelpScreen(pane.pane_title, pane.purpose, pane.offered(), self.everywhere))

    def action_palette(self) -> None:
        from tui.screens.palette import Palette  # noqa: PLC0415

        main = self.main_screen
        if main is None:
            return
        panes = sorted(main.panes.values(), key=lambda pane: pane is not main.focused_pane)
        shown = [(pane.pane_title, command) for pane in panes for command in pane.offered() if not command.hidden]
        shown += [("Console", command) for command in self.everywhere if command.id != "console.palette"]
        self.push_screen(Palette(shown), self._run_chosen)

    async def _run_chosen(self, command_id: str | None) -> None:
        if command_id:
            await self.run_offered(command_id)

    def action_welcome(self) -> None:
        from tui.screens.welcome import Welcome  # noqa: PLC0415

        self.push_screen(Welcome())
        if not self.state.welcomed:
            self.state.welcomed = True
            self.keep_state()

    def action_redraw(self) -> None:
        self.redraw()

    # Themes

    def action_theme(self) -> None:
        from tui.screens.theme_choice import ThemeChoice  # noqa: PLC0415

        fit = {name: theme for name, theme in self.themes.items() if theme.suits(self.profile.colours)}
        self.push_screen(ThemeChoice(fit, self._worn.id), self._theme_chosen)

    def _theme_chosen(self, theme_id: str | None) -> None:
        if theme_id:
            self.wear(theme_id)
            self.state.theme = theme_id
            self.keep_state()

    def wear(self, theme_id: str) -> None:
        """Puts a theme on, without keeping it."""
        self._worn = self.themes[theme_id]
        self.theme = theme_id

    def notify(self, message: str, **more: Any) -> None:
        """Textual's notice, without secrets."""
        super().notify(redact(message), **more)

    def on_notify(self, event: Notify) -> None:
        """One that says what stands there already takes its place: a key that is pressed again piles nothing up."""
        new = event.notification
        for shown in list(self._notifications):
            if (shown.message, shown.title, shown.severity) == (new.message, new.title, new.severity):
                self._unnotify(shown, refresh=False)


def _textual(theme: ThemeFile) -> Theme:
    colours, states = theme.colours, theme.states
    return Theme(
        name=theme.id,
        primary=colours["accent"],
        secondary=states["note"],
        accent=colours["accent"],
        warning=states["warning"],
        error=states["error"],
        success=states["ok"],
        foreground=colours["foreground"],
        background=colours["background"],
        surface=colours["surface"],
        panel=colours["panel"],
        boost=colours["panel"],
        dark=theme.dark,
        ansi=theme.terminal,
        variables=variables(theme),
    )

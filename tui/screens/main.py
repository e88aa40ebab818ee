"""The main screen: inventory left, configuration right, job log below; one at a time where there is no more room."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget

from tui.arrangement import LOG, UPPER, Arrangement, arrange
from tui.commands import Command, Offers
from tui.panes.pane import Pane
from tui.widgets.key_bar import KeyBar
from tui.widgets.pane_title import PaneTitle
from tui.widgets.status_bar import StatusBar

if TYPE_CHECKING:
    from tui.app import VcbApp

_STEP = 0.04
"""Share of the screen that one press of a sizing key moves a border by."""


def _command(name: str, title: str, text: str, keys: tuple[str, ...], **more: str | int) -> Command:
    return Command(f"console.{name}", title, text, keys, **more)  # pyright: ignore[reportArgumentType]


_GO = (
    "Puts the keyboard there, and shows the pane where it was hidden. F2, F3 and F4 do so in every pane; 1, 2 and 3 "
    "except where a pane has its own use for digits."
)


class Strip(Widget):
    """What the hidden job log would tell, in one line."""

    DEFAULT_CSS = "Strip { height: 1; background: $surface; color: $foreground; padding: 0 1; }"

    text = ""

    def show(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self.refresh()

    def render(self) -> Content:
        return Content(self.text) if self.text else Content.styled("No job runs.", "$muted")


class MainScreen(Offers, Screen[None]):
    AUTO_FOCUS = ""  # the pane that had the keyboard last time gets it, not the first one
    DEFAULT_CSS = """
    MainScreen { background: $background; }
    MainScreen .frame { width: 1fr; height: 1fr; }
    MainScreen #upper { height: 1fr; }
    MainScreen #beside { width: 1; height: 1fr; border-left: $line $rule; display: none; }
    """

    commands: ClassVar[tuple[Command, ...]] = (
        _command("go_inventory", "Go to the inventory", _GO, ("1", "f2"), method="go", argument="inventory"),
        _command("go_config", "Go to the configuration", _GO, ("2", "f3"), method="go", argument="config"),
        _command("go_job_log", "Go to the job log", _GO, ("3", "f4"), method="go", argument="job_log"),
        _command("next_pane", "Next pane", "Puts the keyboard into the next pane.", ("tab",), footer="Next"),
        _command("previous_pane", "Previous pane", "Puts the keyboard into the pane before.", ("shift+tab",)),
        _command("maximise", "Maximise the pane", "Gives this pane the whole screen; once more gives it back.", ("z",),
                 footer="Zoom"),
        _command("narrower", "Inventory narrower", "Moves the border between inventory and configuration to the left.",
                 ("left_square_bracket",), method="widen", argument=-1),
        _command("wider", "Inventory wider", "Moves the border between inventory and configuration to the right.",
                 ("right_square_bracket",), method="widen", argument=1),
        _command("log_higher", "Job log higher", "Moves the upper border of the job log up.",
                 ("left_curly_bracket",), method="heighten", argument=1),
        _command("log_lower", "Job log lower", "Moves the upper border of the job log down.",
                 ("right_curly_bracket",), method="heighten", argument=-1),
    )  # fmt: skip

    if TYPE_CHECKING:

        @property
        def app(self) -> "VcbApp": ...

    def __init__(self, panes: Sequence[Pane]) -> None:
        super().__init__()
        self.panes = {pane.pane_id: pane for pane in panes}
        self._titles: dict[str, PaneTitle] = {}
        self._upper = UPPER[0]
        self._focus = UPPER[0]
        self.maximised = False
        self.arrangement: Arrangement | None = None

    def compose(self) -> ComposeResult:
        glyphs, terminal = self.app.glyphs, self.app.terminal_theme
        fill = glyphs.rule if terminal else " "
        self._titles = {pane_id: PaneTitle(glyphs, fill) for pane_id in self.panes}
        self._status, self._strip = StatusBar(glyphs), Strip()
        self._keys = KeyBar(ascii_only=not self.app.profile.unicode)
        yield self._status
        with Horizontal(id="upper"):
            yield self._frame("inventory")
            yield Widget(id="beside")
            yield self._frame("config")
        yield self._frame(LOG)
        yield self._strip
        yield self._keys

    def _frame(self, pane_id: str) -> Vertical:
        return Vertical(self._titles[pane_id], self.panes[pane_id], id=f"{pane_id}-frame", classes="frame")

    def on_mount(self) -> None:
        state = self.app.state
        for number, pane in enumerate(self.panes.values(), 1):
            self._titles[pane.pane_id].current = number
            pane.restore_state(state.panes.get(pane.pane_id, {}))
        self._status.status = self.app.status
        self.action_go(state.focus if state.focus in self.panes else UPPER[0])

    # What is where

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Shows, hides and sizes the panes; costs nothing when all stays as it is."""
        columns, rows = self.size
        state = self.app.state
        wanted = arrange(
            columns, rows - 2, focus=self._focus, upper=self._upper, maximised=self.maximised,
            inventory_share=state.inventory_share, log_share=state.log_share,
        )  # fmt: skip
        if wanted == self.arrangement or not columns:
            return
        self.arrangement = wanted
        with self.app.batch_update():
            self._lay_out(wanted)
        self._tell()

    def _lay_out(self, wanted: Arrangement) -> None:
        for pane_id in self.panes:
            self.query_one(f"#{pane_id}-frame").display = pane_id in wanted.shown
        both = all(pane in wanted.shown for pane in UPPER)
        above = any(pane in wanted.shown for pane in UPPER)
        self.query_one("#upper").display = above
        self.query_one("#beside").display = both
        self.query_one("#inventory-frame").styles.width = wanted.inventory_columns if both else "1fr"
        self.query_one(f"#{LOG}-frame").styles.height = wanted.log_rows if above else "1fr"
        self._strip.display = wanted.strip
        numbers = {pane_id: number for number, pane_id in enumerate(self.panes, 1)}
        for pane_id, tabs in wanted.tabs.items():
            self._titles[pane_id].tabs = tuple((numbers[tab], self.panes[tab].pane_title) for tab in tabs)

    # What the lines around the panes say

    def _tell(self) -> None:
        for pane_id, title in self._titles.items():
            title.active = pane_id == self._focus
            title.note = self.panes[pane_id].note
        self._strip.show(self.panes[LOG].summary)
        self.tell_keys()

    def tell_keys(self) -> None:
        """The footer anew: the keyboard moved, or what can be done changed."""
        pane = self.panes[self._focus]
        self._keys.show(pane, self.app.everywhere, typing=pane.typing)

    def tell_status(self) -> None:
        try:
            self.query_one(StatusBar).status = self.app.status
        except NoMatches:
            return  # told before the screen was composed: on_mount takes it from the app

    @on(Pane.Changed)
    def _pane_changed(self, message: Pane.Changed) -> None:
        pane = message.pane
        self._titles[pane.pane_id].note = pane.note
        if pane.pane_id == LOG:
            self._strip.show(pane.summary)
        self.tell_keys()

    @on(Pane.StateChanged)
    def _state_changed(self) -> None:
        self.app.keep_state()

    # Where the keyboard is

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        owner = next((node for node in event.widget.ancestors_with_self if isinstance(node, Pane)), None)
        if owner is not None and owner.pane_id != self._focus:
            self._enter(owner.pane_id)

    def _enter(self, pane_id: str) -> None:
        self._focus = pane_id
        if pane_id in UPPER:
            self._upper = pane_id
        if self.app.state.focus != pane_id:
            self.app.state.focus = pane_id
            self.app.keep_state()
        self._arrange()
        self._tell()

    @property
    def focused_pane(self) -> Pane:
        return self.panes[self._focus]

    def action_go(self, pane_id: str) -> None:
        self._enter(pane_id)
        self.panes[pane_id].focus_target().focus()

    def _beside(self, step: int) -> str:
        order = list(self.panes)
        return order[(order.index(self._focus) + step) % len(order)]

    def action_next_pane(self) -> None:
        self.action_go(self._beside(1))

    def action_previous_pane(self) -> None:
        self.action_go(self._beside(-1))

    @on(PaneTitle.Chosen)
    def _title_clicked(self, message: PaneTitle.Chosen) -> None:
        self.action_go(list(self.panes)[message.number - 1])

    @on(KeyBar.Pressed)
    async def _key_bar_clicked(self, message: KeyBar.Pressed) -> None:
        await self.app.run_offered(message.command_id)

    # Sizes

    def why_not(self, command: Command) -> str:
        both = self.arrangement is not None and all(pane in self.arrangement.shown for pane in UPPER)
        stacked = self.arrangement is not None and LOG in self.arrangement.shown and len(self.arrangement.shown) > 1
        if command.method == "widen" and not both:
            return "The inventory and the configuration are not side by side here: there is nothing to move."
        if command.method == "heighten" and not stacked:
            return "The job log is not below another pane here: there is nothing to move."
        return ""

    def action_maximise(self) -> None:
        self.maximised = not self.maximised
        self._arrange()

    def action_widen(self, step: int) -> None:
        self._move_border("inventory_share", step)

    def action_heighten(self, step: int) -> None:
        self._move_border("log_share", step)

    def _move_border(self, share: str, step: int) -> None:
        moved = getattr(self.app.state, share) + step * _STEP
        setattr(self.app.state, share, min(0.8, max(0.2, round(moved, 2))))
        self.app.keep_state()
        self._arrange()

    async def action_help(self) -> None:
        await self.app.run_offered("console.help")

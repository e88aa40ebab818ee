"""Keys that arrive in one burst mean what they mean one by one."""

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from tests.tui.config_rig import editor, go_to, opened, pane, settled
from tui.keys_in_order import KeysInOrder
from tui.screens.palette import Palette

NAMES = {"/": "slash", "\x7f": "backspace", "\r": "enter", " ": "space", "\x10": "ctrl+p", "\x1b": "escape"}


def burst(app, typed: str) -> None:
    for character in typed:
        app.post_message(events.Key(NAMES.get(character, character), character))


async def test_what_follows_a_key_that_asks_is_the_answer(tmp_path):
    file = tmp_path / "vcb.toml"
    file.write_text('HOST = "vc"\nPORT = 443\n')
    async with editor(file) as pilot:
        burst(pilot.app, "/keep daily\r")
        await settled(pilot)
        assert [row.name for row in pane(pilot)._rows.shown if row.name] == ["KEEP_DAILY"]
        await pilot.press("escape")
        await go_to(pilot, "PORT")
        burst(pilot.app, "\r\x7f\x7f\x7f8443\r")
        await settled(pilot)
        assert opened(pilot).settings.PORT == 8443


async def test_what_follows_a_key_that_opens_a_dialog_goes_there(tmp_path):
    file = tmp_path / "vcb.toml"
    file.write_text('HOST = "vc"\n')
    async with editor(file) as pilot:
        burst(pilot.app, "\x10welco")
        await settled(pilot)
        assert isinstance(pilot.app.screen, Palette)
        assert pilot.app.screen.query_one(Input).value == "welco"


class Deaf(Widget, can_focus=True):
    """Goes away with the key that it gets."""

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        await self.remove()


class DeafApp(KeysInOrder[None]):
    BINDINGS = [Binding("x", "mark", show=False)]  # noqa: RUF012 - Textual's own form
    marked = False

    def compose(self) -> ComposeResult:
        yield Deaf()

    def action_mark(self) -> None:
        self.marked = True


async def test_a_key_whose_widget_is_gone_holds_up_nothing_for_long():
    app = DeafApp()
    async with app.run_test() as pilot:
        app.screen.set_focus(app.query_one(Deaf))
        burst(app, "ax")
        for _ in range(200):
            await pilot.pause(0.02)
            if app.marked:
                break
        assert app.marked

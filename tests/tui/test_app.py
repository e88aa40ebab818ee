"""The console as a whole: it starts, its panes take the focus, it ends."""

from engine.config.options import Settings
from tui.app import VcbApp
from tui.panes.pane import Pane


async def test_starts_in_the_inventory_and_goes_to_each_pane():
    app = VcbApp(Settings.of())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        seen = []
        for key in ("1", "f3", "f4"):
            await pilot.press(key)
            focused = app.screen.focused
            assert focused is not None
            seen += [each.pane_id for each in focused.ancestors_with_self if isinstance(each, Pane)]
        assert seen == ["inventory", "config", "job_log"]
        await pilot.press("q")
    assert app.return_code == 0

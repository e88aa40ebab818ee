"""The console's own screens as pictures, with plain panes. After a wanted change: pytest --snapshot-update."""

from typing import Any

import pytest
from textual.pilot import Pilot

from engine.config.options import Settings
from tests.tui.panes import PLAIN
from tui.app import VcbApp
from tui.screens.confirm import Confirm
from tui.status import Link
from tui.terminal import Colours, TerminalProfile

SIZES = ((80, 24), (120, 40))


def console(profile: TerminalProfile | None = None) -> VcbApp:
    settings = Settings.of(HOST="vc01.lab.local", USERNAME="backup@lab", TRANSPORT_MODE="nbdssl")
    return VcbApp(settings, panes=PLAIN, profile=profile)


async def show(pilot: Pilot[Any], screen: str, theme: str) -> None:
    app = pilot.app
    assert isinstance(app, VcbApp)
    app.wear(theme)
    app.tell(link=Link.UP, running=1, certificate="pinned")
    if screen == "help":
        app.action_help()
    elif screen == "welcome":
        app.action_welcome()
    elif screen == "confirm":
        gone = ["snapshot _VCB-BACKUP_ of web01", "/var/lib/vcb/full-web01.partial"]
        command = "vcb unmount /var/lib/vcb/full-web01"
        app.push_screen(Confirm("Remove", "Nothing brings this back:", gone, verb="Remove", command_line=command))
    await pilot.pause()
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", ["main", "help", "welcome", "confirm"])
def test_screens(snap_compare: Any, screen: str, size: tuple[int, int]):
    assert snap_compare(console(), terminal_size=size, run_before=lambda pilot: show(pilot, screen, "night"))


@pytest.mark.parametrize("theme", ["day", "contrast", "amber", "console16", "mono"])
def test_themes(snap_compare: Any, theme: str):
    few = {"console16": Colours.SIXTEEN, "mono": Colours.NONE}.get(theme)
    profile = TerminalProfile(colours=few, unicode=False) if few else None
    assert snap_compare(
        console(profile), terminal_size=(80, 24), run_before=lambda pilot: show(pilot, "confirm", theme)
    )

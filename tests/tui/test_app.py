"""The console as a whole: keys, focus, folding, sizes, state, palette, help, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from engine.config.options import Settings
from engine.secret import Secret
from tests.tui.panes import PLAIN
from tui.app import PANES, VcbApp
from tui.commands import Registry
from tui.glyphs import ASCII
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.screens.palette import Palette
from tui.screens.welcome import Welcome
from tui.status import Link
from tui.terminal import Colours, TerminalProfile
from tui.widgets.key_bar import KeyBar
from tui.widgets.status_bar import StatusBar

WALL, FOLDED = (120, 40), (80, 24)


def console(directory: Path | None = None, **more: Any) -> VcbApp:
    return VcbApp(Settings.of(HOST="vc01", USERNAME="backup@lab"), panes=PLAIN, directory=directory, **more)


def main_of(app: VcbApp) -> MainScreen:
    main = app.main_screen
    assert main is not None
    return main


def shown(app: VcbApp) -> tuple[str, ...]:
    arrangement = main_of(app).arrangement
    assert arrangement is not None
    return arrangement.shown


async def test_focus_by_number_function_key_and_tab():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        main = main_of(app)
        visited = []
        for key in ("2", "1", "3", "f2", "f3", "f4", "tab", "tab", "tab", "shift+tab"):
            await pilot.press(key)
            focused = app.screen.focused
            assert focused is main.focused_pane
            visited.append(main.focused_pane.pane_id)
    order = ["config", "inventory", "job_log"]
    assert visited == [*order, "inventory", "config", "job_log", "inventory", "config", "job_log", "config"]


async def test_digits_belong_to_the_job_log_while_it_has_the_keyboard():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("3", "1", "2", "f2")
        log = main_of(app).panes["job_log"]
        assert log.done == ["level 1", "level 2"]  # pyright: ignore[reportAttributeAccessIssue]
        assert main_of(app).focused_pane.pane_id == "inventory"


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 28), (120, 24), (80, 50), (120, 40), (250, 70)])
async def test_folds_to_any_size_and_every_pane_can_be_reached(size: tuple[int, int]):
    app = console()
    async with app.run_test(size=size) as pilot:
        for key, pane_id in (("f2", "inventory"), ("f3", "config"), ("f4", "job_log")):
            await pilot.press(key)
            await pilot.pause()
            pane = main_of(app).panes[pane_id]
            assert pane_id in shown(app)
            assert pane.size.width >= 20
            assert pane.size.height >= 4
            assert main_of(app).query_one(KeyBar).region.bottom == size[1]


async def test_resizing_folds_and_unfolds_while_it_runs():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        assert shown(app) == ("inventory", "config", "job_log")
        for size, expected in (((80, 24), ("inventory",)), ((200, 20), ("inventory", "config")), (WALL, 3)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert shown(app) == expected if isinstance(expected, tuple) else len(shown(app)) == expected


async def test_zoom_gives_one_pane_the_screen_and_gives_it_back():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("2", "z")
        assert shown(app) == ("config",)
        await pilot.press("tab")
        assert shown(app) == ("job_log",)
        await pilot.press("z")
        assert len(shown(app)) == 3


async def test_borders_move_by_brackets_and_braces():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        main = main_of(app)
        width, height = main.panes["inventory"].size.width, main.panes["job_log"].size.height
        await pilot.press("right_square_bracket", "left_curly_bracket")
        await pilot.pause()
        assert main.panes["inventory"].size.width > width
        assert main.panes["job_log"].size.height > height
        await pilot.press("left_square_bracket", "right_curly_bracket")
        await pilot.pause()
        assert (main.panes["inventory"].size.width, main.panes["job_log"].size.height) == (width, height)


async def test_sizing_keys_say_why_not_where_nothing_is_side_by_side():
    app = console()
    async with app.run_test(size=FOLDED) as pilot:
        await pilot.press("right_square_bracket")
        assert "side by side" in next(note.message for note in app._notifications)


async def test_a_command_that_cannot_be_done_says_why():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("d", "space")
        assert [note.message for note in app._notifications] == ["There is no VM here."]
        assert main_of(app).panes["inventory"].done == ["mark"]  # pyright: ignore[reportAttributeAccessIssue]
        items = {item.word: item.possible for item in main_of(app).query_one(KeyBar).items}
        assert items["Mark"]
        assert not items["Remove"]


async def test_state_survives_and_is_the_owners_alone(tmp_path: Path):
    app = console(tmp_path)
    async with app.run_test(size=WALL) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, Welcome)
        await pilot.press("enter", "2", "right_square_bracket")
        main_of(app).panes["inventory"].kept = {"filter": "wéb"}  # pyright: ignore[reportAttributeAccessIssue]
        app._theme_chosen("amber")
        await pilot.press("q")
    file = tmp_path / "console.json"
    assert file.stat().st_mode & 0o777 == 0o600
    again = console(tmp_path)
    async with again.run_test(size=WALL) as pilot:
        assert again.screen is main_of(again)
        assert main_of(again).focused_pane.pane_id == "config"
        assert again.theme == "amber"
        assert again.state.inventory_share > 0.4
        assert main_of(again).panes["inventory"].kept == {"filter": "wéb"}  # pyright: ignore[reportAttributeAccessIssue]


async def test_state_is_written_without_leaving(tmp_path: Path):
    app = console(tmp_path)
    async with app.run_test(size=WALL) as pilot:
        await pilot.pause()
        await pilot.press("enter", "2")
        timer = app._saving
        assert timer is not None
        await timer._task  # pyright: ignore[reportGeneralTypeIssues]
        assert json.loads((tmp_path / "console.json").read_text())["focus"] == "config"


async def test_help_explains_every_command_of_the_pane():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert [command.id for command in app.screen._here] == [command.id for command in PLAIN[0].commands]
        await pilot.press("escape")
        assert app.screen is main_of(app)


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_palette_finds_and_runs_commands_of_other_panes(key: str):
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("3", key)
        assert isinstance(app.screen, Palette)
        await pilot.press(*"markvm", "enter")
        await pilot.pause()
        assert main_of(app).panes["inventory"].done == ["mark"]  # pyright: ignore[reportAttributeAccessIssue]


async def test_palette_with_nothing_in_it_and_page_keys():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("ctrl+p", "pagedown", "pageup", "end", "q", "x", "j", "enter", "pagedown", "down", "escape")
        assert app.screen is main_of(app)


async def test_palette_lists_every_command_with_its_keys():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, Palette)
        listed = {command.id for _, command in app.screen._shown}
        assert listed == {command.id for command in app.registry if not command.hidden} - {"console.palette"}


def test_the_console_has_no_two_commands_on_one_key_and_none_without_help():
    registry = Registry(
        [*VcbApp.offered(), *MainScreen.offered(), *(command for pane in PANES for command in pane.offered())]
    )
    assert registry.collisions() == {}
    bad_keys = {f"ctrl+{letter}" for letter in "abhijmz"}
    for command in registry:
        assert len(command.help) > len(command.title) or command.hidden, command.id
        assert command.help.rstrip().endswith((".", "?")), command.id
        assert not bad_keys & set(command.keys), command.id
        assert not command.keys or not command.keys[0].startswith("alt"), command.id


async def test_leaving_while_jobs_run_says_that_they_go_on():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        app.tell(running=2, link=Link.UP)
        await pilot.pause()
        assert "2 jobs run" in str(app.screen.query_one(StatusBar).render())
        await pilot.press("q")
    assert "2 jobs that run go on" in app.parting
    assert app.return_code == 0


async def test_a_defect_goes_to_a_file_without_secrets(tmp_path: Path):
    app = console(tmp_path)
    kept = Secret("hunter22")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - Pilot raises it at the end of the block
        async with app.run_test(size=WALL) as pilot:
            await pilot.pause()
            await pilot.press("enter", "x")
            await pilot.pause()
    file = tmp_path / "console-defects.log"
    assert kept.reveal() not in file.read_text()
    assert "ZeroDivisionError" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in app.parting
    assert kept.reveal() not in app.parting


async def test_a_bad_theme_is_told_and_the_console_goes_on(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('name = "Mine"\n[colours]\nbakground = "#000"\n')
    app = console(themes=tmp_path)
    async with app.run_test(size=WALL) as pilot:
        await pilot.pause()
        (note,) = app._notifications
        assert "mine.toml:3" in note.message
        assert "did you mean background" in note.message
        assert app.theme == "night"


async def test_themes_are_tried_on_and_put_back():
    app = console()
    async with app.run_test(size=WALL) as pilot:
        app.action_theme()
        await pilot.pause()
        before = app.theme
        await pilot.press("home", "down")
        await pilot.pause()
        assert app.theme == "console16"
        await pilot.press("escape")
        await pilot.pause()
        assert app.theme == before


@pytest.mark.parametrize("colours", [Colours.NONE, Colours.SIXTEEN])
async def test_terminals_with_few_colours_and_signs(colours: Colours):
    app = console(profile=TerminalProfile(colours=colours, unicode=False))
    async with app.run_test(size=FOLDED) as pilot:
        assert app.theme == {"none": "mono", "16": "console16"}[colours]
        assert app.glyphs is ASCII
        for keys in (("question_mark", "pagedown", "escape"), ("ctrl+p", "escape")):
            await pilot.press(*keys)
        painted = "".join(segment.text for strip in app.screen._compositor.render_strips() for segment in strip)
        assert painted.isascii()


async def test_welcome_and_dialogs_fit_the_smallest_screen():
    app = console()
    async with app.run_test(size=(60, 15)) as pilot:
        app.action_welcome()
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        assert bar.region.bottom <= 14
        assert app.screen.query(Static)
        await pilot.press("enter", "ctrl+p")
        assert app.screen.query_one(Input).has_focus


def test_starting_the_console_imports_no_pyvmomi(tmp_path: Path):
    script = """
import sys
from engine.config.options import Settings
from tui.app import VcbApp
async def look(pilot):
    await pilot.pause()
    await pilot.press("2", "3", "1", "q")
VcbApp(Settings.of()).run(headless=True, size=(120, 40), auto_pilot=look)
heavy = [name for name in sys.modules if name.partition(".")[0] in ("pyVmomi", "vmware", "tree_sitter")]
sys.exit(repr(heavy) if heavy else 0)
"""
    environ = {**os.environ, "VCB_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr

"""Dialogs: the safe answer is the easy one, and each tells what does the same from a shell."""

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from engine.config.options import Settings
from tests.tui.panes import PLAIN
from tui.app import VcbApp
from tui.screens.confirm import Confirm
from tui.screens.diff import DiffDialog
from tui.screens.help import HelpScreen
from tui.widgets.key_bar import Item, KeyBar

COMMAND = "vcb reconcile --remove 20261122T021503Z-3fa9c1"


def console() -> VcbApp:
    return VcbApp(Settings.of(), panes=PLAIN)


def asked(typed: str = "") -> Confirm:
    return Confirm(
        "Remove leftovers", "This cannot be undone:", ["snapshot _VCB-BACKUP_ of web01", "/var/lib/vcb/full-web01"],
        verb="Remove", command_line=COMMAND, typed=typed,
    )  # fmt: skip


async def answer(dialog: Any, *keys: str) -> list[Any]:
    app, answers = console(), []
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(dialog, answers.append)
        await pilot.pause()
        texts = " ".join(str(part.render()) for part in app.screen.query(Static))
        assert COMMAND in texts
        await pilot.press(*keys)
        await pilot.pause()
    return answers


@pytest.mark.parametrize(
    ("keys", "said"), [(("y",), True), (("n",), False), (("enter",), False), (("escape",), None), (("q", "x"), "open")]
)
async def test_confirm_does_it_for_its_own_key_only(keys: tuple[str, ...], said: Any):
    assert await answer(asked(), *keys) == ([] if said == "open" else [said])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ((*"web01", "enter"), [True]),
        ((*"web02", "enter"), []),
        (("y", "enter"), []),
        (("enter",), [False]),
        (("escape",), [None]),
    ],
)
async def test_what_no_undo_brings_back_is_typed(keys: tuple[str, ...], said: list[Any]):
    assert await answer(asked("web01"), *keys) == said


async def test_the_keys_of_a_dialog_are_told_in_it():
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(asked())
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        titles = [command.title for command in app.screen._here]
        assert "Leave all as it is" in titles
        assert not app.screen._everywhere
        await pilot.press("question_mark")
        assert isinstance(app.screen, Confirm), "the same key closes it"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("vcb verify /a/b", "vcb verify /a/b --config '/my files/vcb.toml'"),
        ("vcb config password --test", "vcb config password --test --config '/my files/vcb.toml'"),
        ("vcb cancel 2026", "vcb cancel 2026"),
        ("vcb points --config x.js", "vcb points --config x.js"),
    ],
)
async def test_the_command_line_names_the_file_of_this_console(line: str, shown: str, monkeypatch: pytest.MonkeyPatch):
    app = VcbApp(Settings.of(), Path("/my files/vcb.toml"), panes=PLAIN)
    async with app.run_test(size=(80, 24)):
        for named, words in (("/my files/vcb.toml", line), ("/etc/vcb/other.toml", shown)):
            monkeypatch.setenv("VCB_CONFIG", named)
            dialog = Confirm("Do it", "It is gone:", ["this"], verb="Do", command_line=line)
            await app.push_screen(dialog)
            assert dialog.command_line == words


async def test_a_notice_said_again_takes_the_place_of_the_first():
    app = console()
    async with app.run_test() as pilot:
        for _ in range(5):
            app.notify("There is no job yet.", severity="warning", title="Cancel")
        app.notify("Another one.")
        await pilot.pause()
        assert [notice.message for notice in app._notifications] == ["There is no job yet.", "Another one."]


@pytest.mark.parametrize(("width", "seen"), [(80, ("? Help", "q Quit", "1 One")), (30, ("? Help", "q Quit"))])
async def test_help_and_the_way_out_stay_in_the_footer(width: int, seen: tuple[str, ...]):
    app = console()
    async with app.run_test(size=(width, 24)) as pilot:
        bar = app.screen.query_one(KeyBar)
        many = [Item(f"pane.{n}", str(n), "One", possible=True, here=True) for n in range(1, 30)]
        bar.items = (*many, *(item for item in bar.items if not item.here))
        await pilot.pause()
        assert all(word in str(bar.render()) for word in seen)
        assert bar.render().cell_length <= width  # type: ignore[attr-defined]


async def test_confirm_names_what_will_be_gone():
    app = console()
    async with app.run_test(size=(60, 15)) as pilot:
        await app.push_screen(asked())
        await pilot.pause()
        assert "_VCB-BACKUP_ of web01" in str(app.screen.query_one("#destroyed", Static).render())


@pytest.mark.parametrize(("key", "said"), [("enter", True), ("n", False), ("escape", None)])
async def test_a_diff_is_accepted_or_not(key: str, said: Any):
    lines = ["--- config.js", "+++ config.js", "@@ -1 +1 @@", '-HOST="a";', '+HOST="b";']
    assert await answer(DiffDialog("Save", lines, remark="One option changes.", command_line=COMMAND), key) == [said]


async def test_the_command_line_is_copied():
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(asked())
        await pilot.press("ctrl+y")
        assert "clipboard" in next(note.message for note in app._notifications)

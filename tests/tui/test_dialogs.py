"""Dialogs: the safe answer is the easy one, and each tells what does the same from a shell."""

from typing import Any

import pytest
from textual.widgets import Static

from engine.config.options import Settings
from tests.tui.panes import PLAIN
from tui.app import VcbApp
from tui.screens.confirm import Confirm
from tui.screens.diff import DiffDialog

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

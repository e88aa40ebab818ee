"""What the configuration pane must never do: lose what was typed, give a password away, undo another's change."""

import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.draft import Drafts
from engine.lab import Lab
from tests.tui.config_rig import dump, editor, entry, go_to, opened, pane, settled
from tests.tui.ptylab import PtyLab
from tests.tui.replay import Replay
from tui.app import VcbApp
from tui.draft_keeper import DraftKeeper
from tui.screens.choose import ChooseScreen
from tui.screens.config_files import ConfigFilesScreen
from tui.screens.config_history import ConfigHistoryScreen
from tui.screens.conflict import ConflictScreen
from tui.screens.connection_result import ConnectionScreen
from tui.screens.save import SaveScreen
from tui.widgets.config_text import ConfigText

PASSWORD = "korrekt-pferd-4711"
JS = f'// proxy\nHOST="vc.example.com";\nUSERNAME="vcb";\nPASSWORD="{PASSWORD}";\nPORT="443";\n'
TOML = 'HOST = "vc.example.com" # vCenter\nUSERNAME = "vcb"\nPORT = 443\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.js"
    path.write_text(JS)
    path.chmod(0o600)
    return path


async def type_port(pilot, text: str) -> None:
    await go_to(pilot, "PORT")
    await pilot.press("enter")
    entry(pilot).value = text
    await pilot.press("enter")
    await settled(pilot)


def notices(pilot) -> str:
    return "\n".join(notice.message for notice in pilot.app._notifications)


# What is not saved


@pytest.mark.parametrize(
    "end",
    [signal.SIGKILL, *(pytest.param(end, marks=pytest.mark.exhaustive) for end in (signal.SIGHUP, signal.SIGTERM))],
    ids=lambda number: number.name,
)
def test_what_was_typed_survives_the_end_of_the_console(file: Path, state: Path, end: signal.Signals) -> None:
    environ = {"HOME": str(file.parent), "VCB_STATE_DIR": str(state), "VCB_CONFIG": str(file)}
    state.mkdir()
    (state / "console.json").write_text('{"version": 1, "welcomed": true, "focus": "config"}')
    with PtyLab((sys.executable, "-m", "tui.cli.app"), environ=environ) as lab:
        shows(lab, "BACKUPROOT")
        lab.send(b"\x1bOR")
        lab.send(b"/")
        shows(lab, "\n /")
        lab.send(b"connection port\r")
        shows(lab, "TCP port")
        lab.send(b"\r")
        shows(lab, "PORT = 443")
        lab.send(b"\x7f\x7f\x7f8443\r")
        shows(lab, "not saved")
        drafts = state / "drafts"
        until(lambda: drafts.is_dir() and any(drafts.iterdir()))
        lab.signal(end)
        assert lab.wait_end() is not None
    (draft,) = [path for path in drafts.iterdir() if path.suffix == ".json"]
    assert b'PORT="8443"' in base64.b64decode(json.loads(draft.read_bytes())["mine"])
    assert file.read_text() == JS


def shows(lab: PtyLab, text: str) -> None:
    """Waits until it stands on the screen."""

    def seen() -> bool:
        terminal = Replay(80, 24)
        terminal.feed(bytes(lab.output).decode(errors="replace"))
        return text in "\n".join(terminal.screen.display)

    until(seen)
    lab.settle(0.2)


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


async def test_a_draft_is_told_with_the_key_that_drops_it(file):
    async with editor(file) as pilot:
        await type_port(pilot, "8443")
    async with editor(file) as pilot:
        assert "are back. s shows and saves them, u drops them" in notices(pilot)
        assert "not saved" in pane(pilot).note
        await pilot.press("u")
        await settled(pilot)
        assert "not saved" not in pane(pilot).note
    async with editor(file) as pilot:
        assert notices(pilot) == ""


async def test_a_draft_that_meets_a_change_on_the_disk_tells_both(file):
    async with editor(file) as pilot:
        await type_port(pilot, "8443")
    file.write_text(JS.replace("443", "9443"))
    async with editor(file) as pilot:
        assert "at the same places: s shows both" in notices(pilot)
        assert opened(pilot).settings.PORT == 8443
        await pilot.press("s", "enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, ConflictScreen)
        assert "9443" in dump(pilot)
        await pilot.press("t")
        await settled(pilot)
        assert opened(pilot).settings.PORT == 9443
    assert file.read_text() == JS.replace("443", "9443")


def test_the_newest_draft_is_written_even_when_many_come(tmp_path: Path, state: Path) -> None:
    failures: list[Exception] = []
    keeper, drafts = DraftKeeper(failures.append), Drafts(tmp_path / "config.js")
    for port in range(200):
        keeper.keep(drafts, b'PORT="443";\n', b'PORT="%d";\n' % port, exists=True)
    assert keeper.flush()
    taken = drafts.taken_up(b'PORT="443";\n')
    assert taken is not None
    assert taken.data == b'PORT="199";\n'
    assert failures == []


def test_a_draft_that_cannot_be_kept_is_told(tmp_path: Path, state: Path) -> None:
    state.write_text("a file where a directory belongs")
    failures: list[Exception] = []
    keeper = DraftKeeper(failures.append)
    keeper.keep(Drafts(tmp_path / "config.js"), b"a", b"b", exists=True)
    assert keeper.flush()
    assert "cannot be kept" in str(failures[0])


# The password


async def test_copying_text_out_leaves_the_password_behind(file, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(VcbApp, "copy", lambda app, text: sent.append(text) or "Sent.")
    async with editor(file) as pilot:
        await pilot.press("f5")
        text = pane(pilot).query_one(ConfigText)
        text.select_all()
        await pilot.press("ctrl+c")
        await settled(pilot)
        assert sent == [JS.replace(f'"{PASSWORD}";', "*" * (len(PASSWORD) + 3))]
        assert "stars stand in its place" in notices(pilot)
        assert PASSWORD not in pilot.app.clipboard


async def test_a_line_that_is_cut_and_pasted_keeps_its_password(file, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(VcbApp, "copy", lambda app, text: sent.append(text) or "Sent.")
    async with editor(file) as pilot:
        await pilot.press("f5")
        text = pane(pilot).query_one(ConfigText)
        text.move_cursor((3, 0))
        await pilot.press("ctrl+x")
        await settled(pilot)
        assert PASSWORD not in opened(pilot).document.text
        text.move_cursor((0, 0))
        await pilot.press("ctrl+v")
        await settled(pilot)
        assert opened(pilot).document.text.startswith(f'PASSWORD="{PASSWORD}";\n// proxy\n')
        assert PASSWORD not in "".join(sent)
        assert PASSWORD not in dump(pilot)


# Undo, text, TOML


async def test_undo_in_the_text_is_undo_in_the_form(file):
    async with editor(file) as pilot:
        await type_port(pilot, "8443")
        await pilot.press("f5")
        text = pane(pilot).query_one(ConfigText)
        text.move_cursor((0, 0))
        await pilot.press(*"// a")
        text.move_cursor((1, 0))
        await pilot.press(*"// b")
        await settled(pilot)
        await pilot.press("ctrl+z")
        await settled(pilot)
        assert text.text.startswith('// a// proxy\nHOST="')
        await pilot.press("ctrl+z", "ctrl+z")
        await settled(pilot)
        assert opened(pilot).data == JS.encode()
        assert text.text == JS
        await pilot.press("ctrl+y")
        await settled(pilot)
        assert opened(pilot).settings.PORT == 8443


async def test_toml_as_text(tmp_path):
    toml = tmp_path / "vcb.toml"
    toml.write_text(TOML)
    async with editor(toml) as pilot:
        await pilot.press("f5")
        text = pane(pilot).query_one(ConfigText)
        text.move_cursor((2, 9))
        await pilot.press("9")
        await settled(pilot)
        assert opened(pilot).settings.PORT == 4493
        await pilot.press("9", "9")
        await settled(pilot)
        assert "whole number from 1 to 65535" in dump(pilot)
        text.move_cursor((0, 0))
        await pilot.press(*"= [")
        await settled(pilot)
        assert "1 error" in pane(pilot).note or "errors" in pane(pilot).note
    assert toml.read_text() == TOML


# The file under it


async def test_a_file_that_was_deleted_meanwhile(file):
    async with editor(file) as pilot:
        await type_port(pilot, "8443")
        file.unlink()
        await pilot.press("s", "enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, ConflictScreen)
        assert "gone from the disk" in dump(pilot)
        await pilot.press("m", "t")
        assert isinstance(pilot.app.screen, ConflictScreen)
        await pilot.press("o")
        await settled(pilot)
    assert file.read_text() == JS.replace("443", "8443")


async def test_a_copy_has_all_but_the_password(file):
    async with editor(file) as pilot:
        await pilot.press("f")
        assert isinstance(pilot.app.screen, ConfigFilesScreen)
        await pilot.press("down", "enter", "enter")
        await settled(pilot)
        copy = file.parent / "copy.js"
        assert opened(pilot).path == copy
        assert 'PORT="443"' in copy.read_text()
        assert PASSWORD not in copy.read_text()
        await pilot.press("f", "tab")
        entry(pilot).value = str(file)
        await pilot.press("enter")
        await settled(pilot)
        assert opened(pilot).path == file


async def test_an_approved_certificate_becomes_the_thumbprint(tmp_path):
    with Lab.start(tmp_path / "lab", seed="empty") as lab:
        path = tmp_path / "vcb.toml"
        path.write_text(f'HOST = "{lab.host}"\nPORT = {lab.port}\nUSERNAME = "{lab.user}"\n')
        async with editor(path) as pilot:
            (tmp_path / "pw").write_text("unused")
            (tmp_path / "pw").chmod(0o600)
            pane(pilot)._set("PASSWORD_FILE", str(tmp_path / "pw"))
            await pilot.press("t")
            screen = pilot.app.screen
            assert isinstance(screen, ConnectionScreen)
            for _ in range(1500):
                if screen.done:
                    break
                await pilot.pause(0.02)
            assert screen.fingerprint, [step.text for step in screen.steps]
            halves = screen.fingerprint[:48], screen.fingerprint[48:]
            assert all(half in dump(pilot) for half in halves)
            await pilot.press("A")
            await settled(pilot)
            assert screen.fingerprint == opened(pilot).settings.THUMBPRINT


# Keys


async def test_paging_in_every_list_of_the_dialogs(file):
    async with editor(file) as pilot:
        await go_to(pilot, "TRANSPORT_MODE")
        for open_it, screen in (("enter", ChooseScreen), ("v", ConfigHistoryScreen), ("f", ConfigFilesScreen)):
            await pilot.press(open_it, "pageup", "pagedown", "end", "home", "pagedown")
            assert isinstance(pilot.app.screen, screen)
            await pilot.press("escape")
        assert pilot.app.is_running


async def test_the_command_line_names_the_word_at_the_cursor(file):
    async with editor(file) as pilot:
        await go_to(pilot, "TRANSPORT_MODE")
        await pilot.press("enter", "end")
        screen = pilot.app.screen
        assert isinstance(screen, ChooseScreen)
        assert screen.command_line == f"vcb config set {file} TRANSPORT_MODE=https"
        await pilot.press("escape")
        await go_to(pilot, "TRANSPORT_FALLBACK")
        await pilot.press("enter", "end", "space", "home", "space")
        assert isinstance(screen := pilot.app.screen, ChooseScreen)
        assert screen.command_line == f"vcb config set {file} 'TRANSPORT_FALLBACK=https, san'"


async def test_what_only_the_editor_can_do_has_no_command_line(file):
    async with editor(file) as pilot:
        await pilot.press("f5")
        pane(pilot).query_one(ConfigText).move_cursor((0, 0))
        await pilot.press(*"// mine ")
        await pilot.press("f8")
        assert isinstance(screen := pilot.app.screen, SaveScreen)
        assert screen.command_line == ""


async def test_a_line_that_asks_for_a_value_names_its_option(file):
    async with editor(file) as pilot:
        await go_to(pilot, "BACKUPROOT")
        await pilot.press("enter", "end", "X")
        assert "BACKUPROOT = " in dump(pilot)
        assert entry(pilot).value.endswith("X")
        assert len(entry(pilot).value) > 1, "the value is gone on from, not typed over"
        await pilot.press("escape")
        assert pilot.app.focused is pane(pilot)._rows
        assert os.fspath(opened(pilot).settings.BACKUPROOT).endswith("vcb")

"""The configuration pane, key by key: edits, errors, saving, conflicts, drafts, the text, secrets."""

import base64
import json

import pytest
from textual.widgets import Input

from tests.tui.config_rig import dump, editor, entry, go_to, opened, pane, row, settled
from tui.screens.choose import ChooseScreen
from tui.screens.config_files import ConfigFilesScreen
from tui.screens.config_history import ConfigHistoryScreen
from tui.screens.conflict import ConflictScreen
from tui.screens.option_help import OptionHelpScreen
from tui.screens.save import SaveScreen
from tui.screens.store_password import StorePasswordScreen
from tui.widgets.config_text import ConfigText

JS = '// proxy\r\nHOST="vc.example.com"; // vCenter\r\nUSERNAME="vcb";\r\nPORT="443";\r\nTRANSPORT_MODE="nbdssl";\r\n'
PASSWORD = "korrekt-pferd-4711"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.js"
    path.write_bytes(JS.encode())
    path.chmod(0o600)
    return path


async def type_value(pilot, text):
    await pilot.press("enter")
    entry(pilot).value = text
    await pilot.pause()
    await pilot.press("enter")
    await settled(pilot)


async def test_a_wrong_value_is_stopped_corrected_and_saved_with_its_difference(file):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "99999")
        assert "a whole number from 1 to 65535" in dump(pilot)
        assert file.read_bytes() == JS.encode()
        entry(pilot).value = "8443"
        await pilot.press("enter")
        await settled(pilot)
        assert "not saved" in pane(pilot).note
        await pilot.press("s")
        assert isinstance(pilot.app.screen, SaveScreen)
        screen = dump(pilot)
        assert '+ PORT="8443";' in screen
        assert '- PORT="443";' in screen
        assert "vcb config set" in screen
        await pilot.press("enter")
        await settled(pilot)
        assert "not saved" not in pane(pilot).note
    assert file.read_bytes() == JS.replace("443", "8443").encode()


async def test_a_choice_says_what_each_word_means_here(file):
    async with editor(file) as pilot:
        await go_to(pilot, "TRANSPORT_MODE")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, ChooseScreen)
        screen = dump(pilot)
        assert "export lease" in screen
        assert "TCP 902 open" in screen
        await pilot.press("end", "enter")
        await settled(pilot)
        assert opened(pilot).settings.TRANSPORT_MODE == "https"


async def test_several_words_in_the_order_of_their_choice(file):
    async with editor(file) as pilot:
        await go_to(pilot, "TRANSPORT_FALLBACK")
        await pilot.press("enter", "end", "space", "up", "up", "space", "enter")
        await settled(pilot)
        assert opened(pilot).settings.TRANSPORT_FALLBACK == ("https", "nbdssl")


async def test_space_takes_the_next_word_and_d_the_default(file):
    async with editor(file) as pilot:
        await go_to(pilot, "QUIESCE")
        await pilot.press("space")
        await settled(pilot)
        assert opened(pilot).settings.QUIESCE == "required"
        await pilot.press("d")
        await settled(pilot)
        assert "QUIESCE" not in opened(pilot).values


async def test_findings_of_the_rules_stand_beside_their_options_and_forbid_the_save(file):
    async with editor(file) as pilot:
        await go_to(pilot, "TRANSPORT_MODE")
        await pilot.press("enter", "home", "down", "down", "down", "enter")
        await go_to(pilot, "PREEXISTING_MOUNTPOINT")
        await pilot.press("space")
        await settled(pilot)
        assert "Give both the same value" in dump(pilot)
        await pilot.press("s", "enter")
        assert isinstance(pilot.app.screen, SaveScreen)
        assert "No run accepts this file" in dump(pilot)
        await pilot.press("Y")
        assert isinstance(pilot.app.screen, SaveScreen)
        await pilot.press("g")
        await settled(pilot)
        assert row(pilot).name == "PREEXISTING_MOUNTPOINT"
        assert file.read_bytes() == JS.encode()
        await pilot.press("s", "exclamation_mark")
        assert "Give both the same value" in dump(pilot)
        await pilot.press("Y")
        await settled(pilot)
    assert b"hotadd" in file.read_bytes()


async def test_undo_and_redo_go_through_the_session_and_beyond_the_save(file):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        await pilot.press("s", "enter")
        await settled(pilot)
    async with editor(file) as pilot:
        await pilot.press("u")
        await settled(pilot)
        assert opened(pilot).data == JS.encode()
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert b"8443" in opened(pilot).data


async def test_filter_and_help_and_the_next_finding(file):
    async with editor(file) as pilot:
        await pilot.press("slash", *"keep d", "enter")
        await settled(pilot)
        assert [row.name for row in pane(pilot)._rows.shown if row.name] == ["KEEP_DAILY"]
        await pilot.press("escape")
        await settled(pilot)
        assert len(pane(pilot)._rows.shown) > 30
        await go_to(pilot, "HOST")
        await pilot.press("h")
        assert isinstance(pilot.app.screen, OptionHelpScreen)
        await pilot.press("escape", "n")
        await settled(pilot)
        assert row(pilot).findings


async def test_form_and_text_are_one_document_and_untouched_lines_keep_their_bytes(file):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        await pilot.press("r")
        text = pane(pilot).query_one(ConfigText)
        text.move_cursor(text.document.end)
        await pilot.press(*"LOGLEVEL=9;")
        await settled(pilot)
        assert "must be a whole number from 0 to 6" in dump(pilot)
        await pilot.press("f5")
        await settled(pilot)
        assert row(pilot).name == "LOGLEVEL"
        assert row(pilot).worst == "error"
        assert opened(pilot).data.startswith(JS.replace("443", "8443").encode())


async def test_both_changed_in_different_places_is_merged(file):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        file.write_bytes(JS.replace("// proxy", "// proxy 7").encode())
        await pilot.press("s", "enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, ConflictScreen)
        assert "D // proxy 7" in dump(pilot)
        await pilot.press("m")
        await settled(pilot)
    assert file.read_bytes() == JS.replace("// proxy", "// proxy 7").replace("443", "8443").encode()


@pytest.mark.parametrize(("key", "expected"), [("t", "9443"), ("o", "8443"), ("escape", "9443")])
async def test_both_changed_the_same_line(file, key, expected):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        file.write_bytes(JS.replace("443", "9443").encode())
        await pilot.press("s", "enter")
        await settled(pilot)
        await pilot.press("m")
        assert isinstance(pilot.app.screen, ConflictScreen)
        await pilot.press(key)
        await settled(pilot)
        if key == "t":
            assert opened(pilot).settings.PORT == 9443
            await pilot.press("u")
            assert opened(pilot).settings.PORT == 8443
    assert file.read_bytes() == JS.replace("443", expected).encode()


async def test_what_is_not_saved_is_back_the_next_time_without_the_password(file, state):
    file.write_bytes((JS + f'PASSWORD="{PASSWORD}";\r\n').encode())
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
    (draft,) = (state / "drafts").iterdir()
    record = json.loads(draft.read_text())
    assert PASSWORD not in draft.read_text()
    assert all(PASSWORD.encode() not in base64.b64decode(record[name]) for name in ("base", "mine"))
    async with editor(file) as pilot:
        assert opened(pilot).settings.PORT == 8443
        assert PASSWORD.encode() in opened(pilot).data
        await pilot.press("u")
        await settled(pilot)
        assert opened(pilot).settings.PORT == 443
    assert not list((state / "drafts").iterdir())


async def test_a_broken_file_opens_as_text_at_its_first_error_and_offers_repairs(tmp_path):
    broken = tmp_path / "config.js"
    broken.write_text('HOST="vc";\nPORT="443;\nUSERNAME=\u201cvcb\u201d;\n', encoding="utf-8")
    async with editor(broken) as pilot:
        assert pane(pilot).query_one(ConfigText).cursor_location[0] == 1
        assert pilot.app.focused is pane(pilot).query_one(ConfigText)
        await pilot.press("escape")
        await go_to(pilot, "USERNAME")
        await pilot.press("x")
        await settled(pilot)
        assert 'USERNAME="vcb"' in opened(pilot).document.text


async def test_a_read_only_file_is_not_replaced_and_nothing_is_lost(file):
    file.chmod(0o400)
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        await pilot.press("s", "enter")
        await settled(pilot)
        assert any("read-only" in notice.message for notice in pilot.app._notifications)
        assert opened(pilot).settings.PORT == 8443
    assert file.read_bytes() == JS.encode()


async def test_no_password_on_any_screen(file):
    file.write_bytes((JS + f'PASSWORD="{PASSWORD}";\r\n').encode())
    async with editor(file) as pilot:
        seen = []
        await go_to(pilot, "PASSWORD")
        for key in ("h", "escape", "r", "down", "f5", "d", "s", "escape", "u"):
            await pilot.press(key)
            await settled(pilot)
            seen.append(dump(pilot))
        assert PASSWORD not in "".join(seen)
        assert "4711" not in "".join(seen)


async def test_a_password_is_stored_in_a_file_unseen(file, tmp_path):
    async with editor(file) as pilot:
        await go_to(pilot, "PASSWORD")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, StorePasswordScreen)
        await pilot.press(*"geheim99", "enter", *"geheim98", "tab", *str(tmp_path / "pw"), "enter")
        await settled(pilot)
        assert "the two passwords differ" in dump(pilot)
        assert "geheim" not in dump(pilot)
        pilot.app.screen.query_one("#again", Input).value = "geheim99"
        await pilot.press("enter")
        await settled(pilot)
        await settled(pilot)
        assert tmp_path / "pw" == opened(pilot).settings.PASSWORD_FILE
    assert (tmp_path / "pw").read_text() == "geheim99\n"


async def test_earlier_versions_come_back_into_the_editor(file):
    async with editor(file) as pilot:
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        await pilot.press("s", "enter")
        await settled(pilot)
        await pilot.press("v")
        assert isinstance(pilot.app.screen, ConfigHistoryScreen)
        await pilot.press("down")
        await pilot.pause()
        assert '+ PORT="443";' in dump(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert opened(pilot).data == JS.encode()
        assert b"8443" in file.read_bytes()


async def test_a_new_file_from_a_sample(file):
    async with editor(file) as pilot:
        await pilot.press("f")
        assert isinstance(pilot.app.screen, ConfigFilesScreen)
        await pilot.press("end", "enter", "enter")
        await settled(pilot)
        assert opened(pilot).path == file.parent / "vcb.toml"
        await go_to(pilot, "PORT")
        await type_value(pilot, "8443")
        await pilot.press("s", "enter")
        await settled(pilot)
    assert "PORT = 8443" in (file.parent / "vcb.toml").read_text()


async def test_without_a_file_the_pane_says_how_to_get_one():
    async with editor(None) as pilot:
        assert "There is no configuration file" in dump(pilot)
        await pilot.press("s", "enter", "n", "t", "u", "escape")
        assert pilot.app.is_running

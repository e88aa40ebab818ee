"""What the console stands on, without a screen: terminal, glyphs, arrangement, state, clipboard, commands, diff."""

import base64
import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from engine.secret import Secret
from tui.arrangement import arrange
from tui.clipboard import MOST, copy, sequences
from tui.commands import Command, Registry, key_word
from tui.defects import record
from tui.glyphs import ASCII, NAMES, UNICODE
from tui.screens.palette import fits
from tui.state import UiState
from tui.terminal import Colours, profile
from tui.widgets.diff_view import DiffView


@pytest.mark.parametrize(
    ("environ", "colours", "unicode", "plain_keys"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, Colours.TRUE, True, False),
        ({"TERM": "tmux-256color"}, Colours.MANY, True, False),
        ({"TERM": "screen-256color"}, Colours.MANY, True, True),
        ({"TERM": "xterm"}, Colours.SIXTEEN, True, False),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, Colours.SIXTEEN, False, True),
        ({"TERM": "vt100"}, Colours.NONE, False, True),
        ({"TERM": "vt220", "COLORTERM": "truecolor"}, Colours.NONE, False, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Colours.NONE, True, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Colours.MANY, True, False),
    ],
)
def test_terminal(environ: dict[str, str], colours: Colours, unicode: bool, plain_keys: bool):
    found = profile(environ, "UTF-8")
    assert (found.colours, found.unicode, found.plain_keys) == (colours, unicode, plain_keys)


def test_a_locale_without_utf8_gets_ascii():
    assert profile({"TERM": "xterm-256color"}, "ISO-8859-1").glyphs is ASCII


def test_over_ssh_nothing_moves_and_the_operators_own_word_counts():
    environ = {"TERM": "xterm-256color", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    profile(environ, "UTF-8").prepare(environ)
    assert environ["TEXTUAL_ANIMATIONS"] == "none"
    assert environ["TEXTUAL_SMOOTH_SCROLL"] == "0"
    assert environ["TEXTUAL_COLOR_SYSTEM"] == "256"
    own = {"TERM": "linux", "TEXTUAL_ANIMATIONS": "full", "LINES": "24", "COLUMNS": "80"}
    profile(own, "UTF-8").prepare(own)
    assert not {"LINES", "COLUMNS"} & set(own), "the size is the terminal's"
    assert own["TEXTUAL_ANIMATIONS"] == "full"
    assert own["TEXTUAL_DISABLE_KITTY_KEY"] == "1"


def test_every_glyph_is_one_cell_and_has_an_ascii_twin():
    for name in NAMES:
        assert cell_len(getattr(UNICODE, name)) == 1, name
        assert len(getattr(ASCII, name)) == 1, name
        assert getattr(ASCII, name).isascii(), name


@pytest.mark.parametrize("names", [("ok", "warning", "error", "running", "waiting", "cancelled", "skipped"),
                                   ("powered_on", "powered_off", "suspended", "template"), ("marked", "unmarked"),
                                   ("expanded", "collapsed"), ("bar_full", "bar_empty")])  # fmt: skip
def test_states_of_one_kind_look_different_without_colours(names: tuple[str, ...]):
    for glyphs in (UNICODE, ASCII):
        assert len({getattr(glyphs, name) for name in names}) == len(names)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_bars_are_as_wide_as_asked_and_full_only_at_the_end(glyphs):
    for width in (1, 7, 20):
        for percent in range(-10, 111):
            assert len(glyphs.bar(percent / 100, width)) == width
    assert glyphs.bar_empty in glyphs.bar(0.999, 10) or glyphs.bar_half in glyphs.bar(0.999, 10)
    assert glyphs.bar(0.001, 10)[0] != glyphs.bar_empty
    assert glyphs.bar(1, 4) == glyphs.bar_full * 4


@pytest.mark.parametrize("columns", range(20, 260, 13))
@pytest.mark.parametrize("rows", [8, 13, 22, 28, 38, 68])
def test_any_arrangement_shows_the_focus_and_names_every_pane_once(columns: int, rows: int):
    for focus in ("inventory", "config", "job_log"):
        for maximised in (False, True):
            upper = "inventory" if focus == "job_log" else focus
            found = arrange(columns, rows, focus=focus, upper=upper, maximised=maximised, inventory_share=0.4,
                            log_share=0.38)  # fmt: skip
            assert focus in found.shown
            assert sorted(tab for tabs in found.tabs.values() for tab in tabs) == ["config", "inventory", "job_log"]
            assert found.strip == ("job_log" not in found.shown)
            assert 0 < found.inventory_columns < columns or "config" not in found.shown
            assert 0 < found.log_rows < rows


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"version": 99, "theme": "amber"}', '{"version": 1, "theme": 7, "panes": {"a": 1}}',  # noqa: E501
                '{"version": 1, "log_share": NaN}', "[" * 5000, "\x00\xff"],
)  # fmt: skip
def test_a_foreign_state_file_does_no_harm(tmp_path: Path, content: str):
    file = tmp_path / "console.json"
    file.write_text(content, encoding="latin-1")
    state = UiState.read(file)
    assert state.theme == ""
    assert state.panes == {}
    assert 0.2 <= state.log_share <= 0.8


def test_state_is_replaced_whole_with_mode_0600(tmp_path: Path):
    file = tmp_path / "deep" / "console.json"
    UiState(theme="day").write(file)
    UiState(theme="amber").write(file)
    assert json.loads(file.read_text())["theme"] == "amber"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["console.json"]


def test_clipboard_goes_both_ways_through_tmux():
    code = base64.b64encode("é\n".encode()).decode()
    assert sequences("é\n", {}) == f"\x1b]52;c;{code}\a"
    in_tmux = sequences("é\n", {"TMUX": "/tmp/x"})
    assert in_tmux == f"\x1b]52;c;{code}\a\x1bPtmux;\x1b\x1b]52;c;{code}\a\x1b\\"
    assert sequences("é\n", {"TERM": "screen.xterm"}).startswith("\x1bP\x1b]52")


def test_clipboard_takes_no_secret_and_nothing_too_long():
    kept, written = Secret("correct horse"), []
    assert "clipboard" in copy(f"password {kept.reveal()}", written.append, {})
    assert "cGFzc3dvcmQgKioq" in written[0]
    assert "more than terminals take" in copy("x" * (MOST + 1), written.append, {})
    assert len(written) == 1


def test_keys_are_written_as_they_are_printed():
    keys = ("ctrl+p", "question_mark", "f1", "pageup", "g", "G", "left_square_bracket")
    assert [key_word(key) for key in keys] == ["^P", "?", "F1", "PgUp", "g", "G", "["]
    assert key_word("up", ascii_only=True) == "Up"


def test_a_registry_finds_two_claims_of_one_key():
    one, two = Command("a.x", "X", "Does x.", ("k",)), Command("a.y", "Y", "Does y.", ("k",))
    other = Command("b.x", "X", "Does x.", ("k",))
    assert Registry([one, two, other]).collisions() == {("a", "k"): [one, two]}
    with pytest.raises(ValueError, match=r"a\.x"):
        Registry([one, one])


def test_an_action_may_have_an_argument():
    assert Command("log.level_3", "Level 3", "Shows it.", method="level", argument=3).action == "level(3)"
    assert Command("log.find", "Find", "Finds it.").action == "find"


def test_the_better_match_comes_first():
    titles = ["Change theme", "The end", "Attach them", "Quit"]
    scored = {title: fits("the", title) for title in titles}
    assert scored["Quit"] is None
    assert scored["The end"] == 0
    assert scored["Change theme"] < scored["Attach them"] or scored["Attach them"] == len("Attach ")  # pyright: ignore
    assert fits("bkp", "Back up the VM") is not None
    assert fits("", "anything") == 0


def test_a_diff_tells_by_signs():
    diff = DiffView(["--- a", "+++ b", "@@ -1 +1 @@", "-HOST=1\n", "+HOST=2\n", " rest"])
    shown = [line.plain for line in diff._painted(40)]
    assert shown == ["--- a", "+++ b", "@@ -1 +1 @@", "- HOST=1", "+ HOST=2", "  rest"]


def test_a_defect_that_cannot_be_written_is_told_all_the_same(tmp_path: Path):
    said = record(ValueError("odd"), tmp_path / "none" / ".." / "file" / "\0".replace("\0", "x") / "log")
    assert "ValueError: odd" in said
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    assert "could not be written" in record(ValueError("odd"), blocked / "log")

"""Themes: ours can be read by the eye, a bad file is told exactly, and what a terminal lacks is made up for."""

import tomllib
from itertools import product
from pathlib import Path

import pytest

from engine.errors import ConfigError
from tui.terminal import Colours, TerminalProfile
from tui.themes import COLOURS, DEFAULT, STATES, ThemeFile, fitting, load_themes, parse_theme

THEMES, ERRORS = load_themes(None)
TRUE = [theme for theme in THEMES.values() if not theme.terminal]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_ours_are_all_good_and_at_least_five():
    assert ERRORS == []
    assert {"night", "day", "contrast", "amber", "console16", "mono"} <= set(THEMES)
    assert not THEMES["day"].dark


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.id)
def test_every_text_can_be_read_on_every_ground(theme: ThemeFile):
    least = 7.0 if theme.id == "contrast" else 4.5
    texts = {**{name: theme.colours[name] for name in ("foreground", "muted", "accent")}, **theme.states}
    grounds = {name: theme.colours[name] for name in ("background", "surface", "panel")}
    pairs = [(text, ground, contrast(texts[text], grounds[ground])) for text, ground in product(texts, grounds)]
    pairs.append(("cursor-text", "cursor", contrast(theme.colours["cursor-text"], theme.colours["cursor"])))
    pairs.append(("accent-text", "accent", contrast(theme.colours["accent-text"], theme.colours["accent"])))
    assert [(text, ground, round(ratio, 2)) for text, ground, ratio in pairs if ratio < least] == []


def night() -> str:
    return (Path(__file__).parents[2] / "themes" / "night.toml").read_text()


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ('accent = "#82aaff"', 'acent = "#82aaff"', 12, "did you mean accent"),
        ('ok = "#8fce8a"', 'ok = "greenish"', 18, "a colour such as #8cb4ff"),
        ('ok = "#8fce8a"', "ok = 7", 18, "states.ok must be"),
        ('rule = "#39424f"\n', "", 5, "[colours] has no rule"),
        ("dark = true", 'dark = "yes"', 3, "true or false"),
        ("dark = true", "dark = ", 3, "not TOML"),
        ("dark = true", "colour = 1", 3, "did you mean colours"),
        ("dark = true", "states = 1", 0, "not TOML"),
    ],
)
def test_a_bad_file_is_told_with_file_line_and_what_is_allowed(before: str, after: str, line: int, words: str):
    text = night().replace(before, after, 1)
    with pytest.raises(ConfigError) as caught:
        parse_theme("mine", text, "mine.toml")
    assert words in caught.value.sentence
    assert caught.value.sentence.startswith("mine.toml")
    if line:
        assert caught.value.line == line


def test_styles_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="one of none, bold"):
        parse_theme("mine", night() + '\n[styles]\ncursor = "blink"\n', "mine.toml")


def test_terminal_themes_take_the_terminals_own_colours():
    text = (Path(__file__).parents[2] / "themes" / "console16.toml").read_text()
    assert parse_theme("c", text, "c.toml").colours["accent"] == "ansi_cyan"
    with pytest.raises(ConfigError, match="bright_white"):
        parse_theme("c", text.replace('"cyan"', '"#00ffff"', 1), "c.toml")


def test_the_operators_own_replace_ours_and_bad_ones_are_left_out(tmp_path: Path):
    (tmp_path / "night.toml").write_text(night().replace('"Night"', '"My night"'))
    (tmp_path / "torn.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "notes.txt").write_text("not a theme")
    themes, errors = load_themes(tmp_path)
    assert themes["night"].name == "My night"
    assert len(errors) == 1
    assert "torn.toml" in str(errors[0])


def test_ours_name_every_colour_and_state():
    for theme in THEMES.values():
        assert set(theme.colours) == set(COLOURS)
        assert set(theme.states) == set(STATES)


@pytest.mark.parametrize(
    ("wanted", "colours", "worn"),
    [
        ("amber", Colours.TRUE, "amber"),
        ("amber", Colours.MANY, "amber"),
        ("amber", Colours.SIXTEEN, "console16"),
        ("amber", Colours.NONE, "mono"),
        ("mono", Colours.TRUE, "mono"),
        ("gone", Colours.TRUE, DEFAULT),
        ("", Colours.NONE, "mono"),
    ],
)
def test_the_theme_fits_the_terminal(wanted: str, colours: Colours, worn: str):
    assert fitting(wanted, THEMES, TerminalProfile(colours=colours)).id == worn


def test_files_are_plain_toml():
    for path in (Path(__file__).parents[2] / "themes").glob("*.toml"):
        assert tomllib.loads(path.read_text())["about"]

"""Themes: the colours of the console, as TOML files of ours and of the operator's.

A file names its colours and those of the states; what else Textual wants to know (scroll bars, cursors, buttons) is
drawn from them here, so that a theme of twenty lines is a whole one. In style sheets the colours are variables:
`$background $surface $panel $foreground $muted $rule $accent $cursor $cursor-text` and `$state-ok $state-warning
$state-error $state-running $state-note $state-off`; `$cursor-style` and `$muted-style` are text styles, for themes that
have no colours to tell with.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from engine.config.option_types import nearest
from engine.errors import ConfigError
from tui.terminal import Colours, TerminalProfile

_OURS = Path(__file__).parent.parent / "themes"
DEFAULT = "night"
FALLBACKS = {Colours.SIXTEEN: "console16", Colours.NONE: "mono"}
"""What a terminal without 256 colours gets, whatever the operator likes elsewhere."""

COLOURS = (
    "background", "surface", "panel", "foreground", "muted", "rule", "accent", "accent-text", "cursor", "cursor-text",
)  # fmt: skip
STATES = ("ok", "warning", "error", "running", "note", "off")
STYLES = ("none", "bold", "dim", "reverse", "underline", "bold reverse", "bold underline")
_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BASIC = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
NAMED = ("default", *_BASIC, *(f"bright_{name}" for name in _BASIC))
"""Colours of the terminal itself, for themes with `terminal = true`."""
_KEYS = {
    "name": str, "about": str, "dark": bool, "terminal": bool, "colours": dict, "states": dict, "styles": dict,
}  # fmt: skip


class ThemeFile(msgspec.Struct, frozen=True):
    """One theme as read. `id` is the file's name without `.toml`: the operator's own `night.toml` replaces ours."""

    id: str
    name: str
    about: str
    dark: bool
    terminal: bool
    """Drawn in the terminal's own 16 colours."""
    colours: dict[str, str]
    states: dict[str, str]
    cursor_style: str
    muted_style: str

    def suits(self, colours: Colours) -> bool:
        return self.terminal or colours in (Colours.MANY, Colours.TRUE)


def load_themes(directory: Path | None) -> tuple[dict[str, ThemeFile], list[ConfigError]]:
    """Ours, and over them those of `directory` (if it exists). A bad file is an error in the list, not an exception."""
    themes: dict[str, ThemeFile] = {}
    errors: list[ConfigError] = []
    own = sorted(directory.glob("*.toml")) if directory and directory.is_dir() else []
    for file in (*sorted(_OURS.glob("*.toml")), *own):
        try:
            theme = parse_theme(file.stem, file.read_text(encoding="utf-8"), str(file))
        except ConfigError as error:
            errors.append(error)
        except (OSError, UnicodeDecodeError) as error:
            errors.append(ConfigError(f"the theme cannot be read: {error}", file=str(file)))
        else:
            themes[theme.id] = theme
    return themes, errors


def parse_theme(theme_id: str, text: str, file: str) -> ThemeFile:
    """Raises ConfigError with file, line and what is allowed for the first mistake."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ConfigError(f"not TOML: {error}", file=file, line=int(line[1]) if line else 0) from None
    reading = _Reading(text, file)
    reading.keys(content, _KEYS, "")
    for key, kind in _KEYS.items():
        if key in content and not isinstance(content[key], kind):
            words = {str: "a text", bool: "true or false", dict: "a table"}
            raise reading.wrong(key, f"{key} must be {words[kind]}, not {content[key]!r}")
    terminal = content.get("terminal", False)
    styles = content.get("styles", {})
    reading.keys(styles, ("cursor", "muted"), "styles")
    for key, value in styles.items():
        if value not in STYLES:
            raise reading.wrong(key, f"styles.{key} must be one of {', '.join(STYLES)}, not {value!r}")
    return ThemeFile(
        id=theme_id,
        name=content.get("name", theme_id),
        about=content.get("about", ""),
        dark=content.get("dark", True),
        terminal=terminal,
        colours=reading.colours(content.get("colours", {}), COLOURS, "colours", terminal),
        states=reading.colours(content.get("states", {}), STATES, "states", terminal),
        cursor_style=styles.get("cursor", "none"),
        muted_style=styles.get("muted", "none"),
    )


class _Reading(msgspec.Struct, frozen=True):
    text: str
    file: str

    def keys(self, table: Iterable[str], allowed: Iterable[str], where: str) -> None:
        allowed = list(allowed)
        for key in table:
            if key not in allowed:
                place = f" in [{where}]" if where else ""
                raise self.wrong(key, f"nothing{place} is called {key}{nearest(key, allowed)}", ", ".join(allowed))

    def colours(self, table: dict[str, Any], wanted: tuple[str, ...], where: str, terminal: bool) -> dict[str, str]:
        self.keys(table, wanted, where)
        for key in wanted:
            if key not in table:
                raise self.wrong(f"[{where}]", f"[{where}] has no {key}; it needs {', '.join(wanted)}")
            if not isinstance(table[key], str) or not _is_colour(table[key], terminal):
                allowed = ", ".join(NAMED) if terminal else "a colour such as #8cb4ff"
                raise self.wrong(
                    key, f"{where}.{key} must be {'one of ' if terminal else ''}{allowed}, not {table[key]!r}"
                )
        return {key: f"ansi_{table[key]}" if terminal else table[key] for key in wanted}

    def wrong(self, key: str, sentence: str, allowed: str = "") -> ConfigError:
        written = re.compile(
            rf"^\s*\"?{re.escape(key)}\"?\s*(=|$)" if not key.startswith("[") else rf"^\s*{re.escape(key)}"
        )
        lines = (number for number, line in enumerate(self.text.splitlines(), 1) if written.match(line))
        return ConfigError(
            sentence, file=self.file, line=next(lines, 0), hint=f"Allowed: {allowed}." if allowed else ""
        )


def _is_colour(text: str, terminal: bool) -> bool:
    return text in NAMED if terminal else bool(_HEX.fullmatch(text))


def fitting(wanted: str, themes: dict[str, ThemeFile], terminal: TerminalProfile) -> ThemeFile:
    """The theme to start with: the one wanted if there is one of that name and the terminal has the colours for it."""
    theme = themes.get(wanted) or themes[DEFAULT]
    return theme if theme.suits(terminal.colours) else themes[FALLBACKS[terminal.colours]]


def variables(theme: ThemeFile) -> dict[str, str]:
    """All variables beyond Textual's base colours that our style sheets, and Textual's own widgets, ask for."""
    c, s = theme.colours, theme.states
    return {
        **{f"state-{name}": colour for name, colour in s.items()},
        "ansi-background": "ansi_black", "ansi-foreground": "ansi_white",
        "muted": c["muted"], "rule": c["rule"], "accent-text": c["accent-text"],
        "cursor": c["cursor"], "cursor-text": c["cursor-text"],
        "cursor-style": theme.cursor_style, "muted-style": theme.muted_style,
        "text-muted": c["muted"], "text-disabled": c["muted"], "foreground-muted": c["muted"],
        "block-cursor-background": c["cursor"], "block-cursor-foreground": c["cursor-text"],
        "block-cursor-text-style": theme.cursor_style,
        "block-cursor-blurred-background": c["panel"], "block-cursor-blurred-foreground": c["foreground"],
        "block-hover-background": c["panel"],
        "border": c["accent"], "border-blurred": c["rule"],
        "scrollbar": c["rule"], "scrollbar-hover": c["muted"], "scrollbar-active": c["accent"],
        "scrollbar-background": c["background"], "scrollbar-background-hover": c["background"],
        "scrollbar-background-active": c["background"], "scrollbar-corner-color": c["background"],
        "input-cursor-background": c["foreground"], "input-cursor-foreground": c["background"],
        "input-cursor-text-style": "reverse" if theme.terminal else "none",
        "input-selection-background": c["cursor"], "input-selection-foreground": c["cursor-text"],
        "screen-selection-background": c["cursor"], "screen-selection-foreground": c["cursor-text"],
        "text-success": s["ok"], "text-warning": s["warning"], "text-error": s["error"],
        "text-accent": c["accent"], "text-primary": c["accent"],
    }  # fmt: skip

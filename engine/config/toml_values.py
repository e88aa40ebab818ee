"""How values are written in TOML: numbers as numbers, lists as arrays, everything else as a text in quotes."""

import re
from typing import Any

from engine.config.option_types import Option

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


def native(option: Option[Any] | None, text: str) -> int | str | list[str]:
    """The TOML value that a text of config.js stands for. A text that is no number where one is wanted stays a text:
    whoever checks the file says so."""
    kind = option.kind if option else "text"
    if kind in ("number", "size", "floor") and _NUMBER.fullmatch(text.strip()):
        return int(text)
    if kind in ("choices", "texts"):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def written(option: Option[Any] | None, text: str, *, like: str = "") -> str:
    """The value in TOML on one line. `like` is the old value as written: one between single quotes stays so, if it
    can."""
    value = native(option, text)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_text(item, '') for item in value)}]"
    return _text(value, like)


def _text(text: str, like: str) -> str:
    import tomlkit  # noqa: PLC0415 - 25 ms, and only edits write

    literal = like.startswith("'") and not like.startswith("'''") and "'" not in text and text.isprintable()
    return tomlkit.string(text, literal=literal).as_string()

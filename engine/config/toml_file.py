"""Reader of our own format: TOML with the same names as config.js, at the top level."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from engine.config.encoding import decode
from engine.config.finding import Finding

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY = re.compile(r"""^[ \t]*(["']?)([A-Za-z0-9_-]+)\1[ \t]*=""")


class TomlValue(NamedTuple):
    value: object
    line: int


def parse(data: bytes, file: Path | str = "vcb.toml") -> tuple[dict[str, TomlValue], list[Finding]]:
    """The top-level keys with their line numbers (from 1). A syntax error is one finding, and then no key is read:
    TOML has no lines to recover at."""
    text = decode(data).text
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return {}, [_syntax_error(str(error), text, str(file))]
    lines = _lines_of_keys(text)
    return {name: TomlValue(value, lines.get(name, 0)) for name, value in document.items()}, []


def _syntax_error(message: str, text: str, file: str) -> Finding:
    match = _PLACE.search(message)
    line = int(match[1]) if match and match[1] else text.count("\n") + 1
    column = int(match[2]) if match and match[2] else 0
    reason = _PLACE.sub("", message)
    return Finding(
        "toml-syntax",
        "error",
        f"this is not TOML: {reason[:1].lower()}{reason[1:]}",
        fix='settings are written NAME = "value"',
        file=file,
        line=line,
        column=column,
    )


def _lines_of_keys(text: str) -> dict[str, int]:
    """The first line that sets each key. tomllib has checked that there is only one, so that a look-alike inside a
    multi-line text is the only way to be wrong, and only in the number."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := _KEY.match(line):
            lines.setdefault(match[2], number)
    return lines

"""What a save changes, as text for people: a unified diff, and the three-way view of a conflict.

Neither shows a password, whatever state the line is in.
"""

import re
from collections.abc import Iterator
from difflib import unified_diff
from operator import attrgetter
from pathlib import Path

from engine.config.encoding import decode
from engine.config.masking import masked
from engine.config.merging import Lines, ThreeWay
from engine.config.validity import errors_of
from engine.errors import ConfigError

_NO_END = "\\ No newline at end of file"
_BASE, _MINE, _DISK = attrgetter("base"), attrgetter("mine"), attrgetter("disk")
_MARKS = {"unchanged": "  ", "mine": "M ", "theirs": "D ", "same": "= "}


def unified(before: bytes, after: bytes, file: Path, *, context: int = 3) -> list[str]:
    """The lines of a unified diff, without line ends; [] when nothing differs.

    A change that shows in no character (line ends, encoding, byte order mark) is told in a line of its own.
    """
    if before == after:
        return []
    old, new = _shown(before, file), _shown(after, file)
    lines = list(unified_diff(old, new, str(file), str(file), "saved", "to be saved", n=context, lineterm=""))
    return lines + [f"\\ {change}" for change in _invisible(before, after)]


def three_way_view(view: ThreeWay, file: Path) -> list[str]:
    """All lines of the merge, each behind a mark: M mine, D from the disk, = the same by both; a conflict shows all
    three sides between rows of <<<<<<<, |||||||, ======= and >>>>>>>."""
    sides = [b"".join(line for hunk in view.hunks for line in side(hunk)) for side in (_BASE, _MINE, _DISK)]
    for data in sides:
        _learn_secrets(data, file)
    base, mine, disk = (decode(data).encoding for data in sides)
    shown: list[str] = []
    for hunk in view.hunks:
        if hunk.kind != "conflict":
            encoding = disk if hunk.kind == "theirs" else mine
            shown += [_MARKS[hunk.kind] + line for line in _text(hunk.chosen, encoding)]
            continue
        shown += ["<<<<<<< mine", *_text(hunk.mine, mine)]
        shown += [f"||||||| as it was read (line {hunk.line})", *_text(hunk.base, base)]
        shown += ["=======", *_text(hunk.disk, disk), ">>>>>>> on the disk now"]
    return shown


def _shown(data: bytes, file: Path) -> list[str]:
    _learn_secrets(data, file)
    text = decode(data).text
    lines = [masked(line) for line in re.split(r"\r\n|\r|\n", text)]
    return lines[:-1] if not lines[-1] else [*lines[:-1], f"{lines[-1]}\n{_NO_END}"]


def _text(lines: Lines, encoding: str) -> list[str]:
    return [masked(line.decode(encoding, "replace").lstrip("\ufeff").rstrip("\r\n")) for line in lines]


def _learn_secrets(data: bytes, file: Path) -> None:
    """Reading a value makes a Secret of it, and `redact` then finds it where no pattern does (on a line of its own)."""
    try:
        errors_of(data, file)
    except ConfigError:
        return  # a name that says nothing: then there is no reader, and the pattern must do


def _invisible(before: bytes, after: bytes) -> Iterator[str]:
    old, new = decode(before), decode(after)
    if (old.encoding, old.bom) != (new.encoding, new.bom):
        yield f"the encoding changes from {_encoding(*old[1:])} to {_encoding(*new[1:])}"
    ends = [{name for name, end in _ENDS.items() if re.search(end, side.text)} for side in (old, new)]
    if ends[0] != ends[1] and all(ends):
        yield f"line ends change from {' and '.join(sorted(ends[0]))} to {' and '.join(sorted(ends[1]))}"


def _encoding(encoding: str, bom: bytes) -> str:
    return f"{encoding} with a byte order mark" if bom else encoding


_ENDS = {"CR LF": r"\r\n", "LF": r"(?<!\r)\n", "CR": r"\r(?!\n)"}

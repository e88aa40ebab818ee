"""Where the command line writes: people's text to one stream, the machine's JSON to the other."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from engine.secret import redact
from tui.figures import clean

PLAIN_WIDTH = 80
_NARROWEST = 40
_PROSE = frozenset({"error", "sentence", "text", "reason", "hint", "fault", "fix", "warnings", "leftovers", "findings"})
"""Fields of the machine's line that may quote what a server or a library said."""


class _Console(Console):
    """rich ends the whole program when its reader has gone; a backup has to go on and clean up."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _silence(self.file)


class Screen:
    """With `as_json`, standard output carries one JSON object as its last line, and people read standard error.

    A terminal that goes away (a closed pager, a dropped SSH session) must not end a backup half-way: writing to it
    fails silently from then on.
    """

    def __init__(self, *, as_json: bool = False, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        self.as_json = as_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        people = self._stderr if as_json else self._stdout
        self.console = _Console(
            file=people,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            width=None if people.isatty() else _piped_width(),
        )
        self.errors = _Console(file=self._stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether lines can be redrawn: a terminal that knows how."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    @property
    def width(self) -> int:
        return max(_NARROWEST, self.console.width)

    def show(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self.line(line)

    def line(self, text: Text | str = "", style: str = "") -> None:
        _write(self.console, text if isinstance(text, Text) else Text(clean(text), style))

    def error(self, sentence: str, *, fault: str = "", hint: str = "") -> None:
        """A failure of the command itself, on standard error."""
        sentence, fault, hint = redact(sentence), redact(fault), redact(hint)
        first, *rest = sentence.splitlines() or [""]
        _write(self.errors, Text.assemble(("vcb: ", "bold red"), clean(first)))
        for line in rest:
            _write(self.errors, Text(clean(line)))
        if fault:
            _write(self.errors, Text(f"  fault: {clean(fault)}", "dim"))
        if hint:
            _write(self.errors, Text(f"  {clean(hint)}"))

    def machine_line(self, text: str) -> bool:
        """One line of a stream for a program; False once nobody reads it any more."""
        try:
            self._stdout.write(text + "\n")
            self._stdout.flush()
        except OSError:
            _silence(self._stdout)
            return False
        return True

    def result(self, value: dict[str, Any]) -> None:
        """The machine's line; nothing without --json."""
        if self.as_json:
            try:
                self._stdout.write(json.dumps(_redacted(value), ensure_ascii=True, default=str) + "\n")
                self._stdout.flush()
            except OSError:
                _silence(self._stdout)


def _redacted(value: Any, prose: bool = False) -> Any:
    """The value with secrets taken out of its prose. Names, paths and identifiers stay what they are, even where a
    weak password equals one of them: a script acts on them."""
    if isinstance(value, dict):
        return {name: _redacted(part, prose or name in _PROSE) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(part, prose) for part in value]
    return redact(value) if prose and isinstance(value, str) else value


def _write(console: Console, text: Text) -> None:
    try:
        console.print(text)
        console.file.flush()
    except OSError:
        _silence(console.file)


def _silence(stream: IO[str]) -> None:
    """The reader has gone; what is still written, and what the interpreter flushes at its end, goes nowhere."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _piped_width() -> int:
    """$COLUMNS where it is set, else 80: what a pipe gets must not depend on the terminal it was started from."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if os.environ.get("COLUMNS") else PLAIN_WIDTH


def safe_streams() -> None:
    """A character that the terminal's encoding lacks is shown as an escape instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")

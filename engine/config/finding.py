"""What a check of the configuration brings up."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """`rule_id` is stable; `text` is a sentence, `fix` what to do; `options` are the names concerned.

    An error stops every run; a warning is shown at each run; a note is shown where the configuration is looked at.
    `line` and `column` count from 1 and are 0 where no place in a file is meant.
    """

    rule_id: str
    severity: Severity
    text: str
    options: tuple[str, ...] = ()
    fix: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def place(self) -> str:
        """`file:line:column` as far as known, else ""."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text

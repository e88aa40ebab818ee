"""What a check of the configuration brings up."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

from engine.config.edits import Edit, apply
from engine.errors import ConfigError

Severity = Literal["error", "warning", "note"]


class Repair(NamedTuple):
    """A safe correction: `text` says what it does ("type a straight quote"), `edits` are the bytes it replaces in
    the file with the SHA-256 digest `base`. Everything else in the file stays as it is."""

    text: str
    edits: tuple[Edit, ...]
    base: bytes

    @classmethod
    def of(cls, data: bytes, text: str, *edits: Edit) -> "Repair":
        """A repair of the file that holds `data`."""
        return cls(text, edits, sha256(data).digest())

    def made_in(self, data: bytes) -> bytes:
        """The repaired bytes. Raises ConfigError when `data` is not what the repair was made for."""
        if sha256(data).digest() != self.base:
            raise ConfigError("this repair was made for another version of the file", hint="Check the file again.")
        return apply(data, self.edits)


@dataclass(frozen=True)
class Finding:
    """`rule_id` is stable; `text` is a sentence, `fix` what to do; `options` are the names concerned.

    An error stops every run; a warning is shown at each run; a note is shown where the configuration is looked at.
    `line` and `column` count from 1 and are 0 where no place in a file is meant. `repair` is there only where the
    correction is certain; `Document.repair` makes it.
    """

    rule_id: str
    severity: Severity
    text: str
    options: tuple[str, ...] = ()
    fix: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    repair: Repair | None = None

    @property
    def place(self) -> str:
        """`file:line:column` as far as known, else ""."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def to_json(self) -> dict[str, object]:
        """For scripts; `repair` is what the offered correction does, or null."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "text": self.text,
            "rule": self.rule_id,
            "options": list(self.options),
            "fix": self.fix,
            "repair": self.repair.text if self.repair else None,
        }

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text

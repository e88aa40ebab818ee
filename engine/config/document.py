"""A configuration file as a document: what it says, what is wrong with it, and edits that leave the rest alone.

Two forms have the same protocol: `configjs_document.ConfigJsDocument` and `toml_document.TomlDocument`.
`engine.config.check.check` joins a document's own findings with those of its values, the rules across options and the
state of the machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, Self

from engine.config.edits import Entry
from engine.config.finding import Finding
from engine.errors import ConfigError

Kind = Literal["config.js", "toml"]
_KINDS: Mapping[str, Kind] = {".js": "config.js", ".toml": "toml"}


class Document(Protocol):
    """Immutable. Edits return a new document; undo is keeping the old one.

    Raising edits raise ConfigError, and then nothing has changed: a name that is no option, a text that the file's
    encoding cannot hold or the form cannot express, a place that cannot be edited without touching something else.
    """

    @property
    def kind(self) -> Kind: ...
    @property
    def file(self) -> str: ...
    @property
    def encoding(self) -> str:
        """A name that Python's codecs know; the byte order mark, where there is one, is not part of it."""
        ...

    @property
    def newline(self) -> str:
        """The line end that most lines have."""
        ...

    @property
    def text(self) -> str:
        """The whole file as text, line ends as they are, without the byte order mark."""
        ...

    @classmethod
    def parse(cls, data: bytes, file: Path | str) -> Self:
        """Never raises for content: what is odd is among the findings."""
        ...

    def to_bytes(self) -> bytes:
        """The file. Byte for byte the parsed one when nothing was edited."""
        ...

    def line(self, number: int) -> str:
        """The text of line `number` (from 1) without its end; "" where there is none."""
        ...

    def findings(self) -> tuple[Finding, ...]:
        """What is odd or wrong in the text itself, in the order of the file."""
        ...

    def values(self) -> Mapping[str, Entry]:
        """What the file sets, known options or not. Of several values for one name the last counts."""
        ...

    def commented(self) -> Mapping[str, Entry]:
        """Options that stand in a comment, ready to be enabled by `set`."""
        ...

    def set(self, name: str, value: str) -> Self:
        """Replaces the bytes of the value that counts; or enables a commented-out one; or adds the option beside
        its neighbours of the option table. The same document when it already says so."""
        ...

    def remove(self, name: str) -> Self:
        """Takes out every setting of `name`; the same document when there is none."""
        ...

    def repair(self, finding: Finding) -> Self:
        """The document with the repair of a finding made. Raises ConfigError when the finding offers none, or
        belongs to another version of the file."""
        ...


def kind_of(file: Path | str) -> Kind:
    """What a file is, by its suffix. Raises ConfigError for an unknown one."""
    suffix = Path(file).suffix.lower()
    if suffix not in _KINDS:
        raise ConfigError(
            f'what kind of file {Path(file).name} is, its name does not say: it must end with ".js" (VCB\'s config.js) '
            'or ".toml"',
            file=str(file),
        )
    return _KINDS[suffix]


def document_of(data: bytes, file: Path | str) -> Document:
    """The document that `data` is, by the file's name. Raises ConfigError when that does not say it."""
    if kind_of(file) == "toml":
        from engine.config.toml_document import TomlDocument  # noqa: PLC0415 - who reads one form pays for no other

        return TomlDocument.parse(data, file)
    from engine.config.configjs_document import ConfigJsDocument  # noqa: PLC0415

    return ConfigJsDocument.parse(data, file)


def open_document(file: Path) -> Document:
    """Reads a file. Raises ConfigError when it cannot be read, or its name does not say what it is."""
    kind_of(file)
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"the configuration file cannot be read: {reason}", file=str(file)) from error
    return document_of(data, file)

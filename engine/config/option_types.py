"""The kinds of options: what a value may be, how it is read from a text, and how it is written again.

An option is a descriptor: on a `Settings` instance it gives the typed value, on the class it gives itself, with
everything that help, samples, checks and editors draw from.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from engine.secret import Secret

T = TypeVar("T")

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])(?:ib)?|b)?", re.IGNORECASE)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*%")
_PERCENT = re.compile(r"(\d{1,3})\s*%")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class Option(ABC, Generic[T]):
    """One setting.

    `name` is set by the class that holds it. `since` is "VCB" for the options of VCB's config.js, else the version
    of this program that brought it. `allowed` describes the valid values in words. `unit` is "" for values without.
    `cost` says what a value takes in time, space or safety; "" where none costs anything.
    """

    name = ""
    kind = "text"
    secret = False

    def __init__(
        self,
        default: T,
        help_text: str,
        *,
        section: str,
        since: str = "0.1",
        unit: str = "",
        required: bool = False,
        cost: str = "",
    ) -> None:
        self.default = default
        self.help = help_text
        self.section = section
        self.since = since
        self.unit = unit
        self.required = required
        self.cost = cost

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Option[T]": ...
    @overload
    def __get__(self, instance: Any, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> "Option[T] | T":
        return self if instance is None else instance.value_of(self.name)

    def __set__(self, instance: Any, value: object) -> None:
        raise AttributeError(f"{self.name} is set when the settings are loaded, not later")

    @property
    def allowed(self) -> str:
        return "a text"

    @abstractmethod
    def read(self, value: object, base: Path) -> T:
        """The typed value of a text, or of a value that is typed already (TOML, programs).

        `base` is the directory that relative paths start from. Raises ValueError with the rest of a sentence that
        begins with the option's name.
        """

    def text(self, value: T) -> str:
        """The value as `read` takes it back."""
        return "" if value is None else str(value)

    def expected(self, value: object) -> ValueError:
        return ValueError(f"must be {self.allowed}; {_shown(value)} is not")


class TextOption(Option[str]):
    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str):
            raise self.expected(value)
        return value.strip()


class HostOption(TextOption):
    """A DNS name or an IP address; not a URL, and without a port."""

    kind = "host"

    @property
    def allowed(self) -> str:
        return "a DNS name or an IP address"

    def read(self, value: object, base: Path) -> str:
        host = super().read(value, base)
        if "://" in host or "/" in host:
            inner = host.split("://")[-1].split("/")[0]
            raise ValueError(f"is a name or an address, not a URL: write {_shown(inner)}")
        if re.fullmatch(r"[^:\s]+:\d+", host):
            name, port = host.rsplit(":", 1)
            raise ValueError(f"takes no port: write {_shown(name)} here and {port} in PORT")
        if not re.fullmatch(r"[\w.:%-]*", host):
            raise self.expected(value)
        return host


class SecretOption(Option[Secret | None]):
    """A text that is never shown. An empty text counts as not set."""

    kind = "secret"
    secret = True

    def read(self, value: object, base: Path) -> Secret | None:
        if value is None or isinstance(value, Secret):
            return value or None
        if not isinstance(value, str):
            raise ValueError("must be a text")
        return Secret(value) if value else None

    def text(self, value: Secret | None) -> str:
        return "***" if value else ""


class PathOption(Option[Path]):
    """A path of this machine. `~` is the home directory; a relative path starts at the file that names it."""

    kind = "path"

    @property
    def allowed(self) -> str:
        return "a path"

    def read(self, value: object, base: Path) -> Path:
        return _path(self, value, base)


class OptionalPathOption(Option[Path | None]):
    """As `PathOption`; an empty text means none."""

    kind = "path"

    @property
    def allowed(self) -> str:
        return "the path of a file"

    def read(self, value: object, base: Path) -> Path | None:
        return None if value in (None, "") else _path(self, value, base)


class ThumbprintOption(Option[str | None]):
    """SHA-256 fingerprint of a certificate, kept as 32 upper-case pairs with colons (openssl's form)."""

    kind = "thumbprint"

    @property
    def allowed(self) -> str:
        return "a SHA-256 fingerprint of 64 hex digits, with or without colons"

    def read(self, value: object, base: Path) -> str | None:
        if value in (None, ""):
            return None
        if not isinstance(value, str):
            raise self.expected(value)
        digits = re.sub(r"[:\s-]", "", value).upper()
        if re.fullmatch(r"[0-9A-F]{40}", digits):
            raise ValueError(
                "must be a SHA-256 fingerprint (64 hex digits); this one is SHA-1 (40), which no longer proves anything"
            )
        if not re.fullmatch(r"[0-9A-F]{64}", digits):
            raise self.expected(value)
        return ":".join(digits[i : i + 2] for i in range(0, 64, 2))


class ChoiceOption(Option[str]):
    """One word of a fixed list; upper and lower case are the same."""

    kind = "choice"

    def __init__(self, default: str, help_text: str, *, choices: dict[str, str], **about: Any) -> None:
        super().__init__(default, help_text, **about)
        self.choices = choices
        """Each allowed word with what it means."""

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def read(self, value: object, base: Path) -> str:
        return _choice(self, value, self.choices)


class ChoiceListOption(Option[tuple[str, ...]]):
    """Several words of a fixed list, in the order of preference."""

    kind = "choices"

    def __init__(self, help_text: str, *, choices: dict[str, str], **about: Any) -> None:
        super().__init__((), help_text, **about)
        self.choices = choices

    @property
    def allowed(self) -> str:
        return f"a list of {', '.join(self.choices)}"

    def read(self, value: object, base: Path) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_choice(self, item, self.choices) for item in _items(self, value)))

    def text(self, value: tuple[str, ...]) -> str:
        return ", ".join(value)


class TextListOption(Option[tuple[str, ...]]):
    """Several texts; in one text they are separated by commas."""

    kind = "texts"

    @property
    def allowed(self) -> str:
        return "a list of texts, separated by commas"

    def read(self, value: object, base: Path) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_items(self, value)))

    def text(self, value: tuple[str, ...]) -> str:
        return ", ".join(value)


class IntOption(Option[int]):
    kind = "number"

    def __init__(self, default: int, help_text: str, *, least: int, most: int, **about: Any) -> None:
        super().__init__(default, help_text, **about)
        self.least, self.most = least, most

    @property
    def allowed(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"a whole number from {self.least} to {self.most}{unit}"

    def read(self, value: object, base: Path) -> int:
        return self._in_range(_whole(value), value)

    def _in_range(self, number: int | None, value: object) -> int:
        if number is None or not self.least <= number <= self.most:
            raise self.expected(value)
        return number


class SizeOption(IntOption):
    """A number of bytes; KiB, MiB, GiB and TiB may follow the number."""

    kind = "size"

    @property
    def allowed(self) -> str:
        return f"a size from {size_text(self.least)} to {size_text(self.most)}"

    def read(self, value: object, base: Path) -> int:
        return self._in_range(_bytes(value), value)

    def text(self, value: int) -> str:
        return size_text(value)


@dataclass(frozen=True)
class Floor:
    """Space to keep free: so many bytes, or so many percent of the file system."""

    size: int = 0
    percent: int = 0

    def bytes_of(self, total: int) -> int:
        """Bytes to keep free in a file system of `total` bytes."""
        return self.size + total * self.percent // 100

    def __str__(self) -> str:
        return f"{self.percent}%" if self.percent else size_text(self.size)


class FloorOption(Option[Floor]):
    kind = "floor"

    @property
    def allowed(self) -> str:
        return "a size such as 10 GiB, or a share such as 5%"

    def read(self, value: object, base: Path) -> Floor:
        if isinstance(value, Floor):
            return value
        if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())) and int(match[1]) < 100:
            return Floor(percent=int(match[1]))
        if (size := _bytes(value)) is None:
            raise self.expected(value)
        return Floor(size=size)


class ShareOption(Option[float]):
    """A share, kept as a number from 0 to 1; written in percent, with at most three places."""

    kind = "share"

    @property
    def allowed(self) -> str:
        return "a share from 0% to 100%, such as 0.5%"

    def read(self, value: object, base: Path) -> float:
        if isinstance(value, float) and 0 <= value <= 1:
            return value
        match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or float(match[1]) > 100:
            raise self.expected(value)
        return float(match[1]) / 100

    def text(self, value: float) -> str:
        return f"{round(value * 100, 3):g}%"


def size_text(size: int) -> str:
    """The size in the largest unit that needs no fraction: 2 MiB, 1000 (bytes have no unit)."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << power) == 0:
            return f"{size >> power} {unit}"
    return str(size)


def nearest(word: str, words: Sequence[str]) -> str:
    """ "; did you mean X?" for the most similar of `words`, or "" when none is."""
    close = close_to(word, words)
    return f"; did you mean {close[0]}?" if close else ""


def close_to(word: str, words: Sequence[str], cutoff: float = 0.6) -> list[str]:
    """At most two of `words` that `word` may be a misspelling of, the most similar first; case does not count.
    `cutoff` is difflib's: 0 takes anything, 1 only the word itself."""
    upper = {candidate.upper(): candidate for candidate in words}
    return [upper[found] for found in get_close_matches(word.upper(), list(upper), n=2, cutoff=cutoff)]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"' if isinstance(value, str) else text


def _choice(option: Option[Any], value: object, choices: dict[str, str]) -> str:
    if isinstance(value, str) and (word := value.strip().lower()) in choices:
        return word
    hint = nearest(value, list(choices)) if isinstance(value, str) else ""
    raise ValueError(f"{option.expected(value)}{hint}")


def _items(option: Option[Any], value: object) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise option.expected(value)
    return [part.strip() for part in parts if part.strip()]


def _path(option: Option[Any], value: object, base: Path) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise option.expected(value)
    if _WINDOWS_PATH.match(value):
        raise ValueError(f"is a Windows path, {_shown(value)}; this machine needs one such as /var/lib/vcb")
    return base / Path(value.strip()).expanduser()


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
        return int(value)
    return None


def _bytes(value: object) -> int | None:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _UNITS[(match[2] or "").lower()]
    number = _whole(value)
    return number if number is not None and number >= 0 else None

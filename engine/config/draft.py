"""Changes of a configuration file that were not saved yet, so that they outlive the program that holds them.

One file a configuration, `drafts/<hash of the real path>.json` in the state directory, mode 0600, always whole. It
holds the file as it was read and as it shall be, without secrets: lines that may hold one are masked. When a draft is
taken up again, those lines come from the file on the disk; a password that was typed into the file and not saved is
the one thing that is lost.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.config.document import document_of
from engine.config.encoding import decode
from engine.config.masking import masked
from engine.config.merging import Lines, lines_of, three_way
from engine.config.options import OPTIONS
from engine.config.whole_file import new_content, sweep, target_error
from engine.errors import ConfigError
from engine.secret import MASK
from engine.state_directory import StateDirectory


class _Record(msgspec.Struct, kw_only=True):
    """`base` and `mine` are masked; `sha256` is that of the file as it was read, unmasked."""

    path: str
    at: datetime
    sha256: str
    exists: bool
    base: bytes
    mine: bytes


@dataclass(frozen=True)
class Draft:
    """Taken up again: `data` is what was to be saved, over the file as it is now; `conflict` when the file was changed
    meanwhile at the same places: then `data` was made from `base`, the file as it was then, and a save with that base
    tells both changes. `lost`: a typed secret could not be kept."""

    at: datetime
    base: bytes
    data: bytes
    changed: bool
    conflict: bool
    lost: bool


class Drafts:
    """The draft of one file, given by its real path. Methods raise TargetError for what cannot be written; a draft that
    cannot be read counts as none."""

    def __init__(self, real: Path, state: StateDirectory | None = None) -> None:
        self.real = real
        self._state = state or StateDirectory.default()
        name = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
        self.file = self._state.root / "drafts" / f"{name}.json"

    def keep(self, base: bytes, mine: bytes, *, exists: bool) -> None:
        """Keeps `mine`, which was made from `base`; forgets the draft when nothing differs."""
        if base == mine:
            self.forget()
            return
        record = _Record(
            path=os.fsencode(self.real).decode(errors="backslashreplace"),
            at=datetime.now(UTC).replace(microsecond=0),
            sha256=hashlib.sha256(base).hexdigest(),
            exists=exists,
            base=b"".join(_masked_lines(base, self.real)),
            mine=b"".join(_masked_lines(mine, self.real)),
        )
        try:
            self._state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            sweep(self.file)
            with new_content(self.file, msgspec.json.encode(record)) as new:
                new.replace()
        except OSError as error:
            raise target_error(error, f"the draft of {self.real} ({self.file}) cannot be kept") from error

    def forget(self) -> None:
        try:
            self.file.unlink(missing_ok=True)
        except OSError as error:
            raise target_error(error, f"the draft of {self.real} ({self.file}) cannot be removed") from error

    def taken_up(self, disk: bytes) -> Draft | None:
        """The draft over the file's content `disk`; None when there is none, or it changes nothing any more."""
        try:
            record = msgspec.json.decode(self.file.read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError):
            return None
        changed = hashlib.sha256(disk).hexdigest() != record.sha256
        mine, lost = _unmasked(record.mine, disk, self.real)
        if not changed:
            return Draft(record.at, disk, mine, False, False, lost) if mine != disk else None
        base, _ = _unmasked(record.base, disk, self.real)
        merged = three_way(base, mine, disk).merged
        if merged is None:
            return Draft(record.at, base, mine, True, True, lost)
        return Draft(record.at, disk, merged, True, False, lost) if merged != disk else None


def _masked_lines(data: bytes, file: Path) -> Iterator[bytes]:
    """The lines, each that may hold a secret masked, its line end kept."""
    spans = _secret_spans(data, file)
    source, at = decode(data), 0
    for line in lines_of(data):
        start, at = at, at + len(line)
        text = line.decode(source.encoding, "surrogateescape" if source.encoding == "utf-8" else "strict")
        body = text.rstrip("\r\n")
        hidden = masked(body)
        if any(start < end and begin < at for begin, end in spans) and hidden == body:
            hidden = MASK
        yield line if hidden == body else (hidden + text[len(body) :]).encode(source.encoding)


def _secret_spans(data: bytes, file: Path) -> list[tuple[int, int]]:
    try:
        values = document_of(data, file).values()
    except ConfigError:
        return []
    return [entry.span for name, entry in values.items() if name in OPTIONS and OPTIONS[name].secret]


def _unmasked(data: bytes, disk: bytes, file: Path) -> tuple[bytes, bool]:
    """The draft with its masked lines replaced by those of `disk`; True when one has none there and is left out."""
    known: dict[bytes, list[bytes]] = {}
    originals: Lines = lines_of(disk)
    for hidden, line in zip(_masked_lines(disk, file), originals, strict=True):
        if hidden != line:
            known.setdefault(hidden, []).append(line)
    encoded_mask = MASK.encode(decode(data).encoding)
    lines, lost = [], False
    for line in lines_of(data):
        if encoded_mask not in line:
            lines.append(line)
        elif candidates := known.get(line):
            lines.append(candidates.pop(0) if len(candidates) > 1 else candidates[0])
        elif line in originals:
            lines.append(line)
        else:
            lost = True
    return b"".join(lines), lost

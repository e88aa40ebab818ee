"""The earlier contents of a configuration file, so that a save can be undone, today or next month.

One file a configuration, `history/<hash of the real path>.json` in the state directory, mode 0600, always whole. It
holds the contents as they were, secrets in them included: it is as private as the file itself (`forget` removes it).
By hand: `jq -r '.versions[-1].data' FILE | base64 -d`.

A version knows the one it was made from. Undo goes there, redo to the newest one made from here, and a save after an
undo forgets nothing. Where we are is told by the file's content, so a crash between a save and its record does no harm:
a save is announced (`prepare`) before it is done and confirmed (`settle`) after.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.config.whole_file import new_content, read_open, sweep, target_error
from engine.errors import ConfigError
from engine.state_directory import StateDirectory

MOST_VERSIONS = 100
MOST_BYTES = 1 << 20
_FORMAT = 1


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """`what` says how it came ("set PORT"), never with a value; `parent` is the number of the version it was made
    from, 0 for none; `data` are the file's bytes."""

    number: int
    at: datetime
    what: str
    sha256: str
    parent: int
    data: bytes

    def __repr__(self) -> str:
        """Without the data, which may hold a password."""
        return f"Version(number={self.number}, at={self.at:%Y-%m-%dT%H:%M:%SZ}, what={self.what!r})"


class _Record(msgspec.Struct, kw_only=True):
    """`pending` is a version announced, not yet confirmed."""

    format: int = _FORMAT
    path: str
    current: int = 0
    pending: Version | None = None
    versions: list[Version] = []

    def numbered(self, number: int) -> Version | None:
        return next((version for version in self.versions if version.number == number), None)

    def locate(self, data: bytes) -> Version | None:
        """The version that `data` is: the current one if it is equal, then the announced one, then the newest."""
        digest = hashlib.sha256(data).hexdigest()
        candidates = [self.numbered(self.current), self.pending, *reversed(self.versions)]
        return next((version for version in candidates if version and version.sha256 == digest), None)

    def add(self, data: bytes, what: str, parent: int) -> Version:
        """A version with the next number; not yet among the versions."""
        number = max((version.number for version in self.versions), default=0) + 1
        digest = hashlib.sha256(data).hexdigest()
        now = datetime.now(UTC).replace(microsecond=0)
        return Version(number=number, at=now, what=what, sha256=digest, parent=parent, data=data)

    def make_current(self, version: Version) -> None:
        if self.numbered(version.number) is None:
            self.versions.append(version)
        self.current, self.pending = version.number, None

    def prune(self, most: int, most_bytes: int) -> None:
        """Drops the oldest versions, never the current one, until both bounds hold; an announced one counts."""
        size = sum(len(version.data) for version in self.versions) + len(self.pending.data if self.pending else b"")
        count = len(self.versions) + bool(self.pending)
        for version in sorted(self.versions, key=lambda version: version.number):
            if count <= most and size <= most_bytes:
                return
            if version.number != self.current:
                self.versions.remove(version)
                size, count = size - len(version.data), count - 1


class History:
    """The history of one file, given by its real path. Methods raise ConfigError for a history that cannot be read,
    TargetError or TargetFull for one that cannot be written."""

    def __init__(
        self,
        real: Path,
        state: StateDirectory | None = None,
        *,
        most: int = MOST_VERSIONS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.real = real
        name = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
        self._state = state or StateDirectory.default()
        self.file = self._state.root / "history" / f"{name}.json"
        self.most, self.most_bytes = most, most_bytes

    def versions(self) -> tuple[Version, ...]:
        """Oldest first."""
        return tuple(self._read().versions)

    def current(self, disk: bytes) -> Version | None:
        """The version that the file's content `disk` is; None when another program made it."""
        return self._read().locate(disk)

    def last_saved(self) -> Version | None:
        """The version of the last save, undo or redo, whatever became of the file since."""
        record = self._read()
        return record.numbered(record.current)

    def undo_target(self, version: Version) -> Version | None:
        """What `version` was made from; None at the beginning."""
        return self._read().numbered(version.parent)

    def redo_target(self, version: Version) -> Version | None:
        """The newest version made from `version`; None at the end."""
        children = [other for other in self._read().versions if other.parent == version.number]
        return max(children, key=lambda other: other.number, default=None)

    def prepare(self, before: bytes | None, after: bytes, what: str, *, number: int = 0) -> int:
        """Announces that `after` shall replace `before` (None: there is no file), as the kept version `number` or a
        new one. Returns its number. The content found on the disk is kept even when another program wrote it."""
        if max(len(before or b""), len(after)) * 2 > self.most_bytes:
            raise ConfigError(f"{self.real} is too large for the history ({self.most_bytes} bytes)")
        record = self._read()
        here = record.locate(before) if before is not None else None
        if here is None and before is not None:
            found = "changed by another program" if record.versions else "as it was found"
            here = record.add(before, found, record.current)
        if here is not None:
            record.make_current(here)
        again = record.numbered(number)
        record.pending = again or record.add(after, what, here.number if here else record.current)
        record.prune(self.most, self.most_bytes)
        self._write(record)
        return record.pending.number

    def settle(self, number: int) -> None:
        """Confirms that the announced version is the file's content now."""
        record = self._read()
        if record.pending is not None and record.pending.number == number:
            record.make_current(record.pending)
            self._write(record)

    def forget(self) -> bool:
        """Removes all earlier contents; False when there were none."""
        with self._told("removed"):
            try:
                self.file.unlink()
            except FileNotFoundError:
                return False
        return True

    def _read(self) -> _Record:
        try:
            data = self._stored()
            if data is None:
                return _Record(path=os.fsencode(self.real).decode(errors="backslashreplace"))
            record = msgspec.json.decode(data, type=_Record)
        except OSError as error:
            raise self._unreadable(error.strerror or type(error).__name__) from error
        except msgspec.MsgspecError as error:
            raise self._unreadable(f"it is damaged ({error})") from error
        if record.format > _FORMAT:
            raise self._unreadable(f"it is of format {record.format}, made by a newer version")
        return record

    def _stored(self) -> bytes | None:
        try:
            fd = os.open(self.file, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            return read_open(fd)
        finally:
            os.close(fd)

    def _unreadable(self, reason: str) -> ConfigError:
        return ConfigError(
            f"the history of {self.real} cannot be read: {reason}",
            file=str(self.file),
            hint="Move this file away: then a new history begins.",
        )

    def _write(self, record: _Record) -> None:
        data = msgspec.json.encode(record)
        with self._told("written"):
            self._state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            sweep(self.file)
            with new_content(self.file, data) as new:
                new.replace()

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise target_error(error, f"the history of {self.real} ({self.file}) cannot be {doing}") from error

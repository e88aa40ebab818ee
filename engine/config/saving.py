"""Safe saving of configuration files.

    data, base = read(path)             # what is there, and what it is compared with later
    saved = save(path, changed, base=base)

A crash or a full disk at any point leaves the old file or the new one, whole. A file that another program changed
since it was read is not overwritten: `ConflictError` carries all that `merging.three_way` needs to show and offer a
merge, and whoever wants to save over it reads again and saves with that base. Two programs that save with `save`
exclude each other; against one that does not (an editor), the file is compared again just before it is replaced.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.effective import error_of
from engine.config.file_lock import Held, locked
from engine.config.history import History, Version
from engine.config.validity import errors_of, secrets_replaced
from engine.config.whole_file import NewContent, new_content, read_open, sweep, target_error
from engine.errors import ConfigError, ConflictError, TargetError, VcbError
from engine.state_directory import StateDirectory

MOST_BYTES = 4 << 20
"""No configuration is larger; what is larger is another kind of file, given by mistake."""
_ANY_WRITE = 0o222


@dataclass(frozen=True)
class Base:
    """A file as it was read. `real` is the file behind symlinks; `inode` is (device, number), None without a file."""

    real: Path
    data: bytes = field(repr=False)
    inode: tuple[int, int] | None
    links: int = 0

    @property
    def exists(self) -> bool:
        return self.inode is not None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a save will do that the operator may not expect; to be told beforehand."""
        if self.links < 2:
            return ()
        names = "another name" if self.links == 2 else f"{self.links - 1} other names"
        text = f"{self.real} has {names} (hard links); a save gives this name a new file, the rest keep the old one."
        return (text,)


@dataclass(frozen=True)
class Saved:
    """`written` is False when nothing had to change. `base` is for the next save. `version` is the number in the
    history, None when the history could not be kept; `notes` tell that and all else that is not as it should be."""

    file: Path
    written: bool
    base: Base
    version: int | None = None
    notes: tuple[str, ...] = ()


def read(path: Path) -> tuple[bytes, Base]:
    """The file's bytes, and the base of a save. A file that does not exist is empty, and a save creates it.

    Raises ConfigError for what is no file, or cannot be read, or is larger than MOST_BYTES.
    """
    real = _real(path)
    try:
        base = _read(real)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"the configuration file cannot be read: {reason}", file=str(path)) from error
    return base.data, base


def save(
    path: Path,
    data: bytes,
    *,
    base: Base,
    allow_invalid: bool = False,
    what: str = "edit",
    state: StateDirectory | None = None,
) -> Saved:
    """Makes `data` the content of the file that `path` names, if it is still what `base` says.

    `what` is the change in a few words for the history, without values. Mode, owner, group, access list and extended
    attributes stay; a new file has mode 0600. Raises ConfigError for content with errors (unless `allow_invalid`: the
    operator said twice that it may be), ConflictError, BusyError, TargetError, TargetFull. After an error the file is
    as it was, but for one whose sentence says that the new content is in place.
    """
    return _Save(path, data, base, allow_invalid, what, History(_real(path), state)).run()


def undo(path: Path, *, allow_invalid: bool = False, state: StateDirectory | None = None) -> Saved:
    """Makes the file what it was before the last save; again, the one before that. Raises what `save` raises, and
    ConfigError at the beginning of the history.

    Where another program changed the file since, ConflictError: its merge takes back the last save alone.
    """
    return _step(path, History(_real(path), state), "undo", allow_invalid)


def redo(path: Path, *, allow_invalid: bool = False, state: StateDirectory | None = None) -> Saved:
    """Takes back an `undo`, like it."""
    return _step(path, History(_real(path), state), "redo", allow_invalid)


def _step(path: Path, history: History, what: str, allow_invalid: bool) -> Saved:
    data, base = read(path)
    here = history.current(data) if base.exists else None
    last = here or history.last_saved()
    target = last and (history.undo_target(last) if what == "undo" else history.redo_target(last))
    if target is None:
        raise ConfigError(f"there is nothing to {what}", file=str(path))
    if here is None and last is not None:
        raise _conflict(path, Base(base.real, last.data, None), target.data, base)
    return _Save(path, target.data, base, allow_invalid, what, history, target).run()


@dataclass
class _Save:
    """One save. `version` is the kept one that it brings back, if it does."""

    path: Path
    data: bytes
    base: Base
    allow_invalid: bool
    what: str
    history: History
    version: Version | None = None
    notes: list[str] = field(default_factory=list)
    new: NewContent | None = None

    @property
    def real(self) -> Path:
        return self.history.real

    def run(self) -> Saved:
        with self._told():
            if unchanged := self._unchanged(_read(self.real)):
                return unchanged
        if not self.allow_invalid and (errors := errors_of(self.data, self.path)):
            raise error_of(errors)
        with self._told(), locked(self.real) as held:
            return self._unchanged(self._on_disk(held)) or self._write(held)

    def _unchanged(self, disk: Base) -> Saved | None:
        """The result, if there is nothing to write. Raises ConflictError."""
        if disk.exists and disk.data == self.data:
            return Saved(disk.real, False, disk)
        if self.base.real != self.real:
            text = f"{self.path} was read as {self.base.real} and is {self.real} now: the link was changed."
            raise ConfigError(text, file=str(self.path), hint="Read it again.")
        if (disk.exists, disk.data) == (self.base.exists, self.base.data):
            return None
        if self.base.exists and self.data == self.base.data:
            note = f"{self.real} was changed by another program; there was no change of yours to save."
            return Saved(disk.real, False, disk, notes=(note,))
        raise _conflict(self.path, self.base, self.data, disk)

    def _on_disk(self, held: Held) -> Base:
        if held.note:
            self.notes.append(held.note)
        if held.fd is None:
            return Base(self.real, b"", None)
        disk = _base(held.fd, self.real)
        self.notes += disk.cautions
        return disk

    def _write(self, held: Held) -> Saved:
        if held.fd is not None:
            _require_writable(held.fd, self.real)
        sweep(self.real)
        replaced = secrets_replaced(self.base.data, self.data, self.path)
        with new_content(self.real, self.data, like=held.fd) as self.new:
            number = self._announce()
            try:
                self._place(self.new, held)
            finally:
                if self.new.placed and number is not None:
                    self._confirm(number)
        if number is not None and replaced:
            kept = f"The history of {self.real} keeps the old {' and '.join(replaced)}, to undo this."
            self.notes.append(f"{kept} vcb config forget removes it.")
        saved = Base(self.real, self.data, self.new.inode, 1)
        return Saved(self.real, True, saved, number, (*self.notes, *self.new.notes))

    def _place(self, new: NewContent, held: Held) -> None:
        if held.fd is None:
            try:
                new.create()
            except FileExistsError:
                raise _conflict(self.path, self.base, self.data, _read(self.real)) from None
            return
        now = _read(self.real)  # once more, this late, for programs that take no lock
        if not now.exists or now.data != self.base.data:
            raise _conflict(self.path, self.base, self.data, now)
        new.replace()

    def _announce(self) -> int | None:
        """A history that cannot be kept does not forbid the save, but it is told."""
        try:
            before = self.base.data if self.base.exists else None
            return self.history.prepare(before, self.data, self.what, number=self.version.number if self.version else 0)
        except VcbError as error:
            self.notes.append(f"This change cannot be undone later: {error}")
            return None

    def _confirm(self, number: int) -> None:
        try:
            self.history.settle(number)
        except VcbError as error:
            self.notes.append(f"The history does not know yet that this change was made: {error}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns an OSError into a sentence that says which content is in place."""
        try:
            yield
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> TargetError:
        if self.new is not None and self.new.placed:
            hint = "Look after the disk: after a loss of power the old content may be back."
            return target_error(error, f"The new content of {self.real} is in place, but not confirmed", hint)
        hint = ""
        if error.errno == errno.ENOENT:
            hint = f"Make the directory {self.real.parent} first."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            refusing = f"{self.real}" if error.filename == str(self.real) else f"The directory {self.real.parent}"
            hint = f"{refusing} must be writable for user {os.geteuid()}: a save puts a new file in place of the old."
        return target_error(error, f"{self.real} cannot be saved, and is as it was", hint)


def _real(path: Path) -> Path:
    """The file behind symlinks, which may be absent. Raises ConfigError for links that lead in a circle."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"the configuration file cannot be read: {reason}", file=str(path)) from error


def _read(real: Path) -> Base:
    try:
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
    except FileNotFoundError:
        return Base(real, b"", None)
    try:
        return _base(fd, real)
    finally:
        os.close(fd)


def _base(fd: int, real: Path) -> Base:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError("this is not a file", file=str(real))
    if status.st_size > MOST_BYTES:
        raise ConfigError(f"this is no configuration: it has {status.st_size} bytes", file=str(real))
    return Base(real, read_open(fd), (status.st_dev, status.st_ino), status.st_nlink)


def _require_writable(fd: int, real: Path) -> None:
    """A rename would replace a read-only file as well; but somebody made it so on purpose, even where root asks."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if not mode & _ANY_WRITE:
        raise TargetError(f"{real} is read-only (mode {mode:04o}).", hint=f"To change it, run chmod u+w {real} first.")


def _conflict(path: Path, base: Base, mine: bytes, disk: Base) -> ConflictError:
    happened = "was changed"
    if not disk.exists:
        happened = "was deleted"
    elif not base.exists and not base.data:
        happened = "was created"
    elif base.exists and disk.inode != base.inode:
        happened = "was replaced"
    return ConflictError(
        f"this file {happened} by another program since it was read; nothing was written",
        base=base.data,
        mine=mine,
        disk=disk.data if disk.exists else None,
        file=str(path),
        hint="Look at both changes, then merge them or save again.",
    )

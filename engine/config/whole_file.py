"""Files that are whole at every moment: the new content is written beside the old file, proven to be on the disk,
and only then takes its place by a rename (link, where nothing may be replaced), which is one step for everybody.

Here and in `file_lock`, `saving` and `history`, every system call goes through `os` and `fcntl`: tests fail each of
them in turn.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import TargetError, TargetFull

ACCESS_LIST = "system.posix_acl_access"
_OF_THE_CONTENT = frozenset({"security.ima", "security.evm"})
"""Signatures over the old bytes: on the new ones they would be wrong."""
_PRIVATE = 0o600
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SUCH_THING = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_LINKS = (errno.EPERM, *_NO_SUCH_THING)
"""How file systems without hard links (vfat, some shares) answer `link`."""


@dataclass
class NewContent:
    """Complete and on the disk, under a name of its own beside `path`, until `replace` or `create` puts it there."""

    path: Path
    temporary: Path
    directory_fd: int
    inode: tuple[int, int]
    placed: bool = False
    """True from the moment at which `path` is the new content."""
    notes: list[str] = field(default_factory=list)

    def replace(self) -> None:
        """Takes the place of whatever file `path` is."""
        self.temporary.rename(self.path)
        self.placed = True
        _sync_directory(self.directory_fd)

    def create(self) -> None:
        """Takes a place where nothing is. Raises FileExistsError when another was first."""
        try:
            os.link(self.temporary, self.path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(self.path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path)) from error
            self.temporary.rename(self.path)
            self.placed = True
        else:
            self.placed = True
            self.temporary.unlink()
        _sync_directory(self.directory_fd)


@contextmanager
def new_content(path: Path, data: bytes, *, like: int | None = None) -> Iterator[NewContent]:
    """The content that shall become `path`: owner, group, mode, access list and extended attributes are those of the
    open file `like`; without one it is ours alone, with mode 0600. The temporary file is locked meanwhile, and gone at
    the end.

    Raises OSError; TargetError where owner or access list cannot be kept.
    """
    directory_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        temporary, fd = _temporary(path)
        try:
            status = os.fstat(fd)
            new = NewContent(path, temporary, directory_fd, (status.st_dev, status.st_ino))
            _write(fd, data)
            if like is None:
                os.fchmod(fd, _PRIVATE)
            else:
                new.notes += _dress(fd, like, path)
            os.fsync(fd)
            yield new
        finally:
            with suppress(OSError):  # after a rename it is not there; what stays is swept by the next save
                temporary.unlink()
            os.close(fd)
    finally:
        os.close(directory_fd)


def sweep(path: Path) -> None:
    """Removes what killed saves of `path` left beside it: temporary files that no living process has locked."""
    prefix = _prefix(path)
    for other in path.parent.iterdir():
        if other.name.startswith(prefix):
            with suppress(OSError):  # another's, busy, or gone by now: the next save comes by again
                _remove_unlocked(other)


def read_open(fd: int) -> bytes:
    """All bytes of an open file, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    parts: list[bytes] = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def target_error(error: OSError, sentence: str, hint: str = "") -> TargetError:
    """The engine's error for a file that refuses; `sentence` (without its full stop) says what could not be done."""
    reason = error.strerror or type(error).__name__
    kind = TargetFull if error.errno in _NO_SPACE else TargetError
    return kind(f"{sentence}: {reason}.", fault=errno.errorcode.get(error.errno or 0, ""), hint=hint)


def _prefix(path: Path) -> str:
    """Of temporary files for `path`: short, whatever the name's length."""
    return f".vcb-save-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}-"


def _temporary(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, locked and open for writing. A sweep that came between is outdone by another."""
    while True:
        temporary = path.parent / f"{_prefix(path)}{secrets.token_hex(6)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _PRIVATE)
        with suppress(OSError):  # a file system without locks: then no sweep takes it away either
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            ours = os.fstat(fd).st_nlink > 0
        except OSError:
            os.close(fd)
            raise
        if ours:
            return temporary, fd
        os.close(fd)


def _remove_unlocked(leftover: Path) -> None:
    fd = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_directory(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # how network file systems say that their directories need none
            raise


def _dress(fd: int, like: int, path: Path) -> list[str]:
    """Gives the file owner, group, attributes, access list and mode of `like`; returns what could not be kept.

    In this order: a change of the owner takes bits off the mode, and an access list holds the group's bits of it.
    """
    status = os.fstat(like)
    own = os.fstat(fd)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(fd, status.st_uid, status.st_gid)
        except PermissionError as error:
            raise target_error(
                error,
                f"{path} belongs to user {status.st_uid}, group {status.st_gid}, and a save would make it yours",
                hint="Save as the owner of the file or as root.",
            ) from error
    lost = [name for name in _attributes(like) if not _copy_attribute(name, like, fd, path)]
    if ACCESS_LIST in _attributes(fd) and ACCESS_LIST not in _attributes(like):
        os.removexattr(fd, ACCESS_LIST)  # from the directory's default
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    return [f"The extended attribute {name} of {path} could not be kept." for name in lost]


def _attributes(fd: int) -> list[str]:
    try:
        return [name for name in os.listxattr(fd) if name not in _OF_THE_CONTENT]
    except OSError as error:
        if error.errno in _NO_SUCH_THING:
            return []
        raise


def _copy_attribute(name: str, source: int, fd: int, path: Path) -> bool:
    """False for a label of the system's that we may not set. Raises TargetError for an access list: without it,
    others could read the file than before."""
    value = os.getxattr(source, name)
    if name in _attributes(fd) and os.getxattr(fd, name) == value:
        return True
    try:
        os.setxattr(fd, name, value)
    except OSError as error:
        if name == ACCESS_LIST:
            raise target_error(error, f"the access list (ACL) of {path} cannot be kept") from error
        if error.errno in (errno.EPERM, errno.EACCES, *_NO_SUCH_THING):
            return False
        raise
    return True

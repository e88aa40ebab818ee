"""A guest's files as files of this machine: with modes, times, holes and links, and nothing outside one directory.

Every name is made anew relative to the descriptor of a directory that was made here a moment before, and never through
a symlink. What exists is not touched. Owners stay those of whoever takes the files out, so the bits that make a program
run as its owner are left off; `tar` keeps both.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ImageError, TargetError, TargetFull
from engine.extents import Extent
from engine.files.content import Meter, metered, pieces
from engine.files.entry import Entry, FileSystem, Kind
from engine.files.point_volumes import Volume
from engine.files.taken import Taken
from engine.files.walk import Names, Step, Walk, fitting
from engine.image.direct_output import target_error
from engine.points.confined import opened
from engine.reporter import Reporter

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_ONE_NAME = frozenset(
    (errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EFBIG, errno.EPERM, errno.EOPNOTSUPP)
)
"""What the target says of one file and not of all."""
_TRIES = 100


def take_out(
    system: FileSystem, start: Entry, target: Path, *, volume: Volume, report: Reporter, cancel: CancelToken
) -> Taken:
    """`start` into the directory `target`, made if missing: the root of a volume by its content, for which the target
    must be empty, else one entry under its own name, which must be free.

    Raises `TargetError` (`TargetFull`) when the target can't go on, `Cancelled`, and `ImageError` only when `start`
    itself can't be had; what was written stays.
    """
    if start.unreadable:
        raise ImageError(f"{start.name!r} can't be taken out: {start.unreadable}.")
    taken = Taken(remarks=system.remarks)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with opened(target, None) as fd, metered(volume, report) as meter:
            if not start.name and any(target.iterdir()):
                raise TargetError(f"{target} is not empty; nothing is overwritten.", hint="Name another directory.")
            _Extraction(system, taken, (fd, target), meter, cancel).run(start)
    except OSError as error:
        refused = target_error(error, target)
        if isinstance(refused, TargetFull):
            refused.hint = "Free space there, or name another directory; what was written so far is still there."
        raise refused from error
    taken.read = meter.read
    return taken


class _Extraction:
    def __init__(
        self, system: FileSystem, taken: Taken, target: tuple[int, Path], meter: Meter, cancel: CancelToken
    ) -> None:
        self._system, self._taken = system, taken
        self._home, self._target = target
        self._cancel, self._meter = cancel, meter
        self._open: list[tuple[int, str]] = []
        """Descriptors of the directories that are being filled, each with its name here."""
        self._linked: dict[int, str] = {}
        """Files with several names: identity -> the path of the first here."""

    def run(self, start: Entry) -> None:
        """The root of a volume, which has no name, is stood for by the target."""
        top = Names().give(start.name) if start.name else ""
        if top and os.path.lexists(self._target / top):
            raise TargetError(f"{self._target / top} exists; nothing is overwritten.", hint="Name another directory.")
        try:
            walk = Walk(self._system, start, self._taken.troubles)
            for step, path, entry in walk:
                self._cancel.check()
                if not path and not top:
                    continue
                name = path[-1] if path else top
                try:
                    self._take(step, name, entry)
                except OSError as error:
                    if error.errno not in _OF_ONE_NAME:
                        raise
                    self._trouble(name, f"{self._target} does not take it: {os.strerror(error.errno or 0)}")
                    if step is Step.ENTER:
                        walk.skip()
                except ImageError as error:
                    self._trouble(name, error.sentence + (f" [{error.fault}]" if error.fault else ""))
        finally:
            for fd, _ in self._open:
                os.close(fd)

    def _take(self, step: Step, name: str, entry: Entry) -> None:
        if step is Step.LEAVE:
            fd, name = self._open.pop()
            try:
                self._finish(fd, name, entry)
            finally:
                os.close(fd)
        elif entry.kind in (Kind.DEVICE, Kind.PIPE, Kind.SOCKET):
            self._taken.skipped.add(self._path(name), entry.kind.value)
        else:
            make = {Kind.DIRECTORY: self._directory, Kind.SYMLINK: self._symlink, Kind.FILE: self._file}[entry.kind]
            make(name, self._open[-1][0] if self._open else self._home, entry)
            self._taken.counts[entry.kind] += 1

    def _directory(self, name: str, at: int, entry: Entry) -> None:
        name = self._named(name, lambda free: os.mkdir(free, 0o700, dir_fd=at))
        self._open.append((os.open(name, _DIRECTORY, dir_fd=at), name))

    def _symlink(self, name: str, at: int, entry: Entry) -> None:
        name = self._named(name, lambda free: os.symlink(entry.target, free, dir_fd=at))
        os.utime(name, ns=(entry.accessed, entry.modified), dir_fd=at, follow_symlinks=False)

    def _file(self, name: str, at: int, entry: Entry) -> None:
        if entry.links > 1 and (first := self._linked.get(entry.identity)) and self._link(name, at, first):
            return
        extents = list(self._system.data(entry))
        made: list[int] = []
        name = self._named(name, lambda free: made.append(os.open(free, _NEW, 0o600, dir_fd=at)))
        (fd,) = made
        try:
            self._fill(fd, entry, extents)
            self._finish(fd, name, entry)
        except BaseException:  # half a file is worse than none
            os.unlink(name, dir_fd=at)
            raise
        finally:
            os.close(fd)
        if entry.links > 1:
            self._linked[entry.identity] = self._path(name)

    def _link(self, name: str, at: int, first: str) -> bool:
        """Whether the target knows such links."""

        def link(free: str) -> None:
            os.link(first, free, src_dir_fd=self._home, dst_dir_fd=at, follow_symlinks=False)

        try:
            self._named(name, link)
        except OSError:
            return False
        return True

    def _fill(self, fd: int, entry: Entry, extents: list[Extent]) -> None:
        for offset, piece in pieces(self._system, entry, extents):
            self._cancel.check()
            left = memoryview(piece)
            while left:
                left = left[os.pwrite(fd, left, offset + len(piece) - len(left)) :]
            self._meter.add(len(piece))
        os.ftruncate(fd, entry.size)

    def _finish(self, fd: int, name: str, entry: Entry) -> None:
        try:
            os.fchmod(fd, entry.mode & 0o777)
            os.utime(fd, ns=(entry.accessed, entry.modified))
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise
            self._trouble(name, f"{self._target} does not take its mode or times: {os.strerror(error.errno or 0)}")

    def _named(self, name: str, make: Callable[[str], object]) -> str:
        """Makes something that is not there yet: under `name` or, where the target finds that equal to a name that it
        has (upper and lower case, forms of Unicode), one like it."""
        free = name
        for number in range(2, _TRIES):
            try:
                make(free)
            except FileExistsError:
                free = fitting(name, f"~{number}")
                continue
            if free != name:
                self._trouble(name, f"{self._target} finds the name equal to another: it is called {free!r} there")
            return free
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def _path(self, name: str) -> str:
        return "/".join([*(opened for _, opened in self._open), name])

    def _trouble(self, name: str, text: str) -> None:
        self._taken.troubles.add(self._path(name), text)

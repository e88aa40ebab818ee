"""Other images under the name of a point, so that at every moment either all of the old or all of the new is there.

`BACKUPROOT/.merging-<job>/` holds `plan.toml`, which is written first and says what is to happen, and `new/`, where the
point grows anew. Once that is proven it changes places with the point in one call (RENAME_EXCHANGE); file systems that
can't do that get two renames, and a reader may miss the point between them. Then the points that were merged into it
go, newest first, then the old images, and the plan last: so whatever stopped a run, `settle` knows whether to undo
or to complete it.
"""

import ctypes
import errno
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import tomli_w

from engine.errors import ImageError, PolicyError, TargetError
from engine.points import manifest as manifests, proof
from engine.points.mount_point import fsync_directory
from engine.points.removal import bury, plain, remove_point

PREFIX = ".merging-"
PLAN = "plan.toml"
_NEW, _OLD = "new", "old"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`point` and `merged` (those that go, newest first) are `<vm directory>/<time>`; `contents` are all file names
    that the new point may have. `vcenter` and `vm` name whose points they are."""

    job: str
    vcenter: str
    vm: str
    point: str
    merged: list[str]
    contents: list[str]


class Replacement:
    """One such change, from its plan to its end."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.plan = plan
        self.work = root / f"{PREFIX}{plan.job}"
        self.new = self.work / _NEW
        self._old = self.work / _OLD
        self._root = root
        self.point = self._place(plan.point)
        self.merged = [self._place(name) for name in plan.merged]

    def begin(self) -> Path:
        """The directory for the new point, empty. Raises TargetError."""
        with _refusals(self.work):
            self.work.mkdir(mode=0o700)
            content = tomli_w.dumps(msgspec.to_builtins(self.plan)).encode()
            with (self.work / PLAN).open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            self.new.mkdir(mode=0o700)
            fsync_directory(self.work)
            fsync_directory(self._root)
        return self.new

    def swap(self) -> None:
        """The new point, finished and proven, takes the place. It is durable when the call returns."""
        with _refusals(self.point):
            fsync_directory(self.new)
            if not _exchange(self.new, self.point):
                self.point.rename(self._old)
                fsync_directory(self.work)
                self.new.rename(self.point)
            fsync_directory(self.work)
            fsync_directory(self.point.parent)

    def settle(self, forget: Callable[[Sequence[Path]], None]) -> bool:
        """Completes what was swapped, undoes what was not; True when completed. May be cut off and called again.
        `forget` is told, before the plan goes, which points are not what they were.
        Raises PolicyError when something lies there that isn't ours, TargetError."""
        with _refusals(self.work):
            if self._old.exists() and not self.point.exists():
                self.new.rename(self.point)  # between the two renames: the new point was proven before them
                fsync_directory(self.point.parent)
            swapped = self.point.exists() and _remade(self.point) == self.plan.job
            if swapped:
                for point in self.merged:
                    if point.exists():
                        remove_point(self._root, point)
                for place in (self.new, self._old):
                    if place.exists():
                        bury(self._root, place)
            else:
                self._discard_new()
            forget([self.point, *self.merged])
            (self.work / PLAN).unlink(missing_ok=True)
            self.work.rmdir()
            fsync_directory(self._root)
        return swapped

    def _discard_new(self) -> None:
        if not self.new.exists():
            return
        ours = {*self.plan.contents, manifests.FILE_NAME, proof.FILE_NAME, proof.NEW_NAME}
        present = list(self.new.iterdir())
        if strangers := sorted(path.name for path in present if path.name not in ours or not path.is_file()):
            raise PolicyError(
                f"{self.new} holds what vcb-console did not write: {', '.join(strangers)}. Nothing was deleted.",
                hint="Move those away, then try again.",
            )
        for path in present:
            path.unlink()
        self.new.rmdir()

    def _place(self, name: str) -> Path:
        vm, slash, time = name.partition("/")
        if not (slash and plain(vm) and plain(time)):
            raise PolicyError(f"{self.work / PLAN} names {name!r}, which is no restore point. Nothing was changed.")
        return self._root / "points" / vm / time


def unfinished(root: Path) -> Iterator[Replacement]:
    """The changes that were cut off, or are under way in another process. One without a plan is removed when nothing
    else is in it. Raises PolicyError for a plan that can't be read."""
    for work in directories(root):
        try:
            yield read(work)
        except PolicyError:
            if not never_began(work):
                raise
            remove_empty(work)


def directories(root: Path) -> list[Path]:
    """Where changes are at work, or were cut off."""
    return [path for path in sorted(root.glob(f"{PREFIX}*")) if path.is_dir() and not path.is_symlink()]


def read(work: Path) -> Replacement:
    """The change in one of those directories. Raises PolicyError when its plan can't be read, or is another's."""
    try:
        plan = msgspec.convert(tomllib.loads((work / PLAN).read_text()), Plan)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(
            f"{work} has no {PLAN} that can be read: nothing tells what it was to be. Nothing was changed.",
            fault=type(error).__name__,
            hint="Look at the directory and remove it by hand.",
        ) from None
    if plan.job != work.name.removeprefix(PREFIX):
        raise PolicyError(f"{work / PLAN} is the plan of another job, {plan.job}. Nothing was changed.")
    return Replacement(work.parent, plan)


def never_began(work: Path) -> bool:
    """Whether its plan can't be read because it was never written whole: then nothing else is in it."""
    try:
        read(work)
    except PolicyError:
        return all(path.name == PLAN for path in work.iterdir()) and _half_written(work / PLAN)
    return False


def remove_empty(work: Path) -> None:
    """One that never began."""
    (work / PLAN).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        work.rmdir()


def _half_written(plan: Path) -> bool:
    """A plan that is whole, but another job's, was not written here."""
    try:
        msgspec.convert(tomllib.loads(plan.read_text()), Plan)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError):
        return True
    return False


def _remade(point: Path) -> str:
    try:
        return manifests.read(point).remade
    except ImageError as error:
        raise PolicyError(f"{error.sentence} Nothing tells whether it was replaced; nothing was changed.") from None


def _exchange(one: Path, other: Path) -> bool:
    """False where the file system, or the C library, has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(
            f"{error.filename or path} can't be changed: {error.strerror}.", fault=type(error).__name__
        ) from None

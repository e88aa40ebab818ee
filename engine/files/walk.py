"""A tree of a guest's files from top to bottom, under names that lead nowhere else, whatever is on the disk."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from engine.errors import ImageError
from engine.files.entry import Entry, FileSystem, Kind

DEEPEST = 256
"""Directories in one another; more is a circle or damage."""
_LONGEST = 255
"""Bytes of a name on Linux's file systems; NTFS's may have thrice as many."""
_KEPT = 1000


class Step(Enum):
    ENTER = "enter"
    LEAVE = "leave"
    ENTRY = "entry"


@dataclass(slots=True)
class Remarks:
    """Paths with what is to be said of them: the first thousand, and how many there are."""

    told: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, text: str) -> None:
        self.count += 1
        if len(self.told) < _KEPT:
            self.told.append((path, text))


class Names:
    """The names given out in one directory: each one a single component, and once only."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, wanted: str) -> str:
        """`wanted`, or one like it. Control characters stay: they are part of many a true name."""
        name = fitting(wanted.replace("/", "_").replace("\0", "_"), "")
        if name in ("", ".", ".."):
            name = f"_{name}"
        number, free = 1, name
        while free in self._given:
            number += 1
            free = fitting(name, f"~{number}")
        self._given.add(free)
        return free


def fitting(name: str, tail: str) -> str:
    """The name with this tail, cut to what a file system takes."""
    room = _LONGEST - len(tail.encode())
    raw = name.encode("utf-8", "replace")
    return (name if len(raw) <= room else raw[:room].decode("utf-8", "ignore")) + tail


@dataclass(slots=True)
class _Level:
    path: tuple[str, ...]
    entry: Entry
    children: Iterator[Entry]
    names: Names


class Walk:
    """Goes through `start` and all below it. `troubles` gets what does not come out; nothing but the operator's
    stop ends the walk early. Each directory is entered once: a file system that runs in a circle has an end here.
    """

    def __init__(self, system: FileSystem, start: Entry, troubles: Remarks) -> None:
        self._system, self._start, self._troubles = system, start, troubles
        self._levels: list[_Level] = []
        self._seen: set[int] = set()

    def skip(self) -> None:
        """The directory just entered is not gone through, and not left either."""
        self._levels.pop()

    def __iter__(self) -> Iterator[tuple[Step, tuple[str, ...], Entry]]:
        """Each entry with its path below the start, which is () for the start itself and else made of safe names."""
        yield from self._visit((), self._start)
        while self._levels:
            level = self._levels[-1]
            child = self._next(level)
            if child is None:
                self._levels.pop()
                yield Step.LEAVE, level.path, level.entry
                continue
            name = level.names.give(child.name)
            path = (*level.path, name)
            if name != child.name:
                self._troubles.add(
                    "/".join(path), f"the guest's name of it is {child.name!r}, which can't be taken over"
                )
            yield from self._visit(path, child)

    def _next(self, level: _Level) -> Entry | None:
        try:
            return next(level.children, None)
        except ImageError as error:
            self._troubles.add("/".join(level.path), f"{error.sentence} [{error.fault}]")
            return None

    def _visit(self, path: tuple[str, ...], entry: Entry) -> Iterator[tuple[Step, tuple[str, ...], Entry]]:
        shown = "/".join(path) or entry.name
        if entry.remark:
            self._troubles.add(shown, entry.remark)
        if entry.unreadable:
            self._troubles.add(shown, entry.unreadable)
        elif entry.kind is not Kind.DIRECTORY:
            yield Step.ENTRY, path, entry
        elif entry.identity in self._seen or len(self._levels) >= DEEPEST:
            self._troubles.add(shown, "the directory is in another place too, or too deep: the file system is damaged")
        else:
            self._seen.add(entry.identity)
            self._levels.append(_Level(path, entry, self._system.children(entry), Names()))
            yield Step.ENTER, path, entry

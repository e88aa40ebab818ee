"""Saves that go wrong at each of their system calls in turn; run as a program: `python -m tests.config.failing_saves
DIRECTORY SCENARIO MODE`, with one JSON line a run.

The calls are not picked by hand. Every built-in function of `os` and `fcntl` is wrapped, a good save is recorded, and
then the n-th call fails, for every n of the record. An audit hook sees to it that no file is touched past the wrappers.
Each run is a fork: it is killed, or tells how it ended; the parent, with nothing wrapped, looks at what is left.
"""

import errno
import fcntl
import json
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import engine.config.configjs_document  # noqa: F401 - else it is imported by the first save, which must only save
from engine.config.history import History
from engine.config.saving import read, save, undo
from engine.config.whole_file import ACCESS_LIST
from engine.errors import VcbError
from engine.state_directory import StateDirectory

OLD = b'HOST="old.example.org";\n' + b"// line\n" * 20
NEW = OLD.replace(b"old", b"new")
OLDEST = OLD.replace(b"old", b"oldest")
NEXT = OLD.replace(b"old", b"next")
SCENARIOS = ("replace", "create", "undo")
MODES = ("ENOSPC", "EIO", "EIO for good", "kill")
_NO_SYSTEM_CALL = ("fspath", "strerror", "_exit", "kill", "getpid", "fork", "waitpid", "register_at_fork")
_TOUCHING = ("open", "os.", "fcntl.", "shutil.", "mmap.")
_ACCESS = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHi", *entry) for entry in [(1, 6, -1), (2, 4, 4321), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
)


class Seam:
    """Wraps the functions and counts their calls from `start` on; the call number `at` goes wrong by `mode`."""

    def __init__(self, at: int = 0, mode: str = "") -> None:
        self.at, self.mode = at, mode
        self.calls: list[str] = []
        self.unseen: list[str] = []
        self.depth = 0

    def start(self) -> None:
        for module in (os, fcntl):
            for name, function in list(vars(module).items()):
                if isinstance(function, BuiltinFunctionType) and name not in _NO_SYSTEM_CALL:
                    setattr(module, name, self.wrapped(name, function))
        sys.addaudithook(self.heard)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.depth == 0 and event.startswith(_TOUCHING):
            self.unseen.append(f"{event} {arguments}")

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.depth:
                return function(*args, **kwargs)
            self.depth += 1
            try:
                if self.at and (len(self.calls) == self.at or (len(self.calls) > self.at and "good" in self.mode)):
                    self.go_wrong(name, function, args)
                return function(*args, **kwargs)
            finally:
                self.depth -= 1

        return call

    def go_wrong(self, name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if name == "write":
            function(args[0], bytes(args[1])[: len(args[1]) // 2])  # some of it got through, the worst case
        if name == "close":
            function(*args)  # as Linux does: the descriptor is gone whatever close says
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = errno.ENOSPC if self.mode == "ENOSPC" else errno.EIO
        raise OSError(number, os.strerror(number))


class Case:
    """One scenario in a fresh directory. `before` is what the file is at first, `after` what a good save makes it."""

    def __init__(self, root: Path, scenario: str) -> None:
        self.file = root / "etc" / "config.js"
        self.state = StateDirectory(root / "state")
        self.scenario = scenario
        self.file.parent.mkdir(parents=True)
        self.before: bytes | None = None
        self.after = NEW
        if scenario != "create":
            self.file.write_bytes(OLDEST)
            save(self.file, OLD, base=read(self.file)[1], state=self.state)
            self.dress()
            self.before = OLD
        if scenario == "undo":
            self.after = OLDEST
        self.identity = self.look()

    def dress(self) -> None:
        self.file.chmod(0o640)
        for name, value in ((ACCESS_LIST, _ACCESS), ("user.comment", b"2008")):
            try:
                os.setxattr(self.file, name, value)
            except OSError:
                continue  # not on this file system: then there is none to keep
        if os.geteuid() == 0:
            os.chown(self.file, 1234, 2345)

    def look(self) -> list[Any]:
        """All of the file but its content."""
        if not self.file.exists():
            return [0o600, os.geteuid(), os.getegid(), {}]
        status = self.file.stat()
        attributes = {name: os.getxattr(self.file, name).hex() for name in os.listxattr(self.file)}
        return [stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, attributes]

    def act(self) -> tuple[str, ...]:
        if self.scenario == "undo":
            return undo(self.file, state=self.state).notes
        return save(self.file, NEW, base=read(self.file)[1], state=self.state).notes

    def content(self) -> bytes | None:
        return self.file.read_bytes() if self.file.exists() else None


def run(case: Case, seam: Seam) -> dict[str, Any]:
    """Saves in a fork; how it ended: {ended: saved|told|killed|crashed, notes|error, calls, unseen}."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_in_child(case, seam, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"ended": "killed"}
    return json.loads(told)


def _in_child(case: Case, seam: Seam, writer: int) -> int:
    write = os.write
    told: dict[str, Any]
    seam.start()
    try:
        told = {"ended": "saved", "notes": case.act()}
    except VcbError as error:
        told = {"ended": "told", "error": f"{type(error).__name__}: {error}"}
    except BaseException as error:  # a traceback that an operator would see
        told = {"ended": "crashed", "error": repr(error)}
    told |= {"calls": seam.calls, "unseen": seam.unseen}
    write(writer, json.dumps(told).encode())
    return 0


def problems(case: Case, ended: dict[str, Any]) -> list[str]:
    """What is not as it must be after a run, however it ended."""
    content = case.content()
    found: list[str] = []
    if content not in (case.before, case.after):
        found.append(f"torn: {content!r:.80}")
    if case.look() != case.identity:
        found.append(f"mode, owner or attributes changed: {case.look()}")
    if ended["ended"] == "crashed":
        found.append(f"raised {ended['error']}")
    if ended["ended"] == "saved" and content != case.after:
        found.append("says that it saved, and did not")
    if ended["ended"] == "told" and (content == case.after) != ("is in place" in ended["error"]):
        found.append(f"says the contrary of what happened: {ended['error']}")
    return found + _problems_of_the_next(case, content, bool(ended.get("notes")))


def _problems_of_the_next(case: Case, content: bytes | None, told: bool) -> list[str]:
    """The next day: what is there can be undone, saved over, undone again; and nothing lies about."""
    found: list[str] = []
    steps = History(case.file, case.state)
    if content is not None and not told and content != OLDEST and case.before is not None:
        undo(case.file, state=case.state)
        expected = OLD if content == NEW else OLDEST
        if case.content() != expected:
            found.append(f"undo gave {case.content()!r:.40}")
    again = case.content()
    save(case.file, NEXT, base=read(case.file)[1], state=case.state)
    if again is not None:
        undo(case.file, state=case.state)
        if case.content() != again:
            found.append("the next save cannot be undone")
    for directory, names in ((case.file.parent, [case.file]), (steps.file.parent, [steps.file])):
        if sorted(directory.iterdir()) != names:
            found.append(f"left behind: {sorted(directory.iterdir())}")
    return found


def main(directory: Path, scenario: str, mode: str) -> None:
    os.fsync = os.fstat  # takes a descriptor as well: the page cache outlives a killed process, and syncing is slow
    good = run(case := Case(directory / "good", scenario), Seam())
    calls = good["calls"]
    print(json.dumps({"at": 0, **good, "problems": problems(case, good) + good["unseen"]}))
    for at, name in enumerate(calls, 1):
        case = Case(directory / str(at), scenario)
        ended = run(case, Seam(at, mode))
        line = {"at": at, "call": name, "ended": ended["ended"], "content": "new", "error": ended.get("error", "")}
        if case.content() == case.before:
            line["content"] = "old"
        print(json.dumps(line | {"notes": ended.get("notes", ()), "problems": problems(case, ended)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])

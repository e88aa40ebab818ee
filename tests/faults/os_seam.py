"""Between the engine and the operating system: every function of `os` and every file opened, as far as they touch one
of the watched directories. They are counted, or go wrong. The lab shares the process; its own files are not watched."""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import BuiltinFunctionType, TracebackType
from typing import Any

_NO_CALLS = frozenset({"fspath", "fsencode", "fsdecode", "strerror", "_exit", "kill", "getpid", "fork", "waitpid",
                       "register_at_fork", "get_terminal_size", "urandom", "sched_yield", "get_inheritable",
                       "set_inheritable", "dup", "isatty", "lseek"})  # fmt: skip
MUTATING = frozenset({"mkdir", "rename", "replace", "unlink", "remove", "rmdir", "link", "symlink", "write", "pwrite",
                      "writev", "pwritev", "ftruncate", "truncate", "posix_fallocate", "fsync", "fdatasync", "chmod",
                      "fchmod", "utime", "open to write", "write of a stream"})  # fmt: skip

GROWING = MUTATING - {"unlink", "remove", "rmdir", "truncate", "chmod", "fchmod", "utime"}
"""What needs space: a full file system still lets go of what it has."""

Called = Callable[[str, str, int, Any], int | None]
"""(which directory, function, how often it was called there, its first argument) -> the errno with which it fails, or
None. What it calls itself is not watched."""


class Seam:
    """A context. `called` is asked before each call; of a write that fails, half gets through, the worst case."""

    def __init__(self, watched: Mapping[str, Path], called: Called) -> None:
        self._watched = {name: str(path.resolve()) for name, path in watched.items()}
        self._called = called
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._real: list[tuple[Any, str, Any]] = []
        self._readlink = os.readlink

    def __enter__(self) -> "Seam":
        for name, function in list(vars(os).items()):
            if isinstance(function, BuiltinFunctionType) and name not in _NO_CALLS:
                self._put(os, name, self._wrapped(name, function))
        opened = self._opened(io.open)
        self._put(io, "open", opened)
        self._put(builtins, "open", opened)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module, name, real in reversed(self._real):
            setattr(module, name, real)

    def _put(self, module: Any, name: str, function: Any) -> None:
        self._real.append((module, name, getattr(module, name)))
        setattr(module, name, function)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) == 0 or getattr(self._inside, "at_work", False):
                return function(*args, **kwargs)
            shown = name
            if name == "open" and len(args) > 1 and args[1] & (os.O_WRONLY | os.O_RDWR):
                shown = "open to write"
            return self._guarded(shown, args[0], kwargs, lambda: function(*args, **kwargs), (function, args))

        return call

    def _opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "at_work", False):
                return function(file, mode, *args, **kwargs)
            writes = any(letter in mode for letter in "wxa+")
            shown = "open to write" if writes else "open"
            stream = self._guarded(shown, file, {}, lambda: function(file, mode, *args, **kwargs), None)
            return _Stream(stream, self) if writes and self._where(file, {}) else stream

        return call

    def _guarded(self, name: str, target: Any, kwargs: dict[str, Any], call: Callable[[], Any], half: Any) -> Any:
        where = self._where(target, kwargs)
        if not where:
            return call()
        code = self._ask(where, name, target)
        if code is None:
            self._inside.at_work = name not in ("open", "open to write")
            try:
                return call()
            finally:
                self._inside.at_work = False
        if half is not None:
            function, args = half
            if name in ("write", "pwrite"):
                function(args[0], bytes(args[1])[: len(args[1]) // 2], *args[2:])
            if name == "close":
                function(*args)  # as Linux does: the descriptor is gone whatever close says
        raise OSError(code, os.strerror(code))

    def _ask(self, where: str, name: str, target: Any) -> int | None:
        with self._lock:
            number = self._counts[where, name] = self._counts.get((where, name), 0) + 1
        self._inside.at_work = True
        try:
            return self._called(where, name, number, target)
        finally:
            self._inside.at_work = False

    def _where(self, target: Any, kwargs: dict[str, Any]) -> str:
        """The name of the watched directory in which the target lies, else ""."""
        try:
            if isinstance(target, int):
                path = self._readlink(f"/proc/self/fd/{target}")
            else:
                path = os.fsdecode(target)
                if not path.startswith("/"):
                    directory = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
                    if directory is None:
                        return ""
                    path = self._readlink(f"/proc/self/fd/{directory}") + "/" + path
        except (OSError, TypeError, ValueError):
            return ""
        return next((n for n, root in self._watched.items() if path == root or path.startswith(root + "/")), "")


class _Stream:
    """A file open for writing: what it writes goes past `os`."""

    def __init__(self, stream: Any, seam: Seam) -> None:
        self._stream, self._seam = stream, seam

    def write(self, data: Any) -> int:
        return self._seam._guarded(
            "write of a stream", self._stream.fileno(), {}, lambda: self._stream.write(data), None
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Any:
        return iter(self._stream)


ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE")}
FAILING = {"ENOSPC": GROWING, "EDQUOT": GROWING, "EROFS": MUTATING}
"""Which functions can fail so; the other errors strike any."""

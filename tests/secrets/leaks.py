"""Finding a password: in which forms it may be written, and where a command and its children may have left it."""

import base64
import html
import json
import mmap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape


def forms(marker: str) -> dict[str, bytes]:
    """Everything that counts as the marker, made here and not by what is tested."""
    data, wide = marker.encode(), marker.encode("utf-16-le")
    found = {
        "plain": data,
        "plain, cp1252": marker.encode("cp1252"),
        "UTF-16 LE": wide,
        "UTF-16 BE": marker.encode("utf-16-be"),
        "XML": escape(marker).encode(),
        "XML attribute": html.escape(marker).encode(),
        "JSON": json.dumps(marker)[1:-1].encode(),
        "repr": repr(marker)[1:-1].encode(),
        "repr of bytes": repr(data)[2:-1].encode(),
        "percent": quote(data, safe="").encode(),
        "percent in lower case": _lower_percent(quote(data, safe="")).encode(),
        "percent in a path": quote(data).encode(),
        "form field": quote_plus(data).encode(),
        "hex": data.hex().encode(),
        "base64, URL": base64.urlsafe_b64encode(data).rstrip(b"="),
    }
    for name, raw in (("base64", data), ("base64 of UTF-16", wide)):
        for before in range(3):  # in the middle of something longer (user:password) it starts at another bit
            whole = base64.b64encode(b"\0" * before + raw)
            found[f"{name}, after {before} bytes"] = whole[(8 * before + 5) // 6 : len(whole) - 4]
    return found


def _lower_percent(text: str) -> str:
    head, *escapes = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in escapes)


def leaks(data: bytes, marker: str) -> list[str]:
    """Names of the forms in which the marker stands in the data."""
    return [name for name, form in forms(marker).items() if form in data]


def leaking_files(directory: Path, marker: str) -> Iterator[tuple[Path, list[str]]]:
    """Files below a directory that hold the marker, in their contents or their names."""
    for file in (directory, *directory.rglob("*")):
        found = leaks(str(file).encode(), marker)
        if file.is_file() and not file.is_symlink() and file.stat().st_size:
            with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found += [name for name, form in forms(marker).items() if data.find(form) >= 0]
        if found:
            yield file, found


@dataclass
class Watch:
    """What /proc showed of a process and its descendants while they ran: `told` holds (what, program, forms).

    Only the environment of the first process may hold the marker, if it was put there (`in_environment`).
    """

    pid: int
    marker: str
    in_environment: bool = False
    told: set[tuple[str, str, str]] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = b""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_until_ended, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look_until_ended(self) -> None:
        while not self._ended.wait(0.01):
            for pid in family(self.pid):
                self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        environ, command = (
            read_proc(pid, "environ"),
            read_proc(pid, "cmdline"),
        )  # in this order: exec changes both at once
        program = command.replace(b"\0", b" ").decode(errors="replace")
        self.programs.add(program)
        for form in leaks(command, self.marker):
            self.told.add(("cmdline", program, form))
        if pid == self.pid and command:
            self._own = command
        if self.in_environment and (pid == self.pid or command in (b"", self._own)):
            return  # the process itself, or a child of its between fork and exec
        for form in leaks(environ, self.marker):
            self.told.add(("environ", program, form))


def family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    for child in read_proc(pid, f"task/{pid}/children").split():
        yield from family(int(child))


def read_proc(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty when the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)

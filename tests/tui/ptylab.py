"""A terminal in a test: a program on a pty of its own, its output timed and counted, its line as slow as wanted.

The lab answers what terminals answer (cursor position, device attributes, mode 2026), when the question comes out of
the line: a throttled line makes late answers. Times are of `time.perf_counter`, in seconds.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_ANSWERS = re.compile(rb"\x1b\[(6n|c|>c|\?2026\$p)")
_TICK = 0.002
_CLOCK = os.sysconf("SC_CLK_TCK")
_DROPPED = ("TMUX", "TMUX_PANE", "NO_COLOR", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "COLUMNS", "LINES")


class PtyLab:
    """`bits` is the speed of the line in bit/s (None: as fast as it goes). `answers` False: a terminal that answers
    nothing. Setting `stalled` stops the line; clearing it lets it run again."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        size: tuple[int, int] = (80, 24),
        environ: Mapping[str, str] | None = None,
        bits: float | None = None,
        answers: bool = True,
    ) -> None:
        self.output = bytearray()
        self.stalled = False
        self._bits = bits
        self._answers = answers
        self._size = size
        self._arrivals: list[tuple[float, int]] = []
        self._changed = threading.Condition()
        self._stop = False
        self._status: int | None = None
        self.began = time.perf_counter()
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            self._become(command, environ or {})
        self.resize(*size)
        self._reader = threading.Thread(target=self._read, daemon=True, name="ptylab")
        self._reader.start()

    def __enter__(self) -> "PtyLab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _become(self, command: Sequence[str | Path], environ: Mapping[str, str]) -> None:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", self._size[1], self._size[0], 0, 0))
        whole = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        whole |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        try:
            os.execvpe(str(command[0]), [str(part) for part in command], whole)
        finally:
            os._exit(127)

    # -- the line

    def _read(self) -> None:
        budget, last, burst = 0.0, time.perf_counter(), (self._bits or 0) / 8 * 0.02
        while not self._stop:
            now = time.perf_counter()
            if self._bits:
                budget, last = min(max(burst, 64), budget + (now - last) * self._bits / 8), now
            if self.stalled or (self._bits and budget < 16):
                time.sleep(_TICK)
                continue
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, int(budget) if self._bits else 65536)
            except OSError:
                data = b""
            if not data:
                break
            budget -= len(data)
            self._arrive(data)
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def _arrive(self, data: bytes) -> None:
        with self._changed:
            before = len(self.output)
            self.output += data
            self._arrivals.append((time.perf_counter(), len(self.output)))
            self._changed.notify_all()
        if not self._answers:
            return
        for question in _ANSWERS.finditer(self.output, max(0, before - 8)):
            if question.end() > before:
                self.send(
                    {
                        b"6n": b"\x1b[1;1R",
                        b"c": b"\x1b[?62;22c",
                        b">c": b"\x1b[>1;4402;0c",
                        b"?2026$p": b"\x1b[?2026;2$y",
                    }[question[1]]
                )

    # -- what a test does

    @property
    def alive(self) -> bool:
        return not self._stop

    def send(self, data: bytes) -> int:
        """Types; returns the position in the output from which an answer can be looked for."""
        position = len(self.output)
        os.write(self._master, data)
        return position

    def wait_for(self, pattern: bytes, position: int = 0, seconds: float = 30.0) -> float | None:
        """When the first match at or after `position` had arrived whole; None: it didn't in time, or the program has
        ended."""
        expression, end = re.compile(pattern), time.perf_counter() + seconds
        with self._changed:
            while True:
                if match := expression.search(self.output, position):
                    return next(at for at, length in self._arrivals if length >= match.end())
                if self._stop or time.perf_counter() > end:
                    return None
                self._changed.wait(0.05)

    def settle(self, quiet: float = 0.5, seconds: float = 30.0) -> float:
        """Waits until nothing has come for `quiet` seconds; returns when the last byte came."""
        end = time.perf_counter() + seconds
        with self._changed:
            while time.perf_counter() < end and not self._stop:
                last = self._arrivals[-1][0] if self._arrivals else None
                rest = quiet if last is None else last + quiet - time.perf_counter()
                if rest <= 0:
                    break
                self._changed.wait(rest)
        return self._arrivals[-1][0] if self._arrivals else self.began

    def cost(self, keys: bytes, quiet: float = 0.5) -> int:
        """Bytes that come until the answer to these keys is complete."""
        position = self.send(keys)
        self.wait_for(rb"(?s).", position, 5)
        self.settle(quiet)
        return len(self.output) - position

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def cooked(self) -> bool:
        """Whether the terminal echoes and edits lines, as a shell wants it."""
        modes = termios.tcgetattr(self._master)[3]
        return bool(modes & termios.ECHO and modes & termios.ICANON)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """The line is cut: the kernel sends SIGHUP to the program's session."""
        self._stop = True
        self._reader.join(3)
        os.close(self._master)
        self._master = -1

    def wait_end(self, seconds: float = 10.0) -> int | None:
        """The program's exit code (negative: the signal that killed it); None while it runs."""
        end = time.perf_counter() + seconds
        while self._status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.perf_counter() > end:
                return None
            else:
                time.sleep(_TICK)
        return self._status

    def cpu(self) -> float:
        """User and system seconds of the program so far, without its children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK

    def memory(self) -> int:
        """Resident bytes of the program."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def close(self) -> None:
        """Ends the program, the reader first: its descriptor's number may be the next lab's."""
        if self.wait_end(0) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait_end()
        self._stop = True
        self._reader.join(3)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

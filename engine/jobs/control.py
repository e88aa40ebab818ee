"""A word to a running job: one line of JSON over `control.sock`, answered by one.

    {"do": "ping"}                     {"ok": true, "state": "running", "loglevel": 3, "pid": 4711}
    {"do": "cancel"}                   {"ok": true, ...}: from now on the job undoes what it did
    {"do": "loglevel", "level": 6}     {"ok": true, ...}: what is recorded from now on

What isn't understood is answered with {"ok": false, "error": "..."}. Only the job's own user and root are listened to.
"""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.errors import ConnectError

FILE_NAME = "control.sock"
_LONGEST = 4096
_PATIENCE = 5.0

Commands = dict[str, Callable[[dict[str, Any]], dict[str, Any]]]
"""What each word of `do` does with the request; a ValueError is the caller's mistake."""


class ControlServer:
    """Answers until it is closed; each caller in a thread of its own, so that a silent one keeps nobody waiting."""

    def __init__(self, directory: Path, commands: Commands) -> None:
        self._directory, self._commands = directory, commands
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(directory) as path:
            self._socket.bind(path)
        (directory / FILE_NAME).chmod(0o600)
        self._socket.listen(16)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._socket.close()
        (self._directory / FILE_NAME).unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), name="control-caller", daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            caller.settimeout(_PATIENCE)
            if _uid_of(caller) in (0, os.geteuid()):
                caller.sendall(json.dumps(self._answer(_line(caller))).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands[request["do"]]
        except (ValueError, KeyError, TypeError):
            return {"ok": False, "error": f"not understood; what can be done: {', '.join(self._commands)}"}
        try:
            return {"ok": True, **command(request)}
        except ValueError as error:
            return {"ok": False, "error": str(error)}


def ask(directory: Path, **request: Any) -> dict[str, Any]:
    """Sends one request to the job in this directory and returns its answer. Raises ConnectError when nobody answers,
    or when the answer is no."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(_PATIENCE)
        try:
            with _short(directory) as path:
                control.connect(path)
            control.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(control))
        except (OSError, ValueError) as error:
            raise ConnectError(f"The worker of job {directory.name} does not answer: {error}") from error
    if not answer.get("ok"):
        raise ConnectError(f"The worker of job {directory.name} refuses: {answer.get('error')}", transient=False)
    return answer


def _line(connection: socket.socket) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < _LONGEST and (more := connection.recv(_LONGEST)):
        data += more
    return data.partition(b"\n")[0]


def _uid_of(caller: socket.socket) -> int:
    """SO_PEERCRED, unix(7): pid, uid, gid of whoever connected."""
    credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1]


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """The socket's path by way of a descriptor: the real one may be longer than the 108 bytes that unix(7) allows."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{FILE_NAME}"
    finally:
        os.close(descriptor)

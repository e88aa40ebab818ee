"""HTTP bodies in and out, with the trouble that fault rules ask for (point "http", phase "data")."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyVmomi import vmodl

from engine.lab.faults import Rule

PIECE = 1 << 20


class Cut(Exception):
    """The connection ends here, without another byte."""


class Refused(Exception):
    """The transfer does not begin: an HTTP status and a line of text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def trouble(lab: Any, path: str, *objects: Any) -> Rule | None:
    """The rule that acts on a transfer of `path`; raises Refused (500) for "fault" and Cut for "drop"."""
    try:
        rule = lab.faults.hit("http", "data", path, *objects)
    except vmodl.MethodFault as fault:
        raise Refused(500, str(getattr(fault, "msg", None) or type(fault).__name__)) from fault
    if rule is not None and rule.action == "drop":
        raise Cut
    return rule


def disturbed(chunks: Iterable[bytes], rule: Rule | None, pause: Callable[[float], object]) -> Iterator[bytes]:
    """The chunks as the rule lets them pass. Raises Cut where the rule cuts."""
    if rule is None or rule.action not in ("short", "slow", "corrupt", "drop-after"):
        yield from chunks
        return
    position = 0
    for chunk in chunks:
        inside = rule.size - position
        position += len(chunk)
        if rule.action == "slow":
            step = max(1, rule.size // 10)
            for at in range(0, len(chunk), step):
                yield chunk[at : at + step]
                pause(min(step, len(chunk) - at) / max(1, rule.size))
        elif rule.action == "corrupt" and 0 <= inside < len(chunk):
            yield chunk[:inside] + bytes([chunk[inside] ^ 1]) + chunk[inside + 1 :]
        elif rule.action == "short" and inside < len(chunk):
            yield chunk[:inside]
            raise Cut
        else:
            yield chunk
    if rule.action == "drop-after":
        raise Cut


def abort_socket(connection: socket.socket) -> None:
    """From any thread: what is blocked on this socket returns at once. (SSLSocket.shutdown is not thread-safe.)"""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # already gone


def send(request: Any, headers: dict[str, str], chunks: Iterable[bytes], *, status: int = 200) -> None:
    """Answer with a body of known length (a Content-Length is among the headers) or else in HTTP chunks."""
    chunked = "Content-Length" not in headers
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    if chunked:
        request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    if request.command == "HEAD":
        return
    out = request.wfile
    for chunk in chunks:
        if chunk and chunked:
            out.write(b"%x\r\n" % len(chunk))
            out.write(chunk)
            out.write(b"\r\n")
        elif chunk:
            out.write(chunk)
    if chunked:
        out.write(b"0\r\n\r\n")

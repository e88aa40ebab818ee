"""Exact sends and receives on one TCP connection, in the clear or inside TLS.

In the clear, a receive is one system call for a whole fragment: the socket stays in blocking mode, with the kernel's
own timeouts, so that MSG_WAITALL works (Python's timeouts would turn it into a poll and a short read each time).
"""

import socket
import ssl
import struct
from typing import Protocol

from engine.errors import ConnectionLost

_TIMEVAL = struct.Struct("@ll")


def lost(host: str, why: str, fault: str = "") -> ConnectionLost:
    return ConnectionLost(f"The NFC connection to {host} was lost: {why}.", fault=fault)


class Stream(Protocol):
    """Used by one thread at a time."""

    def send(self, data: bytes) -> None:
        """Sends all of it. Raises ConnectionLost."""
        ...

    def fill(self, view: memoryview) -> None:
        """Receives exactly `len(view)` bytes. Raises ConnectionLost."""
        ...

    def set_timeout(self, seconds: float) -> None:
        """From now on a call fails when nothing moves for `seconds`."""
        ...


class PlainStream:
    def __init__(self, sock: socket.socket, host: str, timeout: float) -> None:
        self._socket, self._host = sock, host
        sock.settimeout(None)
        self.set_timeout(timeout)

    def set_timeout(self, seconds: float) -> None:
        self._timeout = seconds
        interval = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def fill(self, view: memoryview) -> None:
        got, size = 0, len(view)
        while got < size:
            try:
                received = self._socket.recv_into(view[got:], 0, socket.MSG_WAITALL)
            except OSError as error:
                raise self._lost(error) from error
            if not received:
                raise lost(self._host, "the host closed it")
            got += received

    def _lost(self, error: OSError) -> ConnectionLost:
        if isinstance(error, BlockingIOError):
            return lost(self._host, f"no answer within {self._timeout:g} seconds", "Timeout")
        return lost(self._host, error.strerror or str(error), type(error).__name__)


class TlsStream:
    def __init__(self, sock: ssl.SSLSocket, host: str, timeout: float) -> None:
        self._socket, self._host = sock, host
        self.set_timeout(timeout)

    def set_timeout(self, seconds: float) -> None:
        self._timeout = seconds
        self._socket.settimeout(seconds)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def fill(self, view: memoryview) -> None:
        got, size = 0, len(view)
        while got < size:
            try:
                received = self._socket.recv_into(view[got:])
            except OSError as error:
                raise self._lost(error) from error
            if not received:
                raise lost(self._host, "the host closed it")
            got += received

    def _lost(self, error: OSError) -> ConnectionLost:
        if isinstance(error, TimeoutError):
            return lost(self._host, f"no answer within {self._timeout:g} seconds", "Timeout")
        return lost(self._host, error.strerror or str(error), type(error).__name__)

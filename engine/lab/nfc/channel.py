"""A TCP connection that changes its skin: clear, TLS, clear again, or a second TLS in place of the first.

TLS runs over memory BIOs, never over the socket itself. So leaving it needs no shutdown alert, a byte that the peer
sent too early is seen (`leftover`) instead of lost, and one thread may read while another writes: OpenSSL's object is
only touched under a lock, and blocking socket calls are made outside it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Protocol

PIECE = 256 * 1024  # plain bytes encrypted at a time: small enough to stay in cache, large enough to be cheap


class Closed(ConnectionError):
    """The peer is gone, or this side cut the connection."""


class Stream(Protocol):
    """What NFC runs on. One thread may receive while others send; each `send` goes out in one piece."""

    def receive_into(self, view: memoryview) -> None: ...

    def send(self, data: bytes | bytearray | memoryview) -> None: ...


class ClearStream:
    """NFC in the clear (`nbd`): straight to the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()

    def receive_into(self, view: memoryview) -> None:
        while view:
            got = self._socket.recv_into(view)
            if not got:
                raise Closed("the client closed the connection")
            view = view[got:]

    def send(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending:
            self._socket.sendall(data)


class TlsStream:
    """A TLS session on the TCP stream; the socket stays the caller's and is never shut down from here."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._using, self._sending = threading.Lock(), threading.Lock()
        self._handshake()

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fetch()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert that tells the client why
                raise
            else:
                self._flush()
                return

    def _fetch(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise Closed("the client closed the connection")
        with self._using:
            self._incoming.write(data)

    def _flush(self) -> None:
        with self._sending:
            with self._using:
                data = self._outgoing.read()
            if data:
                self._socket.sendall(data)

    def receive(self, limit: int) -> bytes:
        """Between 1 and `limit` plain bytes."""
        while True:
            try:
                with self._using:
                    data = self._tls.read(limit)
            except ssl.SSLWantReadError:
                self._fetch()
                continue
            if not data:
                raise Closed("the client ended TLS")
            return data

    def receive_into(self, view: memoryview) -> None:
        while view:
            data = self.receive(len(view))
            view[: len(data)] = data
            view = view[len(data) :]
        with self._using:
            answer = self._outgoing.pending  # to a key update; outside the lock it could be a sender's message
        if answer:
            self._flush()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        plain = memoryview(data)
        with self._sending:
            for at in range(0, len(plain), PIECE):
                with self._using:
                    self._tls.write(plain[at : at + PIECE])
                    secret = self._outgoing.read()
                self._socket.sendall(secret)

    @property
    def leftover(self) -> int:
        """Bytes on the TCP stream that already arrived behind the last TLS record that was read."""
        return self._incoming.pending

"""TCP connections that another thread can cut at any moment, even while they are being made."""

import socket
import threading

from engine.errors import ConnectError, ConnectionLost


class SocketGuard:
    """The socket that a connection uses now; `cut` ends whatever another thread is doing on it, at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def attach(self, sock: socket.socket) -> None:
        """The connection goes on with `sock`. Raises ConnectionLost, and closes it, if `cut` came first."""
        with self._lock:
            self._socket = sock
            if not self._cut:
                return
            sock.close()
        raise ConnectionLost("The connection was cut.", fault="Cut", transient=False)

    def cut(self) -> None:
        """From any thread, more than once. The base class's shutdown: an SSLSocket's own would drop its TLS state, and
        a thread that still reads would take encrypted bytes for data."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                try:
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    return  # not connected yet, or closed already

    def close(self) -> None:
        with self._lock:
            self._cut = True
            if self._socket is not None:
                self._socket.close()


def connect_tcp(host: str, port: int, *, timeout: float, guard: SocketGuard, hint: str) -> socket.socket:
    """A connected socket, attached to `guard`, with `timeout` seconds for each operation. Raises ConnectError."""
    failure: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        addresses, failure = [], error
    for family, kind, protocol, _name, address in addresses:
        sock = socket.socket(family, kind, protocol)
        guard.attach(sock)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            failure = error
            sock.close()
        else:
            return sock
    raise ConnectError(f"The host {host} cannot be reached on port {port}.", fault=str(failure), hint=hint) from failure

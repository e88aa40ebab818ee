"""Somebody between the proxy and its servers, who writes down what it gets."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.vsphere.conftest import Issued


class Impostor:
    """Sends `banner` in the clear, then does the server's side of TLS with its own certificate. `plain` is what came
    before TLS and was no TLS; `received` what came inside it: to be compared with nothing."""

    def __init__(self, issued: Issued, directory: Path, banner: bytes = b"", *, tls: bool = True) -> None:
        file = directory / f"{issued.sha256}.pem"
        key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file.write_text(issued.pem + key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(file)
        self._banner, self._tls = banner, tls
        self.plain = self.received = b""
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            sock.settimeout(10)
            with suppress(OSError), sock:
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.sendall(self._banner)
        if not self._tls:
            while data := sock.recv(4096):
                self.plain += data
            return
        with self._context.wrap_socket(sock, server_side=True) as secure:
            while data := secure.recv(4096):
                self.received += data

    def close(self) -> None:
        """When this returns, everything that was sent has been written down."""
        socket.socket.shutdown(self._listener, socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(15)


MakeImpostor = Callable[..., Impostor]


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[MakeImpostor]:
    made: list[Impostor] = []

    def make(issued: Issued, banner: bytes = b"", **options: bool) -> Impostor:
        made.append(Impostor(issued, tmp_path, banner, **options))
        return made[-1]

    yield make
    for each in made:
        with suppress(OSError):
            each.close()

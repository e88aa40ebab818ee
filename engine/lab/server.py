"""HTTPS on the loopback: SOAP at /sdk, and the doors to /folder, /nfc and /control."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from io import BufferedIOBase
from typing import Any

from engine.lab import control, files, leases, soap
from engine.lab.sessions import Session

LARGEST_CALL = 64 << 20  # bytes of one SOAP request
WORTH_PACKING = 1400  # bytes below which gzip only costs
IDLE = 900.0  # seconds until a silent connection is closed
XML = "text/xml; charset=utf-8"


class BodyStream:
    """A request's body as it comes, chunked or of a given length. Go clients send chunks, which http.server does not
    decode. `read(n)` gives up to n bytes, b"" at the end; ConnectionError when the client stops in the middle."""

    def __init__(self, source: BufferedIOBase, headers: Any) -> None:
        self._source = source
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self.length: int | None = None if self._chunked else int(headers.get("Content-Length") or 0)
        self._left = self.length or 0
        self._ended = not self._chunked and self._left == 0

    def read(self, size: int = 1 << 20) -> bytes:
        if self._ended:
            return b""
        if self._chunked and self._left == 0:
            self._left = int(self._source.readline(64).split(b";")[0] or b"0", 16)
            if self._left == 0:
                while self._source.readline(1024) not in (b"\r\n", b"\n", b""):
                    pass  # trailers
                self._ended = True
                return b""
        data = self._source.read(min(size, self._left))
        if not data:
            raise ConnectionError("the request ended in the middle of its body")
        self._left -= len(data)
        if self._left == 0:
            if self._chunked:
                self._source.readline(8)
            else:
                self._ended = True
        return data

    def read_all(self, limit: int) -> bytes:
        parts, total = [], 0
        while data := self.read():
            total += len(data)
            if total > limit:
                raise ValueError(f"request body larger than {limit} bytes")
            parts.append(data)
        return b"".join(parts)


class Request(http.server.BaseHTTPRequestHandler):
    """One connection's requests. `/folder`, `/nfc` and `/control` get this object."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "vcb-lab"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    connection: ssl.SSLSocket

    def setup(self) -> None:
        self.request.settimeout(IDLE)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)  # here, not in the accepting thread
        self.server.opened(self.request)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.closed(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the lab's stdout and stderr are its owner's."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    # -- what the doors use

    def session(self) -> Session | None:
        """The live session of the request's cookie; counts as use."""
        return self.server.lab.sessions.by_cookie(self._cookie())

    def _cookie(self) -> str:
        try:
            jar = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return ""
        return jar["vmware_soap_session"].value if "vmware_soap_session" in jar else ""

    def context(self) -> soap.Context:
        host = self.headers.get("Host") or f"{self.server.server_address[0]}:{self.server.server_port}"
        agent = self.headers.get("User-Agent", "")
        return soap.Context(self.server.lab, self.session(), host, self.client_address[0], agent, cookie=self._cookie())

    def body_stream(self) -> BodyStream:
        return BodyStream(self.rfile, self.headers)

    def reply(self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), ctype: str = XML) -> None:
        self.send_response(status)
        self.send_header("Content-Type", ctype)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, status: int, value: Any) -> None:
        self.reply(status, json.dumps(value).encode(), ctype="application/json")

    def cut(self) -> None:
        """Drops the connection without a word, as a broken network does."""
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):  # the client was faster
            self.connection.shutdown(socket.SHUT_RDWR)

    # -- HTTP

    def _route(self) -> None:
        path = self.path.partition("?")[0]
        for prefix, door in DOORS:
            if path == prefix or path.startswith(prefix + "/"):
                door(self)
                return
        self._sdk(path)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _route  # noqa: N815 - names that http.server looks for

    def _sdk(self, path: str) -> None:
        if path.rstrip("/").endswith("/vimServiceVersions.xml") and self.command in ("GET", "HEAD"):
            self.reply(200, self.server.lab.dialect.service_versions())
        elif path.rstrip("/") in ("/sdk", "/sdk/vimService") and self.command == "POST":
            self._call()
        else:
            self.close_connection = True  # an unread body may follow
            self.reply(404, headers=[("Connection", "close")])

    def _call(self) -> None:
        try:
            body = self.body_stream().read_all(LARGEST_CALL)
        except ValueError:
            self.close_connection = True  # too long, or not what its headers say
            self.reply(400, headers=[("Connection", "close")])
            return
        ctx = self.context()
        answer = soap.answer(ctx, body, self.headers.get("SOAPAction"))
        if answer.cut:
            self.cut()
            return
        headers = [("Set-Cookie", ctx.fresh_cookie)] if ctx.fresh_cookie else []
        packed = answer.body
        if len(packed) > WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", ""):
            packed = gzip.compress(packed, 1)
            headers.append(("Content-Encoding", "gzip"))
        self.reply(answer.status, packed, headers)


DOORS: tuple[tuple[str, Callable[[Any], None]], ...] = (
    ("/folder", files.handle),
    ("/nfc", leases.handle),
    ("/control", control.handle),
)


class Server(http.server.ThreadingHTTPServer):
    """A thread per connection; the TLS handshake happens in that thread. `stop` ends the connections, too."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, embedded: Any, port: int = 0, host: str = "127.0.0.1") -> None:
        """embedded: the Lab; `lab` is its model."""
        self.embedded = embedded
        self.lab = embedded.vsphere
        self.tls = self.lab.certificate.server_context()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__((host, port), Request)

    def opened(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """The TLS socket took the descriptor over from the accepted one, so closing it is up to us."""
        with self._open_lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that goes away is no defect
            super().handle_error(request, client_address)

    def start(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="lab", daemon=True).start()
        return self

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # closed already
                    connection.shutdown(socket.SHUT_RDWR)

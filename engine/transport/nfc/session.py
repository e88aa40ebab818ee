"""One NFC connection with one opened disk, used by several threads at once.

Only one thread at a time touches the socket: the *driver*. Who needs an answer and finds no driver becomes it: it
sends what all threads have queued, receives fragments straight into the buffers of whoever waits for them (replies
are matched by operation id), and stops driving when its own answer is complete. That needs no extra thread, keeps
several requests in flight, and keeps TLS sessions, which may not be read and written by two threads, in one hand.
"""

import threading
from collections import deque

from engine.errors import ConnectionLost, TransportError, VcbError
from engine.extents import Extent
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.transport.nfc import wire
from engine.transport.nfc.operations import Command, Piece, Transfer, WrittenPiece
from engine.transport.nfc.stream import Stream
from engine.transport.nfc.wire import Aio, Classic, Refusal
from engine.transport.tcp import SocketGuard

READ_PIECE = 1024 * 1024
"""Least length of one read request: small server buffers mean more fragments a request, not more requests."""

_GOODBYE_SECONDS = 1.0

_TRACED = 256
"""Bytes of a message in the log: its header and payload, and not the megabytes of a write."""


class BufferRefused(TransportError):
    """The server does not take this buffer size; the connection is not used further."""


def handshake(stream: Stream) -> int:
    """The classic handshake, up to where AIO messages begin. Returns the server's protocol version."""
    stream.send(wire.classic(Classic.HANDSHAKE, b"PlainText") + wire.classic(Classic.SESSION_PARAMS))
    _classic_reply(stream, Classic.SESSION_PARAMS_REPLY)
    stream.send(wire.classic(Classic.VERSION, wire.words(wire.PROTOCOL_VERSION)))
    version = wire.classic_version(_classic_reply(stream, Classic.VERSION))
    stream.send(
        wire.classic(Classic.CONNECTION_DATA, wire.words(len(wire.CLIENT_NAME), len(wire.OPERATION_ID)))
        + wire.CLIENT_NAME
        + wire.OPERATION_ID
        + wire.classic(Classic.SESSION_FEATURES, wire.words(wire.SESSION_FEATURES))
        + wire.classic(Classic.AIO_SESSION_OPEN)
    )
    _classic_reply(stream, Classic.AIO_SESSION_OPEN)
    return version


def _classic_reply(stream: Stream, expected: Classic) -> bytearray:
    message = bytearray(wire.CLASSIC_SIZE)
    stream.fill(memoryview(message))
    if wire.classic_kind(message) != expected:
        raise wire.malformed(f"message {wire.classic_kind(message)} in the handshake, where {expected.value} belongs")
    return message


class Session:
    """`requests` read requests are in flight at most. Every failure that leaves the byte stream in doubt ends it."""

    def __init__(self, stream: Stream, guard: SocketGuard, *, requests: int, buffer: int, report: Reporter) -> None:
        self._stream, self.guard, self._report = stream, guard, report
        self._requests, self._buffer, self._piece = requests, buffer, max(buffer, READ_PIECE)
        self._state = threading.Condition()
        self._driving = False
        self._failure: VcbError | None = None
        self._waiting: deque[Transfer | Command] = deque()
        self._pending: dict[int, Piece | WrittenPiece | Command] = {}
        self._outbox: list[bytes] = []
        self._next_operation = 0
        self._head = memoryview(bytearray(wire.HEADER.size))
        self._payload = memoryview(bytearray(wire.ERROR_SIZE_LIMIT))
        self.file = wire.OpenedFile(0, 0)

    @classmethod
    def open(
        cls,
        stream: Stream,
        guard: SocketGuard,
        path: str,
        *,
        writable: bool,
        requests: int,
        buffer: int,
        report: Reporter,
    ) -> "Session":
        """Handshake, AIO session, disk `path` ("[datastore] dir/name.vmdk") opened.

        Raises BufferRefused (buffers of that size), TransportError (the disk cannot be opened), ConnectionLost.
        """
        version = handshake(stream)
        session = cls(stream, guard, requests=requests, buffer=buffer, report=report)
        try:
            session._run(Command(Aio.OPEN_SESSION, wire.open_session(buffer, requests)))
        except Refusal as error:
            raise BufferRefused(
                f"The host's NFC server does not take {requests} buffers of {buffer} bytes.", fault=error.fault
            ) from error
        session._tune()
        name = path.encode()
        opening = Command(
            Aio.OPEN_FILE, wire.open_file(name, writable=writable), extra=name, reply_size=wire.OPEN_FILE_SIZE
        )
        try:
            session._run(opening)
        except Refusal as error:
            raise TransportError(f"The host did not open {path}: {error.sentence}", fault=error.fault) from error
        session.file = wire.opened_file(opening.reply)
        report.step(f"NFC version {version}: opened {path}, {session.file.capacity} bytes, {requests} x {buffer} bytes")
        return session

    def _tune(self) -> None:
        """What VDDK also sends. A host that knows one of them not is read all the same."""
        for kind, payload in ((Aio.SET_SOCK_OPTS, bytes(12)), (Aio.SET_RES_POOL, wire.words(1))):
            try:
                self._run(Command(kind, payload))
            except Refusal as error:
                self._report.step(f"{error.sentence} [{error.fault}] Going on without.")

    def read(self, offset: int, view: memoryview) -> None:
        """Fills `view`. When this raises, nobody writes into `view` any more."""
        self._run(Transfer(self.file.handle, offset, view, self._piece))

    def write(self, offset: int, view: memoryview) -> None:
        """When this returns, the host has taken all of `view`. After an error any part of it may have been written."""
        self._run(Transfer(self.file.handle, offset, view, self._buffer, writes=True))

    def allocated(self, start: int, chunk: int, count: int) -> list[Extent]:
        """Chunks that hold data among `count` chunks of `chunk` bytes from `start`, a multiple of `chunk`."""

        def bitmap(payload: bytes) -> int:
            if wire.query_count(payload) != count:
                raise wire.malformed(f"a map of {wire.query_count(payload)} chunks, asked {count}")
            return wire.bitmap_size(count)

        payload = wire.query_allocated(self.file.handle, chunk, start, count)
        query = Command(Aio.QUERY_ALLOCATED_BLOCKS, payload, reply_size=wire.QUERY_REPLY_SIZE, extra_size=bitmap)
        self._run(query)
        return list(wire.bitmap_extents(query.reply_extra, count=count, start=start, chunk=chunk))

    def close(self) -> None:
        """Says goodbye when the connection is healthy and idle, and closes it. Safe twice."""
        with self._state:
            polite = self._failure is None and not self._driving and not self._pending
            self._failure = self._failure or ConnectionLost("The NFC connection was closed.", transient=False)
            operation = self._next_operation
        if polite:
            self._say_goodbye(operation)
        self.guard.close()

    def _say_goodbye(self, operation: int) -> None:
        """Waits for the host to close, so that its last answers do not meet a closed socket (a TCP reset)."""
        try:
            self._stream.set_timeout(_GOODBYE_SECONDS)
            self._stream.send(
                wire.aio(Aio.CLOSE_FILE, operation, wire.close_file(self.file.handle))
                + wire.aio(Aio.CLOSE_SESSION, operation + 1, wire.words(0))
                + wire.classic(Classic.SESSION_COMPLETE)
            )
            for _ in range(wire.ERROR_SIZE_LIMIT):
                self._stream.fill(self._head[:1])
        except ConnectionLost:
            return  # the expected end

    def _run(self, operation: Transfer | Command) -> None:
        """Queues `operation` and returns when it is finished; drives the connection while nobody else does."""
        with self._state:
            if self._failure is None:
                self._waiting.append(operation)
            while not operation.finished:
                if self._driving:
                    self._state.wait()
                elif self._failure:
                    raise _again(self._failure)
                else:
                    self._driving = True
                    self._drive(operation)
        if operation.error:
            raise operation.error

    def _drive(self, own: Transfer | Command) -> None:
        """Called with the state locked; unlocked while it sends and receives."""
        try:
            while not own.finished:
                self._refill()
                outbox, self._outbox = b"".join(self._outbox), []
                self._state.release()
                try:
                    finished = self._exchange(outbox)
                finally:
                    self._state.acquire()
                if finished is not None and finished is not own and finished.finished:
                    self._state.notify_all()
        except BaseException as error:
            reason = error if isinstance(error, VcbError) else ConnectionLost("The NFC connection was interrupted.")
            self._failure = self._failure or reason
            self.guard.cut()
            raise
        finally:
            self._driving = False
            self._state.notify_all()

    def _refill(self) -> None:
        """Turns waiting operations into requests, first come first served, while the window has room."""
        while self._waiting and len(self._pending) < self._requests:
            operation = self._waiting[0]
            if not operation.unsent:
                self._waiting.popleft()
                continue
            request, piece = operation.next_request(self._next_operation)
            self._pending[self._next_operation] = piece
            self._next_operation = (self._next_operation + 1) & 0xFFFFFFFF
            self._outbox.append(request)

    def _exchange(self, outbox: bytes) -> Transfer | Command | None:
        """Sends, then receives one message. Returns the owner of a request that this message finished."""
        if outbox:
            self._trace("->", outbox)
            self._stream.send(outbox)
        self._stream.fill(self._head)
        magic, kind, size, operation = wire.HEADER.unpack(self._head)
        piece = self._pending.get(operation)
        if magic != wire.AIO_MAGIC:
            raise wire.malformed(f"a header that begins with {magic:#x}")
        if piece is None:
            raise wire.malformed(f"an answer to operation {operation}, which nobody asked")
        if size > wire.ERROR_SIZE_LIMIT or (kind == piece.kind and piece.reply_size not in (None, size)):
            raise wire.malformed(f"an answer of {size} bytes to message {piece.kind}")
        payload = self._payload[:size]
        self._stream.fill(payload)
        self._trace("<-", self._head, payload)
        if kind == Aio.ERROR:
            piece.fail(wire.refusal(piece.kind, bytes(payload)))
        elif kind == piece.kind:
            place = piece.place(payload)
            self._stream.fill(place)
            piece.accept(place)
            if not piece.finished:
                return None
        else:
            raise wire.malformed(f"an answer of type {kind} to a message of type {piece.kind}")
        del self._pending[operation]
        return piece.owner

    def _trace(self, direction: str, *parts: bytes | memoryview) -> None:
        if self._report.wants(LogLevel.WIRE):
            self._report.wire(f"NFC {direction} {' '.join(part[:_TRACED].hex() for part in parts)}")


def _again(error: VcbError) -> VcbError:
    """The same failure for another thread (an exception instance collects the tracebacks of all that raise it)."""
    return type(error)(error.sentence, fault=error.fault, hint=error.hint, transient=error.transient)

"""Read requests of one connection: cut into fragments and answered by one thread, not always in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from isal import isal_zlib

from engine.lab.faults import Rule
from engine.lab.nfc.channel import Closed, Stream
from engine.lab.nfc.faultpoints import FaultPoints
from engine.lab.nfc.limits import Limits
from engine.lab.nfc.messages import (
    FRAGMENT,
    HEADER,
    MAGIC,
    PAYLOAD_SIZE,
    READ_OPCODE,
    Aio,
    Compression,
    ErrorCode,
    Refusal,
)
from engine.lab.nfc.statistics import ConnectionStatistics
from engine.lab.nfc.volume import Volume

FRONT = HEADER.size + FRAGMENT.size


@dataclass
class Request:
    """A read that is being answered. `left` counts its fragments not yet sent; `failed` drops the rest of them."""

    op_id: int
    volume: Volume
    compression: int
    offset: int
    length: int
    left: int = 0
    failed: bool = False


@dataclass(frozen=True)
class _Fragment:
    request: Request
    place: int
    length: int


class ReadQueue:
    """Every fragment goes out as one buffer, header in front of the data: read from the layers straight into it, sent
    from it, no copy between. A failing read is answered by one error for its opId, through `refuse`; when the stream
    itself fails, `broken` is told."""

    def __init__(
        self,
        stream: Stream,
        *,
        buffer: int,
        limits: Limits,
        record: ConnectionStatistics,
        faults: FaultPoints,
        refuse: Callable[[int, Refusal], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self._stream, self._size, self._limits = stream, buffer, limits
        self._record, self._faults = record, faults
        self._refuse, self._broken = refuse, broken
        self._buffer = memoryview(bytearray(FRONT + buffer))
        self._fragments: deque[_Fragment] = deque()
        self._changed = threading.Condition()
        self._taken = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"nfc-read-{record.number}", daemon=True)
        self._thread.start()

    def add(self, request: Request) -> None:
        """Queue a read; waits while too many are in flight."""
        places = range(0, request.length, self._size)
        request.left = len(places)
        with self._changed:
            self._changed.wait_for(lambda: self._record.in_flight < self._limits.requests_in_flight or self._ended)
            self._record.requests += 1
            self._record.in_flight += 1
            self._record.max_in_flight = max(self._record.max_in_flight, self._record.in_flight)
            for place in places:
                self._fragments.append(_Fragment(request, place, min(self._size, request.length - place)))
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until everything asked so far has been answered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._record.in_flight or self._ended)

    def end(self) -> None:
        """Stop answering; what is queued is dropped."""
        with self._changed:
            self._ended = True
            self._fragments.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while fragment := self._take():
                if not fragment.request.failed:
                    self._answer(fragment)
                self._done(fragment.request)
        except (OSError, Closed) as error:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._broken(error)

    def _take(self) -> _Fragment | None:
        with self._changed:
            self._changed.wait_for(lambda: self._fragments or self._ended)
            if self._ended:
                return None
            self._taken += 1
            every = self._limits.reorder_every
            if every and self._taken % every == 0 and len(self._fragments) > 1:
                second = self._fragments[1]
                del self._fragments[1]
                return second
            return self._fragments.popleft()

    def _done(self, request: Request) -> None:
        request.left -= 1
        if not request.left:
            with self._changed:
                self._record.in_flight -= 1
                self._changed.notify_all()

    def _answer(self, fragment: _Fragment) -> None:
        request = fragment.request
        try:
            trouble = self._faults.strike("nfc.read", request.volume.path)
            data = self._buffer[FRONT : FRONT + fragment.length]
            request.volume.read_into(request.offset + fragment.place, data)
        except Refusal as refusal:
            request.failed = True
            self._refuse(request.op_id, refusal)
            return
        self._send(fragment, self._pack(fragment, data), trouble)
        self._record.fragments += 1
        self._record.served += fragment.length

    def _pack(self, fragment: _Fragment, data: memoryview) -> memoryview:
        """The whole message. Each fragment is compressed alone; one that does not shrink travels as it is."""
        request, used, extra = fragment.request, Compression.NONE, len(data)
        if request.compression == Compression.ZLIB:
            packed = isal_zlib.compress(data, 1)
            if len(packed) < len(data):
                used, extra = Compression.ZLIB, len(packed)
                data[:extra] = packed
        HEADER.pack_into(self._buffer, 0, MAGIC, Aio.IO, PAYLOAD_SIZE[Aio.IO], request.op_id)
        opcode = used << 32 | READ_OPCODE
        numbers = (0, opcode, request.offset, request.length, fragment.place, fragment.length, extra, 0)
        FRAGMENT.pack_into(self._buffer, HEADER.size, *numbers)
        return self._buffer[: FRONT + extra]

    def _send(self, fragment: _Fragment, message: memoryview, trouble: Rule | None) -> None:
        if trouble is None:
            self._stream.send(message)
            return
        if trouble.action == "corrupt":
            message[FRONT + trouble.size % (len(message) - FRONT)] ^= 1
        if trouble.action == "slow":
            self._faults.pause(fragment.length / max(1, trouble.size))
        if trouble.action == "short":
            self._stream.send(message[: FRONT + trouble.size])
        elif trouble.action != "drop":
            self._stream.send(message)
        if trouble.action in ("short", "drop", "drop-after"):
            raise Closed(f"cut by an injected fault ({trouble.action})")


def refuse_compression(compression: int) -> None:
    """This server speaks none and zlib; FastLZ and SkipZ exist on real hosts."""
    if compression not in (Compression.NONE, Compression.ZLIB):
        raise Refusal(ErrorCode.NOT_SUPPORTED, f"compression {compression}")

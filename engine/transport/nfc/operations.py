"""What waits for answers of the NFC server: reads, whose answers come in fragments and any order; writes, each piece of
which is answered once; and commands."""

from collections.abc import Callable

from engine.errors import VcbError
from engine.transport.nfc import wire


class Transfer:
    """One read of any length into the caller's buffer, asked for in pieces of at most `piece` bytes.

    With `writes` it goes the other way: pieces of the caller's buffer, none longer than a buffer of the server.
    """

    def __init__(self, handle: int, offset: int, view: memoryview, piece: int, *, writes: bool = False) -> None:
        self.error: VcbError | None = None
        self._handle, self._offset, self._view, self._piece = handle, offset, view, piece
        self._writes = writes
        self._asked = 0
        self._missing = len(view)
        self._in_flight = 0

    @property
    def unsent(self) -> bool:
        return self.error is None and self._asked < len(self._view)

    @property
    def finished(self) -> bool:
        """A refused piece ends the read only after its other pieces: until then they may still write its buffer."""
        return self._in_flight == 0 and (self.error is not None or self._missing == 0)

    def next_request(self, operation: int) -> tuple[bytes, "Piece | WrittenPiece"]:
        """The next message to send, and what will take its answers."""
        start = self._asked
        length = min(self._piece, len(self._view) - start)
        self._asked += length
        self._in_flight += 1
        offset, view = self._offset + start, self._view[start : start + length]
        if self._writes:
            request = wire.write_fragment(self._handle, offset, length)
            return wire.aio(wire.Aio.IO, operation, request, bytes(view)), WrittenPiece(self, offset, length)
        return wire.aio(wire.Aio.IO, operation, wire.read_request(self._handle, offset, length)), Piece(
            self, offset, view
        )

    def piece_ended(self, done: int, error: VcbError | None) -> None:
        self._in_flight -= 1
        self._missing -= done
        self.error = self.error or error


class Piece:
    """One read request in flight: knows which of its bytes are still missing, so that no byte comes twice or never."""

    kind = wire.Aio.IO
    reply_size = wire.IO_SIZE

    def __init__(self, owner: Transfer, offset: int, view: memoryview) -> None:
        self.owner = owner
        self._offset, self._view = offset, view
        self._holes = [(0, len(view))]

    @property
    def finished(self) -> bool:
        return not self._holes

    def place(self, payload: memoryview) -> memoryview:
        """Where the extra after this fragment's `payload` belongs: a part of the caller's own buffer."""
        _, opcode, offset, total, place, length, extra, _ = wire.FRAGMENT.unpack(payload)
        if opcode != wire.OPCODE_READ:
            raise wire.malformed(f"a fragment with opcode {opcode:#x}, where a plain read was asked")
        if offset != self._offset or total != len(self._view):
            raise wire.malformed(f"a fragment of {total} bytes at {offset}, asked {len(self._view)} at {self._offset}")
        if extra != length:
            raise wire.malformed(f"an uncompressed fragment of {length} bytes that carries {extra}")
        self._fill_hole(place, place + length)
        return self._view[place : place + length]

    def accept(self, place: memoryview) -> None:
        """The extra has been received into `place`."""
        if not self._holes:
            self.owner.piece_ended(len(self._view), None)

    def fail(self, error: VcbError) -> None:
        self.owner.piece_ended(0, error)

    def _fill_hole(self, start: int, end: int) -> None:
        for index, (first, last) in enumerate(self._holes):
            if first <= start < end <= last:
                rest = [hole for hole in ((first, start), (end, last)) if hole[0] < hole[1]]
                self._holes[index : index + 1] = rest
                return
        raise wire.malformed(f"a fragment for bytes {start} to {end} of a read, which are not missing there")


class WrittenPiece:
    """One write in flight, sent whole; the server answers when it has the last byte."""

    kind = wire.Aio.IO
    reply_size = wire.IO_SIZE

    def __init__(self, owner: Transfer, offset: int, length: int) -> None:
        self.owner = owner
        self.finished = False
        self._offset, self._length = offset, length

    def place(self, payload: memoryview) -> memoryview:
        _, opcode, offset, total, *_ = wire.FRAGMENT.unpack(payload)
        if opcode != wire.OPCODE_WRITE or (offset, total) != (self._offset, self._length):
            raise wire.malformed(f"the answer to a write of {self._length} bytes at {self._offset} tells of another")
        return memoryview(b"")

    def accept(self, place: memoryview) -> None:
        self.finished = True
        self.owner.piece_ended(self._length, None)

    def fail(self, error: VcbError) -> None:
        self.finished = True
        self.owner.piece_ended(0, error)


class Command:
    """One request with one reply; it is its own only piece. `reply_size` None takes any payload up to the limit."""

    def __init__(
        self,
        kind: wire.Aio,
        payload: bytes,
        *,
        extra: bytes = b"",
        reply_size: int | None = None,
        extra_size: Callable[[bytes], int] = lambda payload: 0,
    ) -> None:
        self.kind, self.reply_size = kind, reply_size
        self.error: VcbError | None = None
        self.reply, self.reply_extra = b"", b""
        self.finished = False
        self.unsent = True
        self._payload, self._extra, self._extra_size = payload, extra, extra_size

    @property
    def owner(self) -> "Command":
        return self

    def next_request(self, operation: int) -> tuple[bytes, "Command"]:
        self.unsent = False
        return wire.aio(self.kind, operation, self._payload, self._extra), self

    def place(self, payload: memoryview) -> memoryview:
        self.reply = bytes(payload)
        return memoryview(bytearray(self._extra_size(self.reply)))

    def accept(self, place: memoryview) -> None:
        self.reply_extra = bytes(place)
        self.finished = True

    def fail(self, error: VcbError) -> None:
        self.error = error
        self.finished = True

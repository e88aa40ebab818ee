"""One NFC session after `200 Connect`: the classic handshake, then AIO messages until the client closes.

Framing errors (magic, type, size, opId, a field that the facts pin) are answered by an error reply where an opId is
known, and end the connection: nobody knows where the next message starts. A request that is well formed but cannot be
done (file, handle, range, ticket) is answered by an error reply and the session goes on.

Readings where the facts leave it open:
- opIds are consecutive; the fragments of one write share theirs;
- buffer size or count 0 in OPEN_SESSION mean the defaults (65,536 bytes, 4); a refused OPEN_SESSION may be asked again;
- SET_RES_POOL, CLOSE_FILE and CLOSE_SESSION are answered by a payload of the request's size (the pool echoed, else
  zeros);
- offset and length of reads and writes are whole sectors, and within the disk: VDDK never asks otherwise;
- the one reply to a write has the fragment layout: place 0, length = total, no extra;
- the areas asked of QUERY_ALLOCATED_BLOCKS lie within the disk; a chunk is a whole number of sectors. A writable
  handle answers as of its opening, as a host does that has not yet flushed its metadata.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from engine.lab.nfc import messages as m
from engine.lab.nfc.channel import Closed, Stream
from engine.lab.nfc.faultpoints import FaultPoints
from engine.lab.nfc.limits import Budget, Limits
from engine.lab.nfc.messages import Aio, Classic, ErrorCode, Malformed, Refusal
from engine.lab.nfc.reads import ReadQueue, Request, refuse_compression
from engine.lab.nfc.statistics import ConnectionStatistics
from engine.lab.nfc.volume import Volume
from engine.lab.nfc.writes import Writes

SOCKET_BUFFER = 262_144  # what SET_SOCK_OPTS reports for each direction


@dataclass(frozen=True)
class Grounds:
    """What a session stands on: `open_volume(path, writable)` raises Refusal; `cut` ends the TCP connection."""

    host: str
    open_volume: Callable[[str, bool], Volume]
    cut: Callable[[], None]
    limits: Limits
    buffers: Budget
    faults: FaultPoints
    record: ConnectionStatistics


class DiskSession:
    def __init__(self, stream: Stream, grounds: Grounds) -> None:
        self._stream, self._grounds = stream, grounds
        self._volumes: dict[int, Volume] = {}
        self._writes = Writes(grounds.record, grounds.faults, self._reply)
        self._queue: ReadQueue | None = None
        self._reserved = 0
        self._next_op = 0
        self._failure: Exception | None = None

    def serve(self) -> None:
        """Returns when the client closed properly. Raises Malformed, Closed or OSError."""
        self._classic_handshake()
        try:
            while self._message():
                pass
            m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.SESSION_COMPLETE)
        except (Closed, OSError):
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            self._release()

    def _release(self) -> None:
        if self._queue is not None:
            self._grounds.cut()  # a reply that nobody reads must not hold the thread
            self._queue.end()
        for volume in self._volumes.values():
            volume.close()
        if self._reserved:
            self._grounds.buffers.give_back(self._grounds.host, self._reserved)

    def _classic_handshake(self) -> None:
        version = m.WORD.pack(m.PROTOCOL_VERSION)
        m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.HANDSHAKE, m.PLAIN_TEXT)
        m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.SESSION_PARAMS)
        self._stream.send(m.classic(Classic.SESSION_PARAMS_REPLY, struct.pack("<12xI", 1)))
        m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.VERSION, version)
        self._stream.send(m.classic(Classic.VERSION, version))
        name, op_id = m.connection_data(self._receive(m.CLASSIC_SIZE))
        self._receive(name + op_id)
        m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.SESSION_FEATURES, m.WORD.pack(m.FEATURES))
        m.expect_classic(self._receive(m.CLASSIC_SIZE), Classic.AIO_SESSION_OPEN)
        self._stream.send(m.classic(Classic.AIO_SESSION_OPEN))

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        self._stream.receive_into(memoryview(data))
        return data

    def _message(self) -> bool:
        """Take one message; False after CLOSE_SESSION."""
        head = m.header(self._receive(m.HEADER.size))
        payload = self._receive(m.PAYLOAD_SIZE[head.type])
        with self._answering(head.op_id):
            is_write = head.type is Aio.IO and m.opcode(payload) == m.WRITE
            if not (is_write and self._writes.going_on(head.op_id)):
                if head.op_id != self._next_op:
                    raise Malformed(f"opId {head.op_id} where {self._next_op} is due")
                self._next_op += 1
            if (self._queue is None) is not (head.type is Aio.OPEN_SESSION):
                raise Malformed(f"{head.type.name} at the wrong time")
            self._HANDLERS[head.type](self, head.op_id, payload)
        return head.type is not Aio.CLOSE_SESSION

    @contextmanager
    def _answering(self, op_id: int) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self._refuse(op_id, refusal)
        except Malformed as error:
            self._refuse(op_id, Refusal(ErrorCode.INVALID_ARGUMENT, str(error)))
            raise

    def _refuse(self, op_id: int, refusal: Refusal) -> None:
        self._grounds.record.errors.append(f"{refusal.code.name}: {refusal}")
        self._reply(Aio.ERROR, op_id, m.ERROR.pack(refusal.code, 0))

    def _reply(self, kind: Aio, op_id: int, payload: bytes, extra: bytes = b"") -> None:
        self._stream.send(m.HEADER.pack(m.MAGIC, kind, len(payload), op_id) + payload + extra)

    def _broken(self, error: Exception) -> None:
        """The answering thread cannot go on: end the connection, which wakes the receiving thread."""
        self._failure = error
        self._grounds.cut()

    def _volume(self, handle: int) -> Volume:
        try:
            return self._volumes[handle]
        except KeyError:
            raise Refusal(ErrorCode.INVALID_HANDLE, f"no file has the handle {handle:#x}") from None

    def _open_session(self, op_id: int, payload: bytearray) -> None:
        limits = self._grounds.limits
        zero, size, count, last = m.OPEN_SESSION.unpack(payload)
        if zero or last:
            raise Malformed("OPEN_SESSION: the first and the last word must be 0")
        size, count = size or limits.buffer_default, count or limits.buffer_count_default
        if size > limits.buffer_max or size % m.SECTOR:
            raise Refusal(ErrorCode.INVALID_ARGUMENT, f"a buffer of {size} bytes")
        if not self._grounds.buffers.take(self._grounds.host, size * count, limits.host_buffers):
            raise Refusal(ErrorCode.OUT_OF_MEMORY, f"{count} buffers of {size} bytes: the host has no room for them")
        self._reserved = size * count
        self._grounds.record.buffer = size
        self._queue = ReadQueue(
            self._stream,
            buffer=size,
            limits=limits,
            record=self._grounds.record,
            faults=self._grounds.faults,
            refuse=self._refuse,
            broken=self._broken,
        )
        self._reply(Aio.OPEN_SESSION, op_id, bytes(16))

    def _set_sock_opts(self, op_id: int, payload: bytearray) -> None:
        if any(payload):
            raise Malformed("SET_SOCK_OPTS: 12 zeros are due")
        self._reply(Aio.SET_SOCK_OPTS, op_id, m.SOCK_OPTS.pack(SOCKET_BUFFER, SOCKET_BUFFER, 1))

    def _set_res_pool(self, op_id: int, payload: bytearray) -> None:
        if m.WORD.unpack(payload) != (1,):
            raise Malformed("SET_RES_POOL: 1 is due")
        self._reply(Aio.SET_RES_POOL, op_id, bytes(payload))

    def _open_file(self, op_id: int, payload: bytearray) -> None:
        length, *zeros, kind, flags = m.OPEN_FILE.unpack(payload)
        if any(zeros) or any(payload[24:]) or kind != m.FILE_TYPE_DISK or not 0 < length <= m.PATH_LIMIT:
            raise Malformed(f"OPEN_FILE: path of {length} bytes, file type {kind}, or a reserved word is not 0")
        if flags not in (m.FLAGS_READ_ONLY, m.FLAGS_READ_WRITE):
            raise Malformed(f"OPEN_FILE: flags {flags:#x}")
        try:
            path = self._receive(length).decode()
        except UnicodeDecodeError:
            raise Refusal(ErrorCode.INVALID_ARGUMENT, "the path is not UTF-8") from None
        self._grounds.faults.pass_or_cut("nfc.open", path)
        volume = self._grounds.open_volume(path, flags == m.FLAGS_READ_WRITE)
        handle = secrets.randbits(63) | 1 << 62  # opaque, and wider than a client that truncates it can take
        self._volumes[handle] = volume
        self._grounds.record.paths.append(path)
        numbers = (handle, kind, flags, volume.capacity, m.SECTOR, *volume.geometry)
        self._reply(Aio.OPEN_FILE, op_id, m.OPEN_FILE_REPLY.pack(*numbers))

    def _ddb_get(self, op_id: int, payload: bytearray) -> None:
        handle, length, zero = m.DDB.unpack(payload)
        if zero or not 0 < length <= m.PATH_LIMIT:
            raise Malformed(f"DDB_GET: key of {length} bytes, last word {zero}")
        key = self._receive(length).decode("ascii", "replace")
        value = self._volume(handle).ddb.get(key, "").encode("ascii")
        self._reply(Aio.DDB_GET, op_id, m.DDB_REPLY.pack(len(value)), value)

    def _io(self, op_id: int, payload: bytearray) -> None:
        assert self._queue is not None
        if m.opcode(payload) == m.WRITE:
            self._write(op_id, payload)
            return
        asked = m.read_request(payload)
        volume = self._volume(asked.handle)
        refuse_compression(asked.compression)
        volume.check_range(asked.offset, asked.length)
        self._queue.add(Request(op_id, volume, asked.compression, asked.offset, asked.length))

    def _write(self, op_id: int, payload: bytearray) -> None:
        fragment = m.write_fragment(payload)
        if fragment.extra > self._grounds.record.buffer or fragment.length > self._grounds.record.buffer:
            raise Malformed(f"a write fragment of {fragment.length} bytes exceeds the session's buffer")
        data = self._receive(fragment.extra)
        self._writes.take(op_id, fragment, data, self._volume)

    def _query_allocated_blocks(self, op_id: int, payload: bytearray) -> None:
        handle, zero, chunk, start, count, last = m.ALLOCATED.unpack(payload)
        if zero or last:
            raise Malformed("QUERY_ALLOCATED_BLOCKS: a reserved word is not 0")
        volume = self._volume(handle)
        self._grounds.faults.pass_or_cut("nfc.query", volume.path)
        if not chunk or chunk % m.SECTOR or start % chunk or not count or start + count * chunk > volume.capacity:
            text = f"{count} chunks of {chunk} bytes from {start} on a disk of {volume.capacity}"
            raise Refusal(ErrorCode.INVALID_ARGUMENT, text)
        extra = m.bitmap(volume.allocated(), start, chunk, count)
        self._reply(Aio.QUERY_ALLOCATED_BLOCKS, op_id, m.ALLOCATED.pack(0, 0, 0, 0, count, 0), extra)

    def _close_file(self, op_id: int, payload: bytearray) -> None:
        assert self._queue is not None
        handle = m.HANDLE.unpack(payload)[0]
        volume = self._volume(handle)
        self._queue.drain()
        del self._volumes[handle]
        volume.close()
        self._reply(Aio.CLOSE_FILE, op_id, bytes(8))

    def _close_session(self, op_id: int, payload: bytearray) -> None:
        assert self._queue is not None
        if any(payload):
            raise Malformed("CLOSE_SESSION: 0 is due")
        self._queue.drain()
        self._reply(Aio.CLOSE_SESSION, op_id, bytes(4))

    _HANDLERS: ClassVar[dict[Aio, Callable[[DiskSession, int, bytearray], None]]] = {
        Aio.OPEN_SESSION: _open_session,
        Aio.SET_SOCK_OPTS: _set_sock_opts,
        Aio.SET_RES_POOL: _set_res_pool,
        Aio.OPEN_FILE: _open_file,
        Aio.DDB_GET: _ddb_get,
        Aio.IO: _io,
        Aio.QUERY_ALLOCATED_BLOCKS: _query_allocated_blocks,
        Aio.CLOSE_FILE: _close_file,
        Aio.CLOSE_SESSION: _close_session,
    }

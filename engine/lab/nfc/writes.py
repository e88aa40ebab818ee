"""Writes of one connection: fragments under one opId, in any order, answered once when the last byte has arrived."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from engine.lab.nfc.faultpoints import FaultPoints
from engine.lab.nfc.messages import FRAGMENT, WRITE, Aio, Compression, ErrorCode, Malformed, Refusal, WriteFragment
from engine.lab.nfc.reads import refuse_compression
from engine.lab.nfc.statistics import ConnectionStatistics
from engine.lab.nfc.volume import Volume


@dataclass
class _Progress:
    """`missing` is what of the write has not arrived; the fragments behind a refused one are taken and dropped."""

    offset: int
    total: int
    missing: int
    refused: bool = False


class Writes:
    def __init__(
        self, record: ConnectionStatistics, faults: FaultPoints, reply: Callable[[Aio, int, bytes], None]
    ) -> None:
        self._record, self._faults, self._reply = record, faults, reply
        self._open: dict[int, _Progress] = {}

    def going_on(self, op_id: int) -> bool:
        return op_id in self._open

    def take(self, op_id: int, fragment: WriteFragment, data: bytearray, volume_of: Callable[[int], Volume]) -> None:
        """Raises Refusal, once per opId, when the write cannot be done; Malformed when its fragments do not fit."""
        progress = self._open.setdefault(op_id, _Progress(fragment.offset, fragment.total, fragment.total))
        if (fragment.offset, fragment.total) != (progress.offset, progress.total) or fragment.length > progress.missing:
            raise Malformed("a fragment does not belong to the write that its opId began")
        progress.missing -= fragment.length
        if not progress.missing:
            del self._open[op_id]
        if progress.refused:
            return
        try:
            self._store(fragment, data, volume_of(fragment.handle))
        except Refusal:
            progress.refused = True
            raise
        if not progress.missing:
            self._record.requests += 1
            numbers = (0, WRITE, progress.offset, progress.total, 0, progress.total, 0, 0)
            self._reply(Aio.IO, op_id, FRAGMENT.pack(*numbers))

    def _store(self, fragment: WriteFragment, data: bytearray, volume: Volume) -> None:
        self._faults.pass_or_cut("nfc.write", volume.path)
        volume.check_range(fragment.offset, fragment.total)
        refuse_compression(fragment.compression)
        plain = bytes(data) if fragment.compression == Compression.NONE else _inflate(data)
        if len(plain) != fragment.length:
            raise Refusal(ErrorCode.INVALID_ARGUMENT, f"{len(plain)} bytes where {fragment.length} were announced")
        volume.write(fragment.offset + fragment.place, plain)
        self._record.written += len(plain)


def _inflate(data: bytearray) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise Refusal(ErrorCode.INVALID_ARGUMENT, f"the fragment is not zlib: {error}") from error

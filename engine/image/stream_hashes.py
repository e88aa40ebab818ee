"""Grain hashes of a stream: the same that the pipeline gives for a disk that it reads itself."""

from array import array

from engine.image.pipeline import OnHashes
from engine.image.sparse_header import GRAIN, TABLE_ENTRIES
from engine.image.units import ZERO_GRAIN, ZERO_HASH, grain_hash


class StreamHashes:
    """Gathers the grains of a stream into units and hands each complete unit on.

    `complete` turns False for a stream that lists of hashes are not made of: its grains are not of 64 KiB, or do not
    come in ascending order. What was handed on then is worth nothing.
    """

    def __init__(self, hand_on: OnHashes) -> None:
        self.complete = True
        self._hand_on = hand_on
        self._last = -1
        self._hashes = array("Q")

    def take(self, offset: int, content: bytes, grain: int) -> None:
        """The next grain: its place on the disk, its content (cut at the end of the disk), the size of full grains."""
        number = offset // GRAIN
        if grain != GRAIN or number <= self._last:
            self.complete = False
        if not self.complete:
            return
        if not self._hashes or number // TABLE_ENTRIES != self._last // TABLE_ENTRIES:
            self._flush()
            self._hashes = array("Q", bytes(8 * TABLE_ENTRIES))
        padded = content.ljust(GRAIN, b"\0")
        self._hashes[number % TABLE_ENTRIES] = ZERO_HASH if padded == ZERO_GRAIN else grain_hash(padded)
        self._last = number

    def finish(self) -> None:
        if self.complete:
            self._flush()

    def _flush(self) -> None:
        if self._hashes:
            self._hand_on(self._last // TABLE_ENTRIES, self._hashes)

"""The encoder of the uncompressed formats: grains go from the memory they were read into to their place in the file."""

from collections.abc import Callable

from engine.block_hash import DIGEST, block_digest, zero_digest
from engine.image.placed_output import PlacedOutput
from engine.image.sparse_header import GRAIN, TABLE_ENTRIES, UNIT
from engine.image.units import UnitEncoder

_ZERO_DIGESTS = zero_digest() * TABLE_ENTRIES


class PlacedEncoder(UnitEncoder):
    """Grains of zeros are left out, so they stay a hole.

    `PackedUnit.data` holds 512 digests, of each grain as the block of the file that it is (of zeros, where nothing is
    stored), and `grains` 1 for what is stored. `place` gives the byte of the file where a read, which begins at this
    byte of the disk, belongs; the blocks of one read follow each other. The file ends with byte `end` of the disk in
    the middle of its grain, if the disk does; 0 for a file of whole grains.
    """

    def __init__(
        self,
        output: PlacedOutput,
        place: Callable[[int], int],
        end: int = 0,
        *,
        keep_zeros: bool = False,
        hashed: bool = False,
    ) -> None:
        super().__init__(keep_zeros=keep_zeros, hashed=hashed)
        self._output, self._place = output, place
        self._last, self._tail = divmod(end, GRAIN)
        self._start = 0
        self._runs: list[tuple[int, int]] = []

    def begin(self, unit: int, buffer: memoryview) -> None:
        super().begin(unit, buffer)
        self.fill = len(_ZERO_DIGESTS)
        self.buffer[: self.fill] = _ZERO_DIGESTS
        if self._tail and self._last // TABLE_ENTRIES == unit:
            self._note(self._last, zero_digest(self._tail))

    def take(self, start: int, length: int) -> None:
        self._start, self._runs = start, []
        super().take(start, length)

    def put(self) -> None:
        place = self._place(self._start)
        for first, end in self._runs:
            self._output.put(place + first, self._scratch.view[first:end])

    def _store(self, grain: int, data: memoryview) -> int:
        cut = self._tail and grain == self._last
        self._note(grain, block_digest(data[: self._tail] if cut else data))
        at = grain * GRAIN - self._start
        if self._runs and self._runs[-1][1] == at:
            self._runs[-1] = (self._runs[-1][0], at + GRAIN)
        else:
            self._runs.append((at, at + GRAIN))
        return 1

    def _note(self, grain: int, digest: bytes) -> None:
        at = DIGEST * (grain - self._unit * (UNIT // GRAIN))
        self.buffer[at : at + DIGEST] = digest

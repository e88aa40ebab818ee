"""How hard an export compresses: fast while the cores are what holds it up, harder while they wait for something else.

Every level is standard deflate in zlib's framing. The rule looks at the encoding cores only: what they leave idle is
the time that a slow source or a slow target gives away. A level that makes the reading slower all the same is given up.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from isal import isal_zlib

WINDOW = 1.0
"""Seconds over which the cores' busy share is taken: over less, how hard the data of the moment is counts too much."""
FIRST_WINDOW = 0.25
"""The first ones are shorter, so that a slow source gets its level at once."""
RISE_BELOW = 0.7
"""A harder level is tried when the share it would need, as its cost foretells, stays below this."""
FALL_ABOVE = 0.85
KEPT = 0.93
"""Of the source's rate before a harder level: less means that it is paid for in time. Threads that encode do not read,
and a source that is slow because each answer takes long gives less to fewer readers, however idle the cores are."""
POOR_WINDOWS = 2
"""In a row, before a level is given up: one may be a moment's hard data."""
QUIET_WINDOWS = 2
"""In a row, before a level is tried again after one proved too hard; doubled each time, so that nothing swings."""
_MOST_QUIET_WINDOWS = 64

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Level:
    """`cost` is core time for the same data, relative to the first level's."""

    name: str
    cost: float
    compress: Callable[[Data], Data]


FAST = Level("isal 2", 1.0, partial(isal_zlib.compress, level=2))


def levels() -> tuple[Level, ...]:
    """By libdeflate (extra `deflate`) where it is installed, which packs as well as zlib in a third of the time.

    64 KiB grains on one core in one run: isal 2 358 MB/s at a ratio of 0.507, libdeflate 6 76 at 0.473 and 8 40 at
    0.471, zlib 4 46 at 0.483 and 6 25 at 0.475; zlib's costs lie between that run's and others. isal's level 3 is not
    among them: it saves 1 %, and some data grow.
    """
    try:
        from deflate import zlib_compress  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - an extra
    except ImportError:
        return FAST, Level("zlib 4", 7.5, partial(zlib.compress, level=4)), Level("zlib 6", 13.0, zlib.compress)
    six, eight = (partial(_libdeflate, zlib_compress, level) for level in (6, 8))
    return FAST, Level("libdeflate 6", 4.8, six), Level("libdeflate 8", 9.1, eight)


def _libdeflate(compress: Callable[[Data, int], Data], level: int, data: Data) -> Data:
    return compress(data, level)


LEVELS = levels()

HARD = 0.98
"""Of its size: a grain that keeps more than this when it is compressed is random, for all that deflate can find."""
_SAMPLE = 2048
_STORED_BLOCK = struct.Struct("<BHH")
_MOST_STORED = 0xFFFF


def shrinks(grain: memoryview) -> bool:
    """Whether a sample of the grain, 4 KiB of its 64, gets smaller: a tenth of the time that the grain itself takes."""
    quarter = len(grain) // 4
    sample = bytes(grain[quarter : quarter + _SAMPLE]) + grain[3 * quarter : 3 * quarter + _SAMPLE]
    return len(isal_zlib.compress(sample, level=2)) < HARD * len(sample)


def stored(grain: memoryview) -> bytes:
    """The grain as it is, in zlib's framing (RFC 1950) and deflate's stored blocks (RFC 1951, 3.2.4)."""
    parts: list[Data] = [b"\x78\x01"]
    for at in range(0, len(grain), _MOST_STORED):
        piece = grain[at : at + _MOST_STORED]
        last = at + len(piece) == len(grain)
        parts += _STORED_BLOCK.pack(last, len(piece), len(piece) ^ _MOST_STORED), piece
    return b"".join([*parts, isal_zlib.adler32(grain).to_bytes(4, "big")])


class Effort:
    """Chooses the level. Any thread reads `level` before it encodes; `observe` is the consumer's alone."""

    def __init__(self) -> None:
        self._at = 0
        self._quiet = self._poor = 0
        self._needed = 1
        self._window = FIRST_WINDOW
        self._began: tuple[float, float, int] | None = None
        self._rate = self._rate_before = 0.0

    @property
    def level(self) -> Level:
        return LEVELS[self._at]

    def observe(self, now: float, worked: float, cores: int, read: int) -> None:
        """`now`, `worked` (core seconds spent encoding) and `read` (bytes) from one moment; call it often."""
        if self._began is None:
            self._began = now, worked, read
        seconds = now - self._began[0]
        if seconds < self._window:
            return
        share = (worked - self._began[1]) / (seconds * cores)
        self._rate = (read - self._began[2]) / seconds
        self._began = now, worked, read
        poor = self._at and (share > FALL_ABOVE or self._rate < KEPT * self._rate_before)
        self._poor = self._poor + 1 if poor else 0
        if self._poor >= POOR_WINDOWS:
            self._at -= 1
            self._poor = 0
            self._rate_before = self._rate_before if self._at else 0.0
            self._quiet, self._needed = 0, min(max(QUIET_WINDOWS, 2 * self._needed), _MOST_QUIET_WINDOWS)
            self._window = WINDOW
        elif self._at + 1 < len(LEVELS) and share * LEVELS[self._at + 1].cost / self.level.cost < RISE_BELOW:
            self._quiet += 1
            if self._quiet >= self._needed:
                self._at, self._quiet = self._at + 1, 0
                self._window = WINDOW
                self._rate_before = max(self._rate, self._rate_before)
        else:
            self._quiet, self._window = 0, WINDOW

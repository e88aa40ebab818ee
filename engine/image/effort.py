"""How hard an export compresses: fast while the cores are what holds it up, harder while they wait for something else.

Every level is standard deflate in zlib's framing. The rule looks at the encoding cores only: what they leave idle is
the time that a slow source or a slow target gives away. A level that makes the reading slower all the same is given up.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from isal import isal_zlib

WINDOW = 0.5
"""Seconds over which the cores' busy share is taken."""
RISE_BELOW = 0.7
"""A harder level is tried when the share it would need, as its cost foretells, stays below this."""
FALL_ABOVE = 0.85
KEPT = 0.93
"""Of the source's rate before a harder level: less means that it is paid for in time. Threads that encode do not read,
and a source that is slow because each answer takes long gives less to fewer readers, however idle the cores are."""
QUIET_WINDOWS = 2
"""In a row, before a level is tried; doubled each time that one proved too hard, so that nothing swings."""
_MOST_QUIET_WINDOWS = 64


@dataclass(frozen=True, slots=True)
class Level:
    """`cost` is core time for the same data, relative to the first level's."""

    name: str
    cost: float
    compress: Callable[[bytes | memoryview], bytes]


LEVELS = (
    Level("isal 2", 1.0, partial(isal_zlib.compress, level=2)),
    Level("zlib 4", 7.5, partial(zlib.compress, level=4)),
    Level("zlib 6", 13.0, partial(zlib.compress, level=6)),
)
"""64 KiB grains on one core in one run: 278, 38 and 18 MB/s at ratios 0.516, 0.483 and 0.475; the costs lie between
that run's and those of the project's measurements. isal's level 3 is not among them: it saves 1 %, and some data grow.
"""
FAST = LEVELS[0]


class Effort:
    """Chooses the level. `level` is read by any thread when it begins a unit; `observe` is the consumer's alone.

    A change is judged only when a unit packed at the new level has arrived: units come in order, so by then nearly
    all the measured work was done at it.
    """

    def __init__(self) -> None:
        self._at = 0
        self._quiet = 0
        self._needed = QUIET_WINDOWS
        self._seen = ""
        self._began: tuple[float, float, int] | None = None
        self._rate = self._rate_before = 0.0

    @property
    def level(self) -> Level:
        return LEVELS[self._at]

    def packed(self, level: str) -> None:
        """The name of the level of a unit that has arrived."""
        self._seen = level

    def observe(self, now: float, worked: float, cores: int, read: int) -> None:
        """`now`, `worked` (core seconds spent encoding) and `read` (bytes) from one moment; call it often."""
        if self._seen != self.level.name:
            self._began = None
            return
        if self._began is None:
            self._began = now, worked, read
        seconds = now - self._began[0]
        if seconds < WINDOW:
            return
        share = (worked - self._began[1]) / (seconds * cores)
        self._rate = (read - self._began[2]) / seconds
        self._began = now, worked, read
        if self._at and (share > FALL_ABOVE or self._rate < KEPT * self._rate_before):
            self._at -= 1
            self._rate_before = 0.0
            self._quiet, self._needed = 0, min(2 * self._needed, _MOST_QUIET_WINDOWS)
        elif self._at + 1 < len(LEVELS) and share * LEVELS[self._at + 1].cost / self.level.cost < RISE_BELOW:
            self._quiet += 1
            if self._quiet >= self._needed:
                self._at, self._quiet, self._rate_before = self._at + 1, 0, self._rate
        else:
            self._quiet = 0

"""When the next repaint may go: one live repaint on the line, acknowledged by the terminal itself.

Each repaint ends with DSR 6 (ECMA-48, 8.3.35): the terminal answers where its cursor is, having drawn all before it.
Until then what changes is only noted, so that nothing queues up on a slow line in front of the answer to a key.
"""

import time
from collections.abc import Callable

PATIENCE = 2.0
"""Seconds without an answer after which a repaint goes all the same: doubled each time, up to `LONGEST`."""
LONGEST = 16.0
MUTE_PERIOD = 0.1
"""Seconds between live repaints on a terminal that has never answered."""
KEY_WINDOW = 0.5
"""Seconds after a key, click or paste in which a repaint counts as its answer."""
KEY_FRAMES = 3
"""Repaints that may be unanswered when one more goes as the answer to a key."""


class Pacing:
    """Times are of `clock`, in seconds. Not thread-safe but for `key`, which only stores a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unanswered = 0
        self._sent_at = 0.0
        self._rest_until = 0.0
        self._quickest: float | None = None
        self._patience = PATIENCE
        self._key_at = float("-inf")

    @property
    def mute(self) -> bool:
        """Whether this terminal has let every question so far run into the limit."""
        return self._quickest is None and self._patience > PATIENCE

    def key(self) -> None:
        """The operator has done something and waits for the answer."""
        self._key_at = self._clock()

    def sent(self) -> None:
        """A repaint with its question has gone."""
        self._unanswered += 1
        self._sent_at = self._clock()

    def answered(self) -> None:
        """The terminal has answered. The line then rests as long as the repaint took beyond the shortest answer ever
        seen: half of a slow line stays free, and a key mostly meets an idle one."""
        self._patience = PATIENCE
        if not self._unanswered:
            return
        self._unanswered -= 1
        if self._unanswered:
            return
        took = self._clock() - self._sent_at
        self._quickest = took if self._quickest is None else min(self._quickest, took)
        self._rest_until = self._clock() + min(took - self._quickest, 1.0)

    def clear(self) -> bool:
        """Whether a live repaint may go now."""
        return self.wait() <= 0

    def answers_key(self) -> bool:
        """Whether a repaint made now goes at once as the answer to a key."""
        return self._clock() - self._key_at < KEY_WINDOW and self._unanswered < KEY_FRAMES

    def wait(self) -> float:
        """Seconds until a live repaint may go if the terminal stays silent; 0 or less: now."""
        now = self._clock()
        if not self._unanswered:
            return self._rest_until - now
        return self._sent_at + (MUTE_PERIOD if self.mute else self._patience) - now

    def overdue(self) -> None:
        """The wait is over without an answer, which may have been lost: what was asked no longer counts."""
        if self._unanswered:
            self._unanswered = 0
            self._patience = min(self._patience * 2, LONGEST)

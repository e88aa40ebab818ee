"""Ctrl-C and its relatives: a clean cancel first, patience then, a hard end only on insistence.

The job runs in a thread of its own, so that the signal handlers (which run in the main thread) can never meet a
lock that the job holds.
"""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from engine.cancel import CancelToken

T = TypeVar("T")

_INSISTENCE = 2.0
"""Seconds within which the second and the third Ctrl-C must come to end the program hard."""
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

CANCELLING = "Cancelling: undoing what was done..."
PATIENCE = "Still undoing what was done. Ctrl-C again within two seconds ends it hard and may leave a snapshot behind."
HARD_END = (
    "Ended hard. The backup snapshot _VCB-BACKUP_, an export lease or a partial directory under BACKUPROOT may be "
    "left; the next run of the same VM reports what it finds."
)


class Interrupts:
    """What each further signal does; apart from the signals themselves, so that it can be tested."""

    def __init__(
        self,
        cancel: CancelToken,
        say: Callable[[str], None],
        end_hard: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
        *,
        patience: str = PATIENCE,
        last_word: str = HARD_END,
    ) -> None:
        self._patience, self._last_word = patience, last_word
        self._cancel = cancel
        self._say = say
        self._end_hard = end_hard
        self._clock = clock
        self._last: float | None = None

    def arrived(self, number: int) -> None:
        """SIGTERM and SIGHUP never end hard: nobody is there to have read the warning."""
        if not self._cancel.cancelled:
            self._say(CANCELLING)
            self._cancel.cancel()
            return
        insistent = number == signal.SIGINT and self._insists()
        if insistent:
            self._say(self._last_word)
            self._end_hard()
        else:
            self._say(self._patience)

    def _insists(self) -> bool:
        now, before = self._clock(), self._last
        self._last = now
        return before is not None and now - before <= _INSISTENCE


def run_cancellable(work: Callable[[CancelToken], T], say: Callable[[str], None]) -> T:
    """Runs `work` in a thread until it ends, whatever signals come; returns its value or raises its exception."""
    cancel = CancelToken()
    interrupts = Interrupts(cancel, say, lambda: os._exit(130))
    happenings: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work(cancel))
        except BaseException as error:
            failure.append(error)
        finally:
            happenings.put(None)

    thread = threading.Thread(target=run, name="job", daemon=True)
    with noted_signals(happenings.put):
        thread.start()
        while (number := happenings.get()) is not None:
            interrupts.arrived(number)
        thread.join()
    if failure:
        raise failure[0]
    return result[0]


@contextmanager
def endings_raise() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that what is open is closed
    (the demo's lab, a session). `run_cancellable` puts its own handling in front of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    endings = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in endings}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def noted_signals(put: Callable[[int], None]) -> Iterator[None]:
    """Signals are only noted while the block runs. Outside the main thread (we are embedded) none are taken."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda caught, _frame: put(caught)) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""MAX_RETRIES and BACKOFF_TIME: transient faults are tried again, nothing else is."""

from collections.abc import Callable
from typing import TypeVar

from engine.cancel import CancelToken
from engine.errors import VcbError
from engine.events import Retry
from engine.reporter import Reporter

T = TypeVar("T")


def with_retries(
    operation: Callable[[], T], *, doing: str, retries: int, backoff: float, report: Reporter, cancel: CancelToken
) -> T:
    """Runs `operation` at most `retries` + 1 times, `backoff` seconds apart; each repetition is an event.

    Only errors that say `transient` are repeated: a wrong password or a missing privilege fails at once.
    """
    attempt = 0
    while True:
        cancel.check()
        try:
            return operation()
        except VcbError as error:
            if not error.transient or attempt >= retries:
                raise
            attempt += 1
            report.emit(Retry(attempt=attempt, of=retries, wait=backoff, error=str(error)))
            report.warning(f"{doing}: {error.sentence} Trying again in {backoff:g} s ({attempt} of {retries}).")
            cancel.wait(backoff)

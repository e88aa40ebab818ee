"""A call to vCenter that was sent once and whose answer never came: it was carried out, or not, or still will be."""

import time
from collections.abc import Callable
from typing import TypeVar

from engine.errors import ConnectError, VcbError

T = TypeVar("T")
_LOOK = 0.5


def unanswered(error: BaseException) -> bool:
    """Whether `Session.act` raised it because nobody knows what became of the call."""
    return isinstance(error, ConnectError) and not error.transient


def look_for(look: Callable[[], T | None], error: BaseException, timeout: float) -> T | None:
    """What `look` finds of it. A connection that dropped leaves nothing in between; a server that was silent may act
    late, and is watched for twice `timeout` (seconds, HTTP_TIMEOUT)."""
    until = time.monotonic() + (2 * timeout if silent(error) else 0.0)
    while (found := look()) is None and time.monotonic() < until:
        time.sleep(_LOOK)
    return found


def silent(error: BaseException) -> bool:
    return unanswered(error) and isinstance(error, VcbError) and error.fault == "TimeoutError"

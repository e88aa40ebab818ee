"""The operator's word to stop, seen by every step that can take long."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.errors import Cancelled


class CancelToken:
    """Set once, never unset. Steps either poll it (`check`), sleep on it (`wait`) or register what wakes them."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        """Safe to call from any thread and more than once; runs each registered waker once."""
        with self._lock:
            self._event.set()
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    def check(self) -> None:
        """Raises `Cancelled` when the operator has said stop."""
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleeps, but raises `Cancelled` as soon as the operator says stop."""
        if self._event.wait(seconds):
            raise Cancelled

    @contextmanager
    def on_cancel(self, wake: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a cancel calls `wake` (close a socket, cancel a task) from the cancelling thread."""
        with self._lock:
            already = self._event.is_set()
            if not already:
                self._wakers.append(wake)
        if already:
            raise Cancelled
        try:
            yield
        finally:
            with self._lock:
                if wake in self._wakers:
                    self._wakers.remove(wake)

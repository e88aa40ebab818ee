"""What each connection to the NFC port did; tests and benchmarks read it, the server writes it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace


@dataclass
class ConnectionStatistics:
    """`served` and `written` count disk bytes, not wire bytes; `error` is why it ended, empty for a proper close."""

    number: int
    vm: str = ""
    transport: str = ""
    buffer: int = 0
    paths: list[str] = field(default_factory=list)
    served: int = 0
    written: int = 0
    requests: int = 0
    fragments: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    errors: list[str] = field(default_factory=list)
    error: str = ""
    open: bool = True


class Statistics:
    """All connections since the lab started. Take `snapshot()`; the records inside keep changing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[ConnectionStatistics] = []
        self._changed = threading.Condition(self._lock)

    def begin(self) -> ConnectionStatistics:
        with self._lock:
            record = ConnectionStatistics(len(self._connections) + 1)
            self._connections.append(record)
            return record

    def end(self, record: ConnectionStatistics, error: str) -> None:
        with self._changed:
            record.error = error
            record.open = False
            self._changed.notify_all()

    def snapshot(self) -> list[ConnectionStatistics]:
        with self._lock:
            return [replace(c, paths=list(c.paths), errors=list(c.errors)) for c in self._connections]

    @property
    def open(self) -> int:
        return sum(c.open for c in self.snapshot())

    @property
    def served(self) -> int:
        return sum(c.served for c in self.snapshot())

    def wait_closed(self, timeout: float) -> bool:
        """True when no connection is open any more; False if one still is after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(c.open for c in self._connections), timeout)

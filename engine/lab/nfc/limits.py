"""What the NFC service of one vCenter grants, and who holds how much of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass
class Limits:
    """May be changed while the lab runs; a change holds for what comes next. Sizes in bytes, times in seconds."""

    connections: int = 52
    host_buffers: int = 48 * MIB  # buffer size x count, summed over one host's sessions
    buffer_default: int = 64 * KIB
    buffer_max: int = 2 * MIB
    buffer_count_default: int = 4
    requests_in_flight: int = 64  # per connection; then the server stops reading from it
    reorder_every: int = 4  # each n-th fragment lets its successor go first; 0 = strictly in order
    ticket_lifetime: float = 120.0
    idle: float = 600.0
    refuse_at: str = "PROXY"  # the command that answers 530 for a bad session: PROXY or BANNER


class Budget:
    """A counted resource per owner, given back when its holder is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def take(self, owner: str, amount: int, limit: int) -> bool:
        with self._lock:
            if self._held.get(owner, 0) + amount > limit:
                return False
            self._held[owner] = self._held.get(owner, 0) + amount
            return True

    def give_back(self, owner: str, amount: int) -> None:
        with self._lock:
            self._held[owner] -= amount

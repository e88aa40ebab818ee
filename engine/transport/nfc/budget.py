"""How much NFC one ESXi host is asked to carry at once, over all disks and jobs of this proxy.

VMware's limits: 52 NFC connections, 48 MB of NFC buffers a host (buffer size x count, over all connections), and at
most 16 MiB of buffers a session. Beyond them hosts refuse or stall connections, other programs' too.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import TransportError, VcbError
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from engine.transport.nfc.neighbours import Neighbours, Rows
from engine.transport.nfc.wire import BUFFER_DEFAULT

CONNECTIONS_A_HOST = 52
BUFFER_BYTES_A_HOST = 48_000_000
BUFFER_BYTES_A_SESSION = 16 * 1024 * 1024
_LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Grant:
    """What one connection to `host` may use: `requests` buffers of `buffer` bytes."""

    host: str
    buffer: int
    requests: int

    @property
    def size(self) -> int:
        return self.buffer * self.requests


class Budget:
    """The connections and buffer bytes in use, host by host. Thread-safe. `shared` names the file in which the other
    processes of this proxy tell theirs; without it only this one counts."""

    def __init__(
        self,
        *,
        connections: int = CONNECTIONS_A_HOST,
        buffer_bytes: int = BUFFER_BYTES_A_HOST,
        shared: Callable[[], Path] | None = None,
    ) -> None:
        self._connections, self._buffer_bytes = connections, buffer_bytes
        self._shared = shared
        self._state = threading.Condition()
        self._used: defaultdict[str, list[Grant]] = defaultdict(list)

    def grant(
        self, host: str, buffer: int, requests: int, *, patience: float, report: Reporter, cancel: CancelToken
    ) -> Grant:
        """Room for a first connection: less than asked where the host's budget is short, rather than none.

        Waits up to `patience` seconds for others to finish. Raises TransportError (transient) after that, Cancelled.
        """
        deadline, told = time.monotonic() + patience, False
        while True:
            found = self.offer(host, buffer, requests, at_least=min(BUFFER_DEFAULT, buffer))
            if found:
                return found
            if not told:
                report.step(f"Waiting for room: {self._occupation(host)}")
                told = True
            with self._state:
                left = deadline - time.monotonic()
                if left > 0:
                    self._state.wait(min(left, _LOOK_AGAIN_SECONDS))
            cancel.check()
            if left <= 0:
                raise TransportError(
                    f"No room for another NFC connection within {patience:g} seconds: {self._occupation(host)}.",
                    fault="NfcBudget",
                    hint="Run fewer disks of one host at once, or lower NFC_CONNECTIONS, NFC_BUFFER or NFC_REQUESTS.",
                    transient=True,
                )

    def offer(self, host: str, buffer: int, requests: int, *, at_least: int = 0) -> Grant | None:
        """Room now, or None. Below the wish it gives fewer requests, then the default buffer; never under `at_least`
        bytes (0: the wish or nothing)."""
        requests = max(1, min(requests, BUFFER_BYTES_A_SESSION // buffer))
        with self._state, self._neighbours() as others:
            used = [grant.size for grant in self._used[host]] + others.of(host)
            room = self._buffer_bytes - sum(used)
            if len(used) >= self._connections or room < (at_least or buffer * requests):
                return None
            if room < buffer:
                buffer = BUFFER_DEFAULT
            grant = Grant(host, buffer, min(requests, room // buffer))
            self._used[host].append(grant)
            others.mine(self._sizes())
            return grant

    def release(self, grant: Grant) -> None:
        with self._state, self._neighbours() as others:
            self._used[grant.host].remove(grant)
            others.mine(self._sizes())
            self._state.notify_all()

    def _occupation(self, host: str) -> str:
        with self._state, self._neighbours() as others:
            used = [grant.size for grant in self._used[host]] + others.of(host)
        return (
            f"{host} carries {len(used)} of {self._connections} connections and "
            f"{sum(used) / 1e6:.1f} of {self._buffer_bytes / 1e6:.1f} MB of buffers"
        )

    def _sizes(self) -> dict[str, list[int]]:
        return {host: [grant.size for grant in grants] for host, grants in self._used.items()}

    @contextmanager
    def _neighbours(self) -> Iterator[Rows]:
        if self._shared is None:
            yield Rows({}, "")
            return
        with ExitStack() as held:
            try:
                rows = held.enter_context(Neighbours(self._shared()).held())
            except (OSError, VcbError):  # the state directory itself: what is taken must still be given back here
                rows = Rows({}, "")
            yield rows


HOSTS = Budget(shared=lambda: StateDirectory.default().locks / "nfc-budget.json")
"""The budget of this proxy: a host's limits hold for all its jobs together."""

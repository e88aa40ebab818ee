"""The NFC connections of one disk: as many as its readers keep busy, and a new one for each that drops.

Every connection costs a ticket of its own (single use), a place in the host's budget, and opens the disk itself.
A replacement is tried a few times, and each time is reported.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from engine.cancel import CancelToken
from engine.errors import ConnectError, ConnectionLost, TransportError, VcbError
from engine.events import Retry
from engine.reporter import Reporter
from engine.transport.nfc import authd
from engine.transport.nfc.authd import Ticket
from engine.transport.nfc.budget import Budget, Grant
from engine.transport.nfc.session import BufferRefused, Session
from engine.transport.nfc.wire import BUFFER_DEFAULT
from engine.transport.tcp import SocketGuard

T = TypeVar("T")

_TICKET_SECONDS = 10.0
"""A ticket that waited longer for a place in the budget is not used: how long tickets live is not published."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds and times. `timeout` ends every wait for the host; a dropped connection is replaced in at most `attempts`
    attempts, the first after `backoff` seconds, each further one after twice as long; `room` is how long a place in
    the host's budget is waited for."""

    timeout: float = 60.0
    attempts: int = 4
    backoff: float = 0.5
    room: float = 300.0


@dataclass(slots=True)
class Wish:
    """What the disk asks for; lowered when the host does not give it."""

    connections: int
    buffer: int
    requests: int


@dataclass(slots=True, eq=False)
class _Slot:
    """One of the disk's connections; `lock` is held while it is being made or replaced. Once `retired` it never has one
    again."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    session: Session | None = None
    grant: Grant | None = None
    readers: int = 0
    retired: bool = False


class Connections:
    """The first is opened at once, the others when several threads read. Thread-safe."""

    def __init__(
        self,
        ticket_factory: Callable[[], Ticket],
        path: str,
        *,
        encrypted: bool,
        writable: bool,
        wish: Wish,
        patience: Patience,
        report: Reporter,
        cancel: CancelToken,
        budget: Budget,
    ) -> None:
        self._ticket_factory, self._path = ticket_factory, path
        self._encrypted, self._writable = encrypted, writable
        self._wish, self._patience = wish, patience
        self._report, self._cancel, self._budget = report, cancel, budget
        self._lock = threading.Lock()
        self._closed = False
        self._guards: set[SocketGuard] = set()
        self._slots = [_Slot()]
        self.capacity = 0
        self._registration = ExitStack()
        self._registration.enter_context(cancel.on_cancel(self._cut))
        try:
            with self._slots[0].lock:
                self.capacity = self._connect(self._slots[0]).file.capacity
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """How many are open."""
        with self._lock:
            return sum(slot.session is not None for slot in self._slots)

    def close(self) -> None:
        """Ends all of them; what other threads do on them fails. Safe twice."""
        with self._lock:
            self._closed = True
            slots, self._slots = self._slots, []
            idle = not any(slot.readers for slot in slots)
        self._registration.close()
        if not idle:
            self._cut()
        for slot in slots:
            self._retire(slot)

    def use(self, work: Callable[[Session], T]) -> T:
        """The result of `work` on the least busy connection, and again on a new one when that drops under it."""
        slot, session = self._acquire()
        drops = 0
        try:
            while True:
                try:
                    return work(session)
                except ConnectionLost as error:
                    self._check_open()
                    drops += 1
                    if drops == self._patience.attempts:
                        raise
                    session = self._replace(slot, session, error)
        finally:
            self._leave(slot)

    def _acquire(self) -> tuple[_Slot, Session]:
        """A connection and its place. An additional one that cannot be made is done without."""
        slot = self._take_slot()
        try:
            with slot.lock:
                return slot, slot.session or self._connect(slot)
        except (ConnectError, TransportError) as error:
            self._leave(slot)
            if not self._do_without(slot, error):
                raise
        except BaseException:
            self._leave(slot)
            raise
        return self._acquire()

    def _take_slot(self) -> _Slot:
        """The connection with the fewest readers; one more is begun while all are busy and the limits allow it."""
        self._check_open()
        with self._lock:
            if not self._slots:
                raise TransportError(f"{self._path} is closed.")
            slot = min(self._slots, key=lambda each: each.readers)
            if slot.readers and len(self._slots) < self._wish.connections and slot.grant is not None:
                grant = self._budget.offer(slot.grant.host, self._wish.buffer, self._wish.requests)
                if grant is not None:
                    slot = _Slot(grant=grant)
                    self._slots.append(slot)
            slot.readers += 1
            return slot

    def _leave(self, slot: _Slot) -> None:
        with self._lock:
            slot.readers -= 1

    def _do_without(self, slot: _Slot, error: VcbError) -> bool:
        """Gives up the place `slot` if others are left, and asks for no more. False when it is the last."""
        self._check_open()
        with self._lock:
            if slot not in self._slots:
                return True  # another thread has told so
            if len(self._slots) == 1:
                return False
            self._slots.remove(slot)
            self._wish.connections = left = len(self._slots)
        self._retire(slot)
        self._report.warning(
            f"{self._path}: no further NFC connection to the host; going on with {left}. {error.sentence}",
            fault=error.fault,
        )
        return True

    def _replace(self, slot: _Slot, broken: Session, error: VcbError) -> Session:
        """A new connection instead of `broken`, unless another thread has already made it."""
        with slot.lock:
            if slot.session is not None and slot.session is not broken:
                return slot.session
            self._drop(slot)
            for attempt in range(1, self._patience.attempts + 1):
                self._back_off(attempt, error)
                try:
                    session = self._connect(slot)
                except VcbError as failure:
                    self._check_open()
                    if not failure.transient:
                        raise
                    error = failure
                else:
                    self._report.step(f"{self._path}: it goes on over a new NFC connection")
                    return session
            raise error

    def _back_off(self, attempt: int, error: VcbError) -> None:
        wait = self._patience.backoff * 2 ** (attempt - 1)
        self._report.emit(Retry(attempt=attempt, of=self._patience.attempts, wait=wait, error=str(error)))
        self._report.warning(f"{self._path}: {error.sentence} A new connection in {wait:g} s.", fault=error.fault)
        self._cancel.wait(wait)

    def _connect(self, slot: _Slot) -> Session:
        """Called with the slot's lock. A server that refuses the buffer size is asked again for the default one."""
        if slot.retired:
            raise TransportError(f"{self._path}: this NFC connection is closed.")
        try:
            return self._connect_once(slot)
        except BufferRefused as refusal:
            if slot.grant is None or slot.grant.buffer == BUFFER_DEFAULT:
                raise
            self._report.step(f"{refusal.sentence} Going on with buffers of {BUFFER_DEFAULT} bytes.")
            self._wish.buffer = BUFFER_DEFAULT
            self._give_back(slot)
            return self._connect_once(slot)

    def _connect_once(self, slot: _Slot) -> Session:
        ticket, began = self._ticket_factory(), time.monotonic()
        grant = self._grant(slot, ticket.host)
        if time.monotonic() - began > _TICKET_SECONDS:
            ticket = self._ticket_factory()
        guard = SocketGuard()
        with self._lock:
            self._guards.add(guard)
        try:
            self._check_open()
            stream = authd.connect(
                ticket, encrypted=self._encrypted, timeout=self._patience.timeout, guard=guard, report=self._report
            )
            session = Session.open(
                stream,
                guard,
                self._path,
                writable=self._writable,
                requests=grant.requests,
                buffer=grant.buffer,
                report=self._report,
            )
            self._check_same_disk(session)
        except BaseException:
            self._forget(guard)
            self._check_open()
            raise
        slot.session = session
        return session

    def _grant(self, slot: _Slot, host: str) -> Grant:
        """The slot's place in the budget of `host`; the host may be another one after a migration."""
        if slot.grant is not None and slot.grant.host != host:
            self._give_back(slot)
        if slot.grant is None:
            slot.grant = self._budget.grant(
                host,
                self._wish.buffer,
                self._wish.requests,
                patience=self._patience.room,
                report=self._report,
                cancel=self._cancel,
            )
        return slot.grant

    def _give_back(self, slot: _Slot) -> None:
        if slot.grant is not None:
            self._budget.release(slot.grant)
            slot.grant = None

    def _retire(self, slot: _Slot) -> None:
        with slot.lock:
            slot.retired = True
            try:
                self._drop(slot)
            finally:
                self._give_back(slot)

    def _drop(self, slot: _Slot) -> None:
        if slot.session is not None:
            slot.session.close()
            self._forget(slot.session.guard)
            slot.session = None

    def _forget(self, guard: SocketGuard) -> None:
        guard.close()
        with self._lock:
            self._guards.discard(guard)

    def _check_same_disk(self, session: Session) -> None:
        if self.capacity and session.file.capacity != self.capacity:
            raise TransportError(
                f"{self._path} has {session.file.capacity} bytes and had {self.capacity}: this is not the same disk."
            )

    def _check_open(self) -> None:
        self._cancel.check()
        if self._closed:
            raise TransportError(f"{self._path} is closed.")

    def _cut(self) -> None:
        with self._lock:
            guards, self._guards = self._guards, set()
        for guard in guards:
            guard.cut()

"""Brings what the inventory worker says into the model, and one word of it to the screen ten times a second at most."""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Sequence

import msgspec

from engine.config.options import Settings
from engine.errors import VcbError
from engine.jobs import plain_settings
from engine.jobs.inventory_process import InventoryProcess
from engine.jobs.inventory_rows import Asked, Planned, Status, Trouble, decode
from engine.state_directory import StateDirectory
from tui.models.inventory import Change, InventoryModel

_TICK = 0.1
_PIECE = 1 << 16


class InventoryFeed:
    """Lives in the console's event loop. `changed` is called with what became different since the last call,
    through `when_clear` (tui.wire.display): on a busy line not before it is free."""

    def __init__(
        self,
        model: InventoryModel,
        changed: Callable[[Change], None],
        when_clear: Callable[[Callable[[], None]], None] = lambda repaint: repaint(),
    ) -> None:
        self._model, self._changed, self._when_clear = model, changed, when_clear
        self._process: InventoryProcess | None = None
        self._rest = b""
        self._pending: Change | None = None
        self._numbers = itertools.count(1)
        self._plans: dict[int, asyncio.Future[Planned]] = {}

    def start(self, settings: Settings) -> None:
        """Starts a worker with these settings, in place of one that runs."""
        self.stop()
        self._take(Status(state="connecting", since=time.time(), host=settings.HOST or ""))
        try:
            self._process = InventoryProcess(settings, StateDirectory.default().root / "inventory.err")
        except VcbError as error:
            self._take(Status(state="refused", since=time.time(), trouble=Trouble.of(error)))
            return
        descriptor = self._process.output.fileno()
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._readable)

    def stop(self) -> None:
        """Lets the worker go; it logs out by itself. Safe twice."""
        process, self._process, self._rest = self._process, None, b""
        for waiting in self._plans.values():
            waiting.cancel()
        self._plans.clear()
        if process is not None:
            asyncio.get_running_loop().remove_reader(process.output.fileno())
            process.close()

    def reconnect(self) -> None:
        """The operator's word to try again."""
        if self._process is not None:
            self._process.ask(Asked(do="reconnect"))

    def look_at_points(self) -> None:
        """A job ended: its restore point is worth a look at once."""
        if self._process is not None:
            self._process.ask(Asked(do="points"))

    async def plan(self, specs: Sequence[str], settings: Settings) -> Planned:
        """What a backup with these settings would do. Raises VcbError when no worker runs."""
        if self._process is None:
            raise VcbError("There is no connection to vCenter, and no plan without one.")
        number = next(self._numbers)
        answer = self._plans[number] = asyncio.get_running_loop().create_future()
        plain = plain_settings.to_plain(settings)
        self._process.ask(Asked(do="plan", request=number, specs=tuple(specs), settings=plain))
        try:
            return await answer
        finally:
            self._plans.pop(number, None)

    def _readable(self) -> None:
        """One piece, and at most one message: a key press never waits for more."""
        assert self._process is not None
        try:
            piece = os.read(self._process.output.fileno(), _PIECE)
        except BlockingIOError:
            return
        if not piece:
            self._ended()
            return
        self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            try:
                message = decode(line)
            except msgspec.MsgspecError:
                continue  # a newer worker's word
            if isinstance(message, Planned):
                self._answer(message)
            else:
                self._take(message)

    def _answer(self, message: Planned) -> None:
        waiting = self._plans.get(message.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _ended(self) -> None:
        process = self._process
        self.stop()
        words = process.last_words() if process else ""
        trouble = Trouble(code="worker", sentence="The inventory worker has ended.", fault=words)
        known = msgspec.structs.replace(self._model.status, state="refused", since=time.time(), trouble=trouble)
        self._take(known)

    def _take(self, message: object) -> None:
        change = self._model.apply(message)  # type: ignore[arg-type]
        if self._pending is None:
            self._pending = change
            asyncio.get_running_loop().call_later(_TICK, self._when_clear, self._tick)
        else:
            self._pending.shape |= change.shape
            self._pending.status |= change.status
            self._pending.slots |= change.slots

    def _tick(self) -> None:
        change, self._pending = self._pending, None
        if change is not None:
            self._changed(change)

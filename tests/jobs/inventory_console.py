"""A console without a screen, for tests of the inventory worker."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from engine.config.options import Settings
from engine.jobs.inventory_follower import Follower
from engine.jobs.inventory_rows import MachineRow, Planned, Points, Row, Rows, Status, VmPoints
from engine.reporter import silent

WITHIN = 30.0


class Console:
    """What a console would know by now, and every status that it was told."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.statuses: list[Status] = []
        self.points: dict[str, VmPoints] = {}
        self.plans: list[Planned] = []
        self.messages = 0
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hear(self, message: Any) -> None:
        self._queue.put(message)

    def until(self, true: Callable[[], Any]) -> Any:
        """Takes messages in until `true` holds."""
        end = time.monotonic() + WITHIN
        while not (found := true()):
            try:
                self._take(self._queue.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"it never happened; the last status: {self.statuses[-1:]}") from None
        return found

    def _take(self, message: Any) -> None:
        self.messages += 1
        match message:
            case Rows():
                self.rows |= {row.id: row for row in message.rows}
                for gone in message.gone:
                    self.rows.pop(gone, None)
            case Status():
                self.statuses.append(message)
            case Points():
                self.points |= {vm.vm: vm for vm in message.vms}
            case Planned():
                self.plans.append(message)

    def vm(self, name: str) -> MachineRow | None:
        return next((row for row in self.rows.values() if isinstance(row, MachineRow) and row.name == name), None)

    @property
    def state(self) -> str:
        return self.statuses[-1].state if self.statuses else ""


def follower(settings: Settings, console: Console) -> Follower:
    made = Follower(settings, "proxy", console.hear, silent(), pauses=(0.05,))
    threading.Thread(target=made.run, daemon=True).start()
    return made

"""Changed-block tracking of one disk: true epochs, cut at every snapshot, as the change ids name them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from engine.lab.bitmap import BlockMap


class ForeignChangeId(Exception):
    """The change id was not given by this disk's tracking, or lies after the end asked for."""


def new_identity() -> str:
    """The UUID part of a change id, in VMware's spelling: "52 d0 1c 5f 8a 33 9b 01-7e 21 ..."."""
    digits = uuid.uuid4().hex
    pairs = [digits[i : i + 2] for i in range(0, 32, 2)]
    return " ".join(pairs[:8]) + "-" + " ".join(pairs[8:])


@dataclass
class ChangeTracking:
    """Blocks written per epoch. Epoch n ends at the stun that gave the change id `<identity>/n`."""

    identity: str = field(default_factory=new_identity)
    epoch: int = 1
    epochs: dict[int, BlockMap] = field(default_factory=dict)

    def mark(self, first: int, stop: int) -> None:
        """The blocks first..stop-1 were written."""
        self.epochs.setdefault(self.epoch, BlockMap()).add(first, stop)

    def cut(self) -> str:
        """End the epoch; the change id of this moment."""
        change_id = f"{self.identity}/{self.epoch}"
        self.epoch += 1
        return change_id

    @property
    def last_change_id(self) -> str:
        """The change id of the last cut: what is written later is never missed by a query that starts here."""
        return f"{self.identity}/{self.epoch - 1}"

    def number(self, change_id: str) -> int:
        """Epoch of a change id; ForeignChangeId if it is not one of ours."""
        identity, slash, number = change_id.rpartition("/")
        if not slash or identity != self.identity or not number.isdigit() or int(number) > self.epoch:
            raise ForeignChangeId(change_id)
        return int(number)

    def changed(self, since: str, until: str | None) -> BlockMap:
        """Blocks written after change id `since`, up to `until` (None: up to now)."""
        begin, end = self.number(since), self.epoch if until is None else self.number(until)
        if begin > end:
            raise ForeignChangeId(since)
        blocks = BlockMap()
        for epoch, written in self.epochs.items():
            if begin < epoch <= end:
                blocks.update(written)
        return blocks

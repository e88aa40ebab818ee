"""Keeps what is edited and not saved, in a thread: no key waits for a disk, and a console that is killed loses at most
the last few of them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import VcbError

if TYPE_CHECKING:
    from engine.config.draft import Drafts

_PAUSE = 0.1
"""Seconds between two writes of what is typed."""


class _Wanted(NamedTuple):
    drafts: "Drafts"
    base: bytes
    mine: bytes
    exists: bool


class DraftKeeper:
    """`failed` is called from the keeper's thread."""

    def __init__(self, failed: Callable[[VcbError], object]) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._wanted: dict[Path, _Wanted] = {}
        self._writing = False
        self._hurry = False
        self._thread: threading.Thread | None = None

    def keep(self, drafts: "Drafts", base: bytes, mine: bytes, *, exists: bool) -> None:
        """Keeps `mine` as the draft over `base`, soon; see `Drafts.keep`."""
        with self._changed:
            self._wanted[drafts.real] = _Wanted(drafts, base, mine, exists)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="drafts", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = 3.0) -> bool:
        """Waits until all is written; False when that takes longer, as on a file server that is away."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._wanted and not self._writing, seconds)

    def _run(self) -> None:
        while wanted := self._take():
            for each in wanted:
                try:
                    each.drafts.keep(each.base, each.mine, exists=each.exists)
                except VcbError as error:
                    self._failed(error)
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._hurry, _PAUSE)

    def _take(self) -> list[_Wanted]:
        """What is to be written now. When that is nothing, the thread ends: a waiting one would hold the console."""
        with self._changed:
            wanted, self._wanted = list(self._wanted.values()), {}
            self._writing = bool(wanted)
            if not wanted:
                self._thread = None
            return wanted

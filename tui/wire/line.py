"""The screen's model, the encoder and the pacing as one: repaints in, bytes out when it is their time."""

from collections.abc import Callable, Iterable

from textual._compositor import CompositorUpdate

from tui.wire.abilities import Abilities
from tui.wire.cells import Cells, strips_of
from tui.wire.encoder import Encoder
from tui.wire.pacing import Pacing
from tui.wire.pens import Pens

ASK = "\x1b[6n"
SYNC_START, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_TEARS_FROM = 512
"""Bytes from which a repaint is bracketed as one (mode 2026): a smaller one arrives as one anyway."""


class Line:
    """`send` takes the bytes of a repaint; `drained` tells whether all of them have left the process."""

    def __init__(
        self,
        abilities: Abilities,
        pacing: Pacing,
        send: Callable[[str], None],
        drained: Callable[[], bool] = lambda: True,
    ) -> None:
        self._abilities = abilities
        self._pens = Pens(abilities)
        self._encoder = Encoder(self._pens, abilities)
        self._send = send
        self._drained = drained
        self._wanted = Cells(0, 0)
        self._shown = Cells(0, 0)
        self._held: set[int] = set()
        self._cursor: tuple[int, int] | None = None
        self.pacing = pacing
        self.synchronized = False

    @property
    def size(self) -> tuple[int, int]:
        return self._wanted.width, self._wanted.height

    @property
    def holds(self) -> bool:
        """Whether there are repaints that wait for their time."""
        return bool(self._held)

    def resize(self, width: int, height: int) -> None:
        """A screen of another size, about which nothing is known; a whole repaint has to follow."""
        self._wanted, self._shown = Cells(width, height), Cells(width, height)
        self._held.clear()
        self._encoder.forget()

    def forget(self) -> None:
        """Another program may have drawn on the terminal, or it was resized: all is to be sent again."""
        self._shown.forget()
        self._encoder.forget()
        self._held.update(range(self._shown.height))

    def paint(self, update: CompositorUpdate, cursor: tuple[int, int] | None) -> None:
        """Takes a repaint into the model, and sends what it changes if its time has come. The answer to a key sends no
        more than its own rows: what else is held waits for its own time."""
        rows = {y for x, y, strip in self._put(update)}
        self._cursor = cursor
        self._held |= rows
        if self._free():
            self.flush()
        elif self.pacing.answers_key():
            self._show(rows)

    def flush(self) -> None:
        """Sends all that is held, whatever the line does."""
        if self.pacing.wait() <= 0:
            self.pacing.overdue()
        self._show(self._held)

    def due(self) -> bool:
        """Whether something is held and may go."""
        return bool(self._held) and self._free()

    def clear(self) -> bool:
        """Whether a live repaint made now would be sent now."""
        return not self._held and self._free()

    def _free(self) -> bool:
        return self.pacing.clear() and self._drained()

    def _put(self, update: CompositorUpdate) -> Iterable[tuple[int, int, object]]:
        for x, y, strip in strips_of(update):
            if y < self._wanted.height:
                self._wanted.put(x, y, strip, self._pens, self._abilities.charset)
                yield x, y, strip

    def _show(self, rows: set[int]) -> None:
        data = self._encoder.encode(self._shown, self._wanted, rows, self._cursor)
        self._held = self._held - rows
        if not data:
            return
        if self.synchronized and len(data) >= _TEARS_FROM:
            data = f"{SYNC_START}{data}{SYNC_END}"
        self.pacing.sent()
        self._send(data + ASK)

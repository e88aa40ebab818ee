"""What of a job's log is on the screen: a few lines around a cursor, whatever the length of the log.

Every act is done in slices: `advance` works on what was asked last for a few milliseconds and says whether there is
more to do. What is found meanwhile is shown meanwhile.
"""

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from tui.models.journal_index import EVERYTHING, LAST, Filter, Glance, JournalIndex
from tui.models.journal_pages import Line

_Work = Iterator[None]


class LogWindow:
    """`rows` are consecutive lines of the log as far as `shown` lets them through, `top` the first one on the screen,
    `cursor` the number of the line the operator is at. Following, the window stays at the end of the log; else it
    stands still and counts in `behind` what has come."""

    def __init__(self, index: JournalIndex, shown: Filter = EVERYTHING, height: int = 20) -> None:
        self.index = index
        self.shown = shown
        self.height = height
        self.rows: list[Line] = []
        self.top = 0
        self.cursor = 0
        self.mark: int | None = None
        self.following = True
        self.behind = 0
        self.sought_to = 0
        """The number that a search has come to; 0 when none is under way."""
        self.not_found = False
        self._at_end = True
        self._seen = (0, 0)
        self._counted = (0, 0)
        self._work: _Work | None = None
        self._news: _Work | None = None
        self._grown = False

    @property
    def visible(self) -> list[Line]:
        return self.rows[self.top : self.top + self.height]

    @property
    def busy(self) -> bool:
        return self._grown or self._work is not None or self._news is not None

    @property
    def selection(self) -> tuple[int, int] | None:
        """The lowest and the highest number of the marked range."""
        return None if self.mark is None else (min(self.mark, self.cursor), max(self.mark, self.cursor))

    def advance(self, seconds: float = 0.008, clock: Callable[[], float] = time.monotonic) -> bool:
        """Works for about this long, at least one page; whether there is more to do."""
        end = clock() + seconds
        while self.busy:
            if self._work is not None:
                self._work = None if next(self._work, self) is self else self._work
            elif self._news is None:
                self._grown, self._news = False, self._followed() if self.following else self._counting()
            else:
                self._news = None if next(self._news, self) is self else self._news
            if clock() >= end:
                break
        return self.busy

    # What the operator does

    def follow(self) -> None:
        """To the end of the log, and stay there."""
        self.following, self.behind, self.mark = True, 0, None
        self._begin(self._tail())

    def freeze(self) -> None:
        if self.following:
            self.following, self.behind = False, 0
            self._counted = self._seen

    def move(self, lines: int) -> None:
        """The cursor by so many lines; the window goes with it where it must."""
        if self.following and lines >= 0:
            return
        self.freeze()
        self._begin(self._moved(lines, with_window=False))

    def scroll(self, lines: int) -> None:
        """Window and cursor by so many lines."""
        if self.following and lines >= 0:
            return
        self.freeze()
        self._begin(self._moved(lines, with_window=True))

    def home(self) -> None:
        """To the first line."""
        self.freeze()
        self._begin(self._around(0))

    def show(self, seq: int) -> None:
        """To the line of this number, or the next one that is shown."""
        self.freeze()
        self._begin(self._around(seq))

    def point(self, row: int) -> None:
        """The cursor to a line on the screen, counted from 0."""
        if 0 <= row < len(self.visible):
            self.freeze()
            self.cursor = self.visible[row].seq

    def resize(self, height: int) -> None:
        if height != self.height:
            self.height = height
            self._begin(self._tail() if self.following else self._settled())

    def filter(self, shown: Filter) -> None:
        """Other lines from now on; the cursor stays where it is, or as near as can be."""
        if shown != self.shown:
            self.shown = shown
            self._begin(self._tail() if self.following else self._around(self.cursor))

    def find(self, sought: Filter, *, backward: bool) -> None:
        """The cursor to the next line that `sought` accepts, among those that are shown or would be without folds."""
        self._begin(self._found(sought, backward=backward))

    def stop(self) -> None:
        """No longer looks for what was asked."""
        self._work, self.sought_to = None, 0

    def grow(self) -> None:
        """Takes in what was written since the last call: the index has looked."""
        self._grown = True

    # How it is done, in slices

    def _begin(self, work: _Work) -> None:
        self.sought_to, self.not_found = 0, False
        self._grown = self._grown or self._news is not None
        self._work, self._news = work, None

    def _tail(self) -> _Work:
        self.rows, self.top, self._at_end = [], 0, True
        self._seen = self.index.newest()
        found: list[Line] = []
        for line in self.index.backward(LAST, self.shown):
            if line is not None:
                found.append(line)
                self.rows = found[::-1]
                self._to_end()
            if len(found) >= self.height:
                break
            if line is None:
                yield
        self._to_end()

    def _followed(self) -> _Work:
        """Only what is new, from the end backward, until the window is full of it."""
        newest = self.index.newest()
        fresh: list[Line] = []
        for line in self.index.backward(LAST, self.shown, self._seen):
            if line is not None:
                fresh.append(line)
            if len(fresh) >= self.height:
                break
            if line is None:
                yield
        self._insert(reversed(fresh))
        self._seen = newest
        self._to_end()

    def _insert(self, lines: Iterable[Line]) -> None:
        """A line of the trace may belong before one of the journal that is there already."""
        known = {row.seq for row in self.rows}
        for line in lines:
            if line.seq not in known:
                insort(self.rows, line)

    def _to_end(self) -> None:
        if self.following:
            self.rows = self.rows[-self.height :]
            self.top = 0
            self.cursor = self.rows[-1].seq if self.rows else 0

    def _counting(self) -> _Work:
        """Counts what came, and fills a window that had room left."""
        newest, count = self.index.newest(), 0
        room = self.top + self.height - len(self.rows) if self._at_end else 0
        fresh: list[Line] = []
        for line in self.index.forward(self._counted, self.shown):
            if line is None:
                yield
                continue
            count += 1
            if len(fresh) < room:
                fresh.append(line)
        self._insert(fresh)
        self._at_end = self._at_end and len(fresh) == count
        self.behind += count
        self._counted = newest

    def _moved(self, lines: int, *, with_window: bool) -> _Work:
        if not self.rows:  # the end was asked for, and the next key came before any of it was found
            yield from self._tail()
            self.cursor, self._counted = max(self._seen), self._seen
        at = self._row_of(self.cursor)
        yield from self._older(max(0, -((self.top if with_window else at) + lines)))
        at = self._row_of(self.cursor)
        yield from self._newer(max(0, at + lines + (self.height if with_window else 1) - len(self.rows)))
        if not self.rows:
            return
        if with_window:
            top = max(0, min(self.top + lines, len(self.rows) - self.height))
            moved = top - self.top
            at, self.top = at + (moved or lines), top
        else:
            at += lines
        self.cursor = self.rows[max(0, min(at, len(self.rows) - 1))].seq
        yield from self._settled()

    def _around(self, seq: int) -> _Work:
        """The line of this number in the middle, or the nearest that is shown."""
        self.rows, self.top, self._at_end = [], 0, False
        self.cursor = seq
        yield from self._newer(self.height - self.height // 2, after=max(0, seq - 1))
        if self.rows:
            self.cursor = self.rows[0].seq
        yield from self._older(self.height // 2, before=seq)
        yield from self._settled()

    def _settled(self) -> _Work:
        """The cursor within the window, the window full as far as there are lines, no row kept that is not in it."""
        at = self._row_of(self.cursor)
        self.top = max(0, min(max(self.top, at - self.height + 1), at))
        yield from self._newer(self.top + self.height - len(self.rows))
        yield from self._older(self.height - len(self.rows))
        self.top = max(0, min(self.top, len(self.rows) - self.height))
        if len(self.rows) > self.top + self.height:
            self._at_end = False
        self.rows = self.visible
        self.top = 0
        if self.rows:
            self.cursor = self.rows[self._row_of(self.cursor)].seq

    def _older(self, count: int, *, before: int | None = None) -> _Work:
        if count <= 0:
            return
        first = before if before is not None else (self.rows[0].seq if self.rows else self.cursor)
        for line in self.index.backward(first, self.shown):
            if line is None:
                yield
                continue
            self.rows.insert(0, line)
            self.top += 1
            count -= 1
            if not count:
                return

    def _newer(self, count: int, *, after: int | None = None) -> _Work:
        if count <= 0 or self._at_end:
            return
        last = after if after is not None else (self.rows[-1].seq if self.rows else self.cursor)
        for line in self.index.forward((last, last), self.shown):
            if line is None:
                yield
                continue
            self.rows.append(line)
            count -= 1
            if not count:
                return
        self._at_end = True

    def _found(self, sought: Filter, *, backward: bool) -> _Work:
        start = self.cursor
        walk = self.index.backward(start, sought) if backward else self.index.forward((start, start), sought)
        self.sought_to = max(1, start)
        for line in walk:
            if line is not None and self._reachable(line):
                self.freeze()
                self.sought_to = 0
                yield from self._reveal(line)
                return
            self.sought_to = line.seq if line else self.sought_to
            yield
        self.sought_to, self.not_found = 0, True

    def _reachable(self, line: Line) -> bool:
        return replace(self.shown, folds=frozenset(), fold_all=False).accepts(line)

    def _reveal(self, line: Line) -> _Work:
        """The cursor to a line that may lie in a folded stage: that one is unfolded."""
        if not self.shown.accepts(line) and (seen := Glance.at(line.data)):
            self.shown = replace(self.shown, folds=self.shown.folds ^ {(seen.part, seen.stage)})
            self.rows = []
        if any(row.seq == line.seq for row in self.rows):
            self.cursor = line.seq
            yield from self._settled()
        else:
            yield from self._around(line.seq)

    def _row_of(self, seq: int) -> int:
        """The row of the line of this number, or of the first one after it."""
        return max(0, min(bisect_left(self.rows, seq, key=lambda row: row.seq), len(self.rows) - 1))

"""The threads of an export: they read units, find zeros and encode; one consumer takes the results in order."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from engine.extents import DiskSource, Extent
from engine.image.units import PackedUnit, Unit, UnitEncoder, new_buffer, pieces, units_of

READ_AHEAD = 2
"""Threads beyond the encoding ones, so that reads are on their way while all cores encode."""
SPARE_UNITS = 2
"""Packed units beyond one a thread, so that a slow unit does not stop the others at once."""
TICK = 0.1


class _Meter:
    """One thread's own counters: nobody else writes them, so they need no lock."""

    def __init__(self) -> None:
        self.read = 0
        self.zero = 0
        self.read_seconds = 0.0
        self.encode_seconds = 0.0


class Crew:
    """`threads` encoding threads and two that read ahead, over one source.

    At most threads + 4 packed units exist (each at most 33 MiB, filled as far as its data needs), and 2 MiB of read
    buffer a thread; a unit is begun only when there is a buffer for its result, so a slow consumer stops the reading.
    Use as a context manager: on leaving, all threads have ended (each after the read it is in).
    """

    def __init__(
        self, source: DiskSource, new_encoder: Callable[[], UnitEncoder], extents: Sequence[Extent], threads: int
    ) -> None:
        self._source = source
        self._new_encoder = new_encoder
        self._units = units_of(extents)
        self._cores = threads
        self._encoding = threading.BoundedSemaphore(threads)
        self._changed = threading.Condition()
        self._buffers: list[memoryview | None] = [None] * (threads + READ_AHEAD + SPARE_UNITS)
        self._begun = 0
        self._total: int | None = None
        self._done: dict[int, tuple[PackedUnit, memoryview]] = {}
        self._error: BaseException | None = None
        self._stopping = False
        self._meters = [_Meter() for _ in range(threads + READ_AHEAD)]
        self._threads = [
            threading.Thread(target=self._work, args=(meter,), name=f"image-unit-{number}", daemon=True)
            for number, meter in enumerate(self._meters)
        ]

    def __enter__(self) -> "Crew":
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self.halt()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def read(self) -> int:
        """Bytes read from the source so far."""
        return sum(meter.read for meter in self._meters)

    @property
    def zero(self) -> int:
        """Of them, bytes in grains of zeros (of finished units)."""
        return sum(meter.zero for meter in self._meters)

    def busy(self, seconds: float) -> tuple[float, float]:
        """Shares (0-1) of the last `seconds` in which the source and the encoding cores worked."""
        reading = sum(meter.read_seconds for meter in self._meters)
        encoding = sum(meter.encode_seconds for meter in self._meters)
        return reading / (seconds * len(self._meters)), encoding / (seconds * self._cores)

    @property
    def encoded(self) -> tuple[float, int]:
        """Core seconds spent encoding so far, and the cores that there are for it."""
        return sum(meter.encode_seconds for meter in self._meters), self._cores

    def halt(self) -> None:
        """From any thread: no read begins after this one. The consumer's `tick` runs at once, and has to raise."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def in_order(self, tick: Callable[[], None]) -> Iterator[PackedUnit]:
        """The packed units, ascending. A unit's memory is reused as soon as the next one is asked for.

        `tick` runs in the consumer's thread about ten times a second and with each unit; what it raises, and what any
        thread raised, ends the iteration.
        """
        turn = 0
        while True:
            with self._changed:
                if turn not in self._done and self._error is None and turn != self._total:
                    self._changed.wait(TICK)
                entry = self._done.pop(turn, None)
                finished = turn == self._total
            tick()  # first: after a cancel, what a source says of its closed connection is no news
            if self._error is not None:
                raise self._error
            if entry is not None:
                unit, buffer = entry
                yield unit
                turn += 1
                with self._changed:
                    self._buffers.append(buffer)
                    self._changed.notify_all()
            elif finished:
                return

    def _work(self, meter: _Meter) -> None:
        try:
            encoder: UnitEncoder | None = None
            while (job := self._next()) is not None:
                turn, unit, buffer = job
                encoder = encoder or self._new_encoder()
                packed = self._pack(unit, encoder, buffer, meter)
                if packed is None:
                    return
                with self._changed:
                    self._done[turn] = packed, buffer
                    self._changed.notify_all()
        except BaseException as error:  # raised again in the consumer's thread
            with self._changed:
                self._error = self._error or error
            self.halt()

    def _next(self) -> tuple[int, Unit, memoryview] | None:
        """A unit and the buffer for its result. Buffer first, then the lowest unit: so the unit that the consumer
        waits for always has one.
        """
        with self._changed:
            while not self._buffers and not self._stopping and self._total is None:
                self._changed.wait()
            if self._stopping or self._total is not None:
                return None
            unit = next(self._units, None)
            if unit is None:
                self._total = self._begun
                self._changed.notify_all()
                return None
            turn, self._begun = self._begun, self._begun + 1
            return turn, unit, self._buffers.pop() or new_buffer()

    def _pack(self, unit: Unit, encoder: UnitEncoder, buffer: memoryview, meter: _Meter) -> PackedUnit | None:
        """None when the export was stopped meanwhile."""
        encoder.begin(unit.index, buffer)
        for start, length in pieces(unit.extents):
            if self._stopping:
                return None
            began = time.perf_counter()
            self._source.read_into(start, encoder.room(length))
            meter.read_seconds += time.perf_counter() - began
            meter.read += length
            with self._encoding:
                began = time.perf_counter()
                encoder.take(start, length)
                meter.encode_seconds += time.perf_counter() - began
            encoder.put()
        packed = encoder.end()
        meter.zero += packed.zero
        return packed

"""The threads of an export: order, bounded memory, aligned buffers."""

import ctypes
import threading

from engine.extents import Extent
from engine.image.crew import READ_AHEAD, SPARE_UNITS, Crew
from engine.image.sparse_header import UNIT
from engine.image.stream_optimized import CompactEncoder
from engine.image.units import units_of
from tests.image.disks import MIB, MemoryDisk, no_thread_left


class CheckingDisk(MemoryDisk):
    """One byte in each unit; notes the units that were read and checks the memory it is given."""

    def __init__(self, units: int) -> None:
        super().__init__(units * UNIT, [(unit * UNIT, b"\1") for unit in range(units)])
        self.seen: set[int] = set()
        self.progressed = threading.Condition()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % 4096 == 0
        super().read_into(offset, buffer)
        with self.progressed:
            self.seen.add(offset // UNIT)
            self.progressed.notify_all()


def test_a_consumer_that_stands_still_stops_the_reading() -> None:
    """At most one unit for each buffer is begun beyond those that the consumer gave back."""
    threads, units = 2, 40
    window = threads + READ_AHEAD + SPARE_UNITS
    source = CheckingDisk(units)
    order: list[int] = []
    with no_thread_left(), Crew(source, CompactEncoder, [Extent(u * UNIT, MIB) for u in range(units)], threads) as crew:
        for unit in crew.in_order(lambda: None):
            given_back = len(order)
            most = min(given_back + window, units)
            with source.progressed:  # wait until all that may be read is read, then nothing more may be
                assert source.progressed.wait_for(lambda most=most: len(source.seen) >= most, timeout=60)
                assert len(source.seen) == most
            order.append(unit.index)
    assert order == list(range(units))


def test_leaving_early_ends_the_threads() -> None:
    source = CheckingDisk(40)
    with no_thread_left(), Crew(source, CompactEncoder, [Extent(0, 40 * UNIT)], 3) as crew:
        next(crew.in_order(lambda: None))


def test_units_are_cut_lazily_and_at_their_boundaries() -> None:
    extents = [Extent(UNIT - MIB, 2 * MIB), Extent(3 * UNIT + MIB, MIB), Extent(3 * UNIT + 4 * MIB, MIB)]
    assert [(unit.index, unit.extents) for unit in units_of(extents)] == [
        (0, (Extent(UNIT - MIB, MIB),)),
        (1, (Extent(UNIT, MIB),)),
        (3, (Extent(3 * UNIT + MIB, MIB), Extent(3 * UNIT + 4 * MIB, MIB))),
    ]
    assert next(units_of([Extent(0, 1 << 60)])).extents == (Extent(0, UNIT),)

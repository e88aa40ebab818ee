"""A sample of a disk: bounded in bytes and in time, only where there is data, and over when the operator says so."""

import itertools
import random
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings, strategies as st

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectionLost, TransportError
from engine.extents import Extent, total
from engine.transport.sampling import measure, places

MIB = 1 << 20


class Source:
    transport = "file"

    def __init__(self, allocated: Sequence[Extent], on_read: Callable[[], object] = lambda: None) -> None:
        self.capacity = 1 << 40
        self.reads: list[Extent] = []
        self._allocated, self._on_read = allocated, on_read

    def allocated(self) -> Sequence[Extent]:
        return self._allocated

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append(Extent(offset, len(buffer)))
        self._on_read()

    def close(self) -> None: ...


def test_no_more_bytes_than_allowed_and_none_outside_of_the_data() -> None:
    data = [Extent(3 * MIB, 100 * MIB), Extent(1 << 30, 7 * MIB), Extent(1 << 35, 900 * MIB)]
    source = Source(data)
    found = measure(source, threads=3, cancel=CancelToken(), most_bytes=64 * MIB, chance=random.Random(1))
    assert found is not None
    assert found.read == total(source.reads)
    assert 16 * MIB < found.read <= 64 * MIB
    assert found.rate > 0
    assert all(any(e.start <= r.start and r.end <= e.end for e in data) for r in source.reads)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), max_size=20), st.integers(1, 4000), st.integers())
def test_places_are_ascending_parts_of_the_data(gaps: list[tuple[int, int]], most: int, seed: int) -> None:
    data, at = [], 0
    for gap, length in gaps:
        data.append(Extent(at + gap * 4096, length * 4096))
        at = data[-1].end
    found = places(data, most * 65536, random.Random(seed))
    assert all(any(e.start <= f.start and f.end <= e.end for e in data) for f in found)
    assert all(one.end <= two.start for one, two in itertools.pairwise(found))
    assert bool(found) == bool(data)
    assert total(found) <= max(most * 65536, 16 * 65536)


def test_time_ends_it_after_one_read_at_least() -> None:
    source = Source([Extent(0, 1 << 30)])
    found = measure(source, threads=1, cancel=CancelToken(), most_seconds=0.0)
    assert found is not None
    assert (found.read, len(source.reads)) == (2 * MIB, 1)


def test_a_disk_without_data_has_no_speed() -> None:
    assert measure(Source([]), threads=2, cancel=CancelToken()) is None


def test_a_cancel_ends_it() -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        measure(Source([Extent(0, 1 << 40)], cancel.cancel), threads=2, cancel=cancel, most_bytes=1 << 40)


def test_what_the_source_raises_is_raised() -> None:
    def drop() -> None:
        raise ConnectionLost("gone")

    with pytest.raises(ConnectionLost, match="gone"):
        measure(Source([Extent(0, 1 << 30)], drop), threads=2, cancel=CancelToken())


def test_a_read_that_never_ends_is_an_error() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TransportError, match="did not end within"):
            measure(
                Source([Extent(0, 1 << 30)], release.wait),
                threads=1, cancel=CancelToken(), most_seconds=0.0, grace=0.1,
            )  # fmt: skip
    finally:
        release.set()

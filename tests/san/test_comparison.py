"""Two sources of one disk beside each other."""

import random
from collections.abc import Sequence

from hypothesis import given, settings, strategies as st

from engine.cancel import CancelToken
from engine.extents import Extent
from engine.transport.san.comparison import BLOCK, EACH_RUN, FIRST_USE, first_difference, places


class Memory:
    transport = "file"

    def __init__(self, data: bytes, allocated: Sequence[Extent]) -> None:
        self.data, self._allocated = data, allocated
        self.capacity = len(data)

    def allocated(self) -> Sequence[Extent]:
        return self._allocated

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.data[offset : offset + len(buffer)]

    def close(self) -> None: ...


def test_equal_sources_and_one_wrong_block() -> None:
    data = random.Random(3).randbytes(64 * BLOCK + 512)
    extents = [Extent(0, 64 * BLOCK)]
    source = Memory(data, extents)
    at, compared = first_difference(source, Memory(data, extents), FIRST_USE, CancelToken())
    assert at is None
    assert compared > 32 * BLOCK
    wrong = bytearray(data)
    wrong[17 * BLOCK + 5] ^= 1
    found = [first_difference(source, Memory(bytes(wrong), extents), FIRST_USE, CancelToken())[0] for _ in range(5)]
    assert 17 * BLOCK in found  # each round has it with 19 of 20


def test_data_where_the_map_has_a_hole_is_found() -> None:
    truth = bytearray(256 * BLOCK)
    truth[128 * BLOCK :] = b"\1" * 128 * BLOCK
    lying = Memory(bytes(256 * BLOCK), [Extent(0, BLOCK)])
    assert first_difference(lying, Memory(bytes(truth), []), EACH_RUN, CancelToken())[0] is not None


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4096), st.integers(1, 300), st.integers())
def test_places_are_whole_blocks_inside_the_disk(sectors: int, blocks: int, seed: int) -> None:
    capacity = sectors * 512
    chance = random.Random(seed)
    start = chance.randrange(capacity)
    extents = [Extent(start, capacity - start)]
    found = places(capacity, extents, blocks, chance)
    assert found == sorted(set(found))
    assert all(offset % BLOCK == 0 and 0 < length <= BLOCK and offset + length <= capacity for offset, length in found)
    assert found[0][0] == 0
    assert found[-1][0] + found[-1][1] == capacity

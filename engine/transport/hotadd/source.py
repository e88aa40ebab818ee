"""A frozen disk that is attached to this machine: the `hotadd` transport."""

import random
from collections.abc import Sequence

from engine.cancel import CancelToken
from engine.extents import Extent
from engine.transport.block_device import BlockDevice

_SAMPLE = 64 << 10
SAMPLES = 512
"""Places outside of the allocation map that are looked at: 32 MiB."""


class HotaddSource:
    """A `DiskSource`. The device is its own, and closed with it."""

    transport = "hotadd"

    def __init__(self, device: BlockDevice, allocated: Sequence[Extent]) -> None:
        self._device, self._allocated = device, allocated

    @property
    def capacity(self) -> int:
        return self._device.size

    def allocated(self) -> Sequence[Extent]:
        return self._allocated

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._device.read_into(offset, memoryview(buffer).cast("B"))

    def close(self) -> None:
        self._device.close()


def first_data(device: BlockDevice, free: Sequence[Extent], cancel: CancelToken) -> int | None:
    """Where a sample of what a map calls free holds something all the same; None when it holds zeros. Change tracking
    that was switched on late may not know of older data."""
    spans = [extent for extent in free if extent.length >= _SAMPLE]
    if not spans:
        return None
    weights = [extent.length for extent in spans]
    for extent in random.choices(spans, weights, k=SAMPLES):  # noqa: S311 - a sample, no secret
        cancel.check()
        at = random.randrange(extent.start, extent.end - _SAMPLE + 1)  # noqa: S311
        if any(device.read(at, _SAMPLE)):
            return at
    return None

"""A frozen disk that is attached to this machine: the `hotadd` transport."""

from collections.abc import Sequence

from engine.extents import Extent
from engine.transport.block_device import BlockDevice

SAMPLES = 512
"""Blocks outside of the allocation map that are looked at: 32 MiB."""


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

    def read_whole(self) -> None:
        """The map can't be believed: from now on everything is allocated."""
        self._allocated = [Extent(0, self.capacity)]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._device.read_into(offset, memoryview(buffer).cast("B"))

    def close(self) -> None:
        self._device.close()

"""A frozen disk read from the LUNs of its datastore: the `san` transport."""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from engine.errors import TransportError
from engine.extents import Extent, merged
from engine.transport.block_device import BlockDevice
from engine.transport.san.flat_file import INSTEAD, FlatFile, flat_file
from engine.transport.vmfs.volume import FileMap, Volume

SETTLE = 1.0
"""Seconds between the first two readings of the map: ESXi writes a snapshot's changes to the metadata within them."""


class SanSource:
    """A `DiskSource`. The map is read twice before the first byte and again by `check_map` after the last: a changed
    map means that bytes may have been read from blocks that are no longer the disk's."""

    transport = "san"

    def __init__(
        self,
        file: str,
        devices: Sequence[BlockDevice],
        read_volume: Callable[[], Volume],
        *,
        frozen: bool = True,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`file`: `[ds] vm1/vm1.vmdk`. `read_volume` reads the datastore's structures anew at each call; the devices
        belong to the caller. Not `frozen`: a running VM writes to the disk, so that its map may change, and what is
        read of it proves nothing but how fast that was. Raises TransportError, VmfsError."""
        self._file, self._devices, self._read_volume = file, devices, read_volume
        volume = read_volume()
        self._flat: FlatFile = flat_file(volume, file)
        self._map = volume.extent_map(self._flat.path)
        if self._map.length != self._flat.capacity:
            raise TransportError(
                f"{file} has {self._flat.capacity:,} bytes, its extent {self._map.length:,}.", hint=INSTEAD
            )
        if frozen:
            pause(SETTLE)
            self.check_map("between two readings")
        self._starts = [extent.start for extent in self._map.extents]

    @property
    def capacity(self) -> int:
        return self._flat.capacity

    @property
    def map(self) -> FileMap:
        return self._map

    def allocated(self) -> Sequence[Extent]:
        return merged(Extent(extent.start, extent.length) for extent in self._map.extents if extent.kind == "data")

    def read_into(self, offset: int, buffer: memoryview) -> None:
        view = memoryview(buffer).cast("B")
        if offset < 0 or offset + len(view) > self.capacity:
            raise TransportError(f"A read of {len(view)} bytes at {offset} lies outside the disk of {self.capacity}.")
        at = bisect_right(self._starts, offset) - 1
        while view:
            extent = self._map.extents[at]
            skip = offset - extent.start
            count = min(len(view), extent.length - skip)
            if extent.kind == "data":
                self._devices[extent.device].read_into(extent.offset + skip, view[:count])
            else:
                view[:count] = bytes(count)
            view, offset, at = view[count:], offset + count, at + 1

    def check_map(self, when: str = "while it was read") -> None:
        """TransportError when the file no longer lies where it lay."""
        now = self._read_volume().extent_map(self._flat.path)
        if now != self._map:
            raise TransportError(
                f"{self._file} moved or changed on its datastore {when}: what was read of it can't be used.",
                hint="Did Storage vMotion or a consolidation run meanwhile? Run the backup again, or use nbdssl.",
            )

    def close(self) -> None:
        """Nothing of its own."""

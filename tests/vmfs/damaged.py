"""A device that is damaged, and watched: whatever it holds, a reader must stay inside of it and come to an end."""

import os
from collections.abc import Iterable
from pathlib import Path

READS = 20_000
BYTES = 512 << 20
PAGE = 65536

Image = tuple[dict[int, bytes], int]
"""Pages of 64 KiB that are not all zeros, by their number; and the size in bytes."""


def image_of(path: Path) -> Image:
    """Of a sparse file."""
    pages, size = {}, path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // PAGE * PAGE
            except OSError:  # nothing but a hole up to the end
                break
            file.seek(at)
            data = file.read(PAGE)
            if data.count(0) != len(data):
                pages[at // PAGE] = data.ljust(PAGE, b"\0")
            at += PAGE
    return pages, size


class Damaged:
    """An image in memory whose reads are bounded, counted and remembered; `patches` lie over it."""

    def __init__(self, image: dict[int, bytes], size: int) -> None:
        self._image, self.size = image, size
        self.patches: dict[int, int] = {}
        self.reads = self.bytes = 0
        self.ranges: list[tuple[int, int]] = []

    @property
    def pages(self) -> Iterable[tuple[int, bytes]]:
        return self._image.items()

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        assert offset + length <= self.size, "a read outside of the device"
        self.reads, self.bytes = self.reads + 1, self.bytes + length
        assert self.reads < READS, "no end of reads"
        assert self.bytes < BYTES, "no end of bytes"
        self.ranges.append((offset, length))
        data = bytearray(length)
        for page in range(offset >> 16, (offset + length + 65535) >> 16):
            held = self._image.get(page)
            if held is not None:
                start = (page << 16) - offset
                low, high = max(start, 0), min(start + 65536, length)
                data[low:high] = held[low - start : high - start]
        for at, value in self.patches.items():
            if offset <= at < offset + length:
                data[at - offset] = value
        return bytes(data)

    def read_into(self, offset: int, view: memoryview) -> None:
        view[:] = self.read(offset, len(view))

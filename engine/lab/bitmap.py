"""Which blocks of a disk: a sparse bitmap, one bit per BLOCK, that costs nothing where nothing is set."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator

BLOCK = 64 * 1024  # bytes: the grain of delta files and of changed-block tracking, as on VMFS
PAGE = 4096  # blocks per page (256 MiB of disk)
_FULL = (1 << PAGE) - 1
_PAGE_BYTES = PAGE // 8


class BlockMap:
    """A set of block numbers, kept as one integer of 4,096 bits per page that has any.

    Pages are replaced, never changed in place: a reader without the disk's lock sees a page before or after a write,
    nothing between.
    """

    __slots__ = ("_pages",)

    def __init__(self, pages: dict[int, int] | None = None) -> None:
        self._pages = {} if pages is None else pages

    def __bool__(self) -> bool:
        return bool(self._pages)

    def __contains__(self, block: int) -> bool:
        return bool(self._pages.get(block // PAGE, 0) >> (block % PAGE) & 1)

    def __len__(self) -> int:
        return sum(page.bit_count() for page in list(self._pages.values()))

    def add(self, first: int, stop: int) -> None:
        """Set the blocks first..stop-1."""
        while first < stop:
            number, bit = divmod(first, PAGE)
            count = min(stop - first, PAGE - bit)
            self._pages[number] = self._pages.get(number, 0) | ((1 << count) - 1) << bit
            first += count

    def discard(self, first: int, stop: int) -> None:
        """Clear the blocks first..stop-1."""
        while first < stop:
            number, bit = divmod(first, PAGE)
            count = min(stop - first, PAGE - bit)
            if number in self._pages:
                left = self._pages[number] & (_FULL ^ ((1 << count) - 1) << bit)
                if left:
                    self._pages[number] = left
                else:
                    del self._pages[number]
            first += count

    def update(self, other: BlockMap) -> None:
        """Set every block that `other` has."""
        for number, page in list(other._pages.items()):
            self._pages[number] = self._pages.get(number, 0) | page

    def copy(self) -> BlockMap:
        return BlockMap(dict(self._pages))

    def runs(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Maximal runs (first, stop) of set blocks, ascending, cut to the given window."""
        begin = end = -1
        for number in sorted(self._pages):
            base = number * PAGE
            if base + PAGE <= first or (stop is not None and base >= stop):
                continue
            for low, high in _page_runs(_window(self._pages.get(number, 0), base, first, stop)):
                if base + low == end:
                    end = base + high
                    continue
                if begin >= 0:
                    yield begin, end
                begin, end = base + low, base + high
        if begin >= 0:
            yield begin, end

    def to_text(self) -> str:
        """A compact form for a JSON document; `from_text` is its inverse."""
        parts = [n.to_bytes(4, "little") + p.to_bytes(_PAGE_BYTES, "little") for n, p in sorted(self._pages.items())]
        return base64.b64encode(zlib.compress(b"".join(parts), 1)).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> BlockMap:
        data, step = zlib.decompress(base64.b64decode(text)), 4 + _PAGE_BYTES
        return cls(
            {
                int.from_bytes(data[i : i + 4], "little"): int.from_bytes(data[i + 4 : i + step], "little")
                for i in range(0, len(data), step)
            }
        )

    @classmethod
    def of_bytes(cls, extents: Iterable[tuple[int, int]]) -> BlockMap:
        """Every block that one of the (offset, length) byte extents touches."""
        blocks = cls()
        for offset, length in extents:
            blocks.add(offset // BLOCK, -(-(offset + length) // BLOCK))
        return blocks

    def to_bytes(self, capacity: int) -> list[tuple[int, int]]:
        """(offset, length) in bytes of the runs, cut to a disk of `capacity` bytes."""
        return [(first * BLOCK, min(stop * BLOCK, capacity) - first * BLOCK) for first, stop in self.runs()]


def _window(page: int, base: int, first: int, stop: int | None) -> int:
    if first > base:
        page = page >> (first - base) << (first - base)
    if stop is not None and stop < base + PAGE:
        page &= (1 << (stop - base)) - 1
    return page


def _page_runs(page: int) -> Iterator[tuple[int, int]]:
    position = 0
    while page:
        gap = (page & -page).bit_length() - 1
        page >>= gap
        ones = (~page & (page + 1)).bit_length() - 1
        page >>= ones
        yield position + gap, position + gap + ones
        position += gap + ones

"""A disk as the file object that libyal's readers take, with a cache of blocks."""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from engine.cancel import CancelToken
from engine.errors import ImageError, VcbError
from engine.extents import DiskSource

BLOCK = 256 << 10
"""Four grains: what is decompressed at once."""
_BLOCKS = 128
_REFUSALS = (OSError, MemoryError, ValueError, ArithmeticError, RuntimeError, SystemError, TypeError, struct.error)
"""What a reader raises, or makes us raise: it gives None for a value that a damaged record does not have."""


class DiskFile:
    """Reads at any place through 32 MiB of cache. An error of the disk, or the operator's stop, passes through the C
    code of a reader as an OSError; `failure` keeps what it was."""

    def __init__(self, disk: DiskSource, cancel: CancelToken) -> None:
        self._disk, self._cancel = disk, cancel
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.failure: VcbError | None = None

    def get_size(self) -> int:
        return self._disk.capacity

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._disk.capacity)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._disk.capacity if size < 0 else min(self._at + size, self._disk.capacity)
        pieces: list[bytes] = []
        at = self._at
        try:
            while at < end:
                number, inside = divmod(at, BLOCK)
                piece = self._block(number)[inside : inside + end - at]
                pieces.append(piece)
                at += len(piece)
        except VcbError as error:
            self.failure = error
            raise
        self._at = at
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if (known := self._blocks.get(number)) is not None:
            self._blocks.move_to_end(number)
            return known
        self._cancel.check()
        start = number * BLOCK
        buffer = bytearray(min(BLOCK, self._disk.capacity - start))
        self._disk.read_into(start, memoryview(buffer))
        self._blocks[number] = block = bytes(buffer)
        if len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        return block

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """What a reader raises while the block runs becomes an `ImageError` about `what`, or what the disk raised."""
        self.failure = None
        try:
            yield
        except _REFUSALS as error:
            if self.failure is not None:
                raise self.failure from None
            raise ImageError(
                f"{what} can't be read: it is damaged, or of a form that the reader does not know.",
                fault=_innermost(error),
                hint="vcb drill has the file system checked; vcb serve gives the disk to other tools.",
            ) from None


def _innermost(error: BaseException) -> str:
    """libyal tells the call that failed, then the causes from the innermost outward."""
    told = str(error).split(". ")
    return (told[1] if len(told) > 1 else told[0]).rstrip(".") or type(error).__name__

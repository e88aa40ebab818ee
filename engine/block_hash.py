"""The SHA-256 of a large file that has holes, and is written at several places at once: that of its blocks' SHA-256s.

A hash of all bytes in their order has no second core to go to, and goes through every byte of a hole: ten minutes for
a terabyte of nothing. So here each block of 64 KiB (the last may be shorter) is hashed by whoever has it, a block of a
hole has the digest of zeros, known beforehand, and the digests, 32 bytes each, one behind the other in the order of the
file, are hashed once more. README shows the few lines that check it without this tool.
"""

import hashlib
from concurrent.futures import Executor

BLOCK = 1 << 16
"""Bytes of a block: a grain, so that whoever has a grain of an uncompressed image has a block of its file."""
DIGEST = 32
_DIGESTS_AT_ONCE = 1 << 15
_BLOCKS_AT_ONCE = 16
"""Of one thread: a millisecond's work."""
_ZEROS = memoryview(bytes(BLOCK))


def block_digest(block: bytes | memoryview) -> bytes:
    """Of at most `BLOCK` bytes."""
    return hashlib.sha256(block).digest()


_ZERO_DIGEST = block_digest(_ZEROS)
_ZERO_DIGESTS = memoryview(_ZERO_DIGEST * _DIGESTS_AT_ONCE)


def zero_digest(size: int = BLOCK) -> bytes:
    """Of a block of zeros."""
    return _ZERO_DIGEST if size == BLOCK else block_digest(_ZEROS[:size])


class BlockHash:
    """One file's, taken from the front to the back. With a `pool`, long updates are hashed by its threads."""

    def __init__(self, pool: Executor | None = None) -> None:
        self._whole = hashlib.sha256()
        self._block = hashlib.sha256()
        self._fill = 0
        self._pool = pool

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes, as many as there are."""
        view = memoryview(data)
        head = min(len(view), BLOCK - self._fill) if self._fill else 0
        self._part(view[:head])
        end = head + (len(view) - head) // BLOCK * BLOCK
        if self._pool is None:
            self._whole.update(_digests(view[head:end]))
        else:
            step = BLOCK * _BLOCKS_AT_ONCE
            for part in self._pool.map(_digests, [view[at : min(at + step, end)] for at in range(head, end, step)]):
                self._whole.update(part)
        self._part(view[end:])

    def zeros(self, length: int) -> None:
        """The next bytes are `length` zeros: a hole. Costs half a second of a core for each TiB."""
        head = min(length, BLOCK - self._fill) if self._fill else 0
        self._part(_ZEROS[:head])
        blocks, tail = divmod(length - head, BLOCK)
        while blocks:
            step = min(blocks, _DIGESTS_AT_ONCE)
            self._whole.update(_ZERO_DIGESTS[: DIGEST * step])
            blocks -= step
        self._part(_ZEROS[:tail])

    def digests(self, digests: bytes | memoryview) -> None:
        """The next whole blocks, or the last one of the file, were hashed already."""
        assert not self._fill, "a block has begun"
        self._whole.update(digests)

    def hexdigest(self) -> str:
        """Of all that came; more may come only if that was whole blocks."""
        whole = self._whole.copy()
        if self._fill:
            whole.update(self._block.digest())
        return whole.hexdigest()

    def _part(self, data: memoryview) -> None:
        """Bytes that lie within one block."""
        if not data:
            return
        self._block.update(data)
        self._fill += len(data)
        if self._fill == BLOCK:
            self._whole.update(self._block.digest())
            self._block, self._fill = hashlib.sha256(), 0


def _digests(blocks: memoryview) -> bytes:
    return b"".join(block_digest(blocks[at : at + BLOCK]) for at in range(0, len(blocks), BLOCK))

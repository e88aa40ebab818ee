"""One compressed grain: inflating it with every doubt turned into an `ImageError`."""

from isal import isal_zlib

from engine.errors import ImageError

MAX_EXPANSION = 2
"""A grain that does not compress may grow; no writer makes it twice as large."""


def check_length(length: int, grain: int, where: object) -> None:
    """`length` is what a grain's marker says of its compressed bytes; `grain` the size of a grain in bytes; `where` is
    what errors begin with."""
    if not 0 < length <= MAX_EXPANSION * grain:
        raise ImageError(f"{where}: a grain of {length} compressed bytes is not plausible.")


def inflate(data: bytes | memoryview, grain: int, needed: int, where: object) -> bytes:
    """The grain's content, `needed` (what lies inside the disk) to `grain` bytes.

    Raises `ImageError` when the data is damaged (deflate's Adler-32 is checked), too short or too long.
    """
    stream = isal_zlib.decompressobj()
    try:
        content = stream.decompress(data, grain + 1)
    except isal_zlib.error as error:  # pyright: ignore[reportGeneralTypeIssues] - isal types it as an instance
        raise ImageError(f"{where}: the compressed data is damaged ({error}).") from error
    if len(content) > grain or len(content) < needed:
        raise ImageError(f"{where}: the grain holds {len(content)} bytes, not {needed}.")
    if not stream.eof:
        raise ImageError(f"{where}: the compressed data ends early.")
    return content

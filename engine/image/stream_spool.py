"""Taking in a streamOptimized stream as `sparse`: by way of a file.

A sparse image says in front what it stores, and a stream tells that only when it ends. So the stream is kept as it
comes, and the image is made of it then: that needs room for both for a while, and inflates on all cores.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine.cancel import CancelToken
from engine.image.direct_output import Reserve, discard
from engine.image.pipeline import ImageFormat, OnHashes, OnProgress, export
from engine.image.stream_copy import store_stream
from engine.image.stream_reader import StreamOptimizedImage
from engine.image.written import WrittenImage


def take_in(
    chunks: Iterable[bytes | memoryview],
    target: Path,
    *,
    format: ImageFormat,  # noqa: A002 - the option's name
    cancel: CancelToken,
    progress: OnProgress,
    to_read: int = 0,
    reserve: Reserve | None = None,
    hashes: OnHashes | None = None,
) -> WrittenImage:
    """As `store_stream`, for every format. The file between is `NAME.stream` beside the target, and gone at the end."""
    if format != "sparse":
        return store_stream(
            chunks, target, format=format, cancel=cancel, progress=progress, to_read=to_read, reserve=reserve,
            hashes=hashes,
        )  # fmt: skip
    spool = target.with_name(f"{target.name}.stream")
    try:
        taken = store_stream(
            chunks, spool, format="compact", cancel=cancel, progress=progress, to_read=to_read, reserve=reserve
        )
        image = StreamOptimizedImage(spool)
        try:
            written = export(
                image,
                image.allocated(),
                target,
                format="sparse",
                threads=0,
                cancel=cancel,
                progress=lambda state: progress(replace(state, read=taken.read, to_read=to_read)),
                reserve=reserve,
                hashes=hashes,
            )
        finally:
            image.close()
    finally:
        discard(spool)
    return replace(written, read=taken.read, seconds=taken.seconds + written.seconds)

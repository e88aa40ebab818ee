"""A disk as a streamOptimized stream that is made while it is sent: for an import that takes nothing else."""

from collections.abc import Callable, Sequence

from engine.cancel import CancelToken
from engine.cores import default_threads
from engine.extents import DiskSource, Extent, aligned
from engine.image.crew import Crew
from engine.image.sparse_header import GRAIN
from engine.image.stream_optimized import StreamLayout

_PIECE = 1 << 20


def recompress(
    source: DiskSource,
    extents: Sequence[Extent],
    send: Callable[[memoryview], None],
    *,
    name: str,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[int], None],
) -> int:
    """Hands the image of the disk's `extents` to `send`, in pieces of up to 1 MiB that are valid during the call;
    returns the bytes of the image. `progress` gets the bytes of the disk read so far.

    Memory: as an export's (`pipeline`), without its output buffers. Raises what the source and `send` raise,
    `ImageError`, `Cancelled`; no thread is left then.
    """
    layout = StreamLayout(name, source.capacity)
    output = _Pieces(send)
    cancel.check()
    crew = Crew(source, layout.new_encoder, aligned(extents, GRAIN, source.capacity), threads or default_threads())

    def tick() -> None:
        cancel.check()
        progress(crew.read)

    layout.begin(output)
    with cancel.on_cancel(crew.halt), crew:
        for unit in crew.in_order(tick):
            layout.append(unit)
    layout.end()
    progress(crew.read)
    return output.position


class _Pieces:
    """Passes on what is written, cut into pieces."""

    def __init__(self, send: Callable[[memoryview], None]) -> None:
        self._send = send
        self.position = 0

    def write(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self._send(view[start : start + _PIECE])
        self.position += len(view)

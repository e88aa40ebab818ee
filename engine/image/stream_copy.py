"""Taking in a streamOptimized stream (an export lease's): stored as it is, or decoded to flat."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from engine.block_hash import BlockHash
from engine.cancel import CancelToken
from engine.errors import ImageError
from engine.image.direct_output import DirectOutput, Reserve, discard, write_small
from engine.image.flat import flat_descriptor, flat_file
from engine.image.grains import inflate
from engine.image.pipeline import PROGRESS_INTERVAL, OnHashes, OnProgress
from engine.image.stream_decoder import StreamDecoder, StreamParser
from engine.image.stream_hashes import StreamHashes
from engine.image.units import ZERO_GRAIN
from engine.image.written import Progress, WrittenFile, WrittenImage, busiest


def store_stream(
    chunks: Iterable[bytes | memoryview],
    target: Path,
    *,
    format: Literal["compact", "flat"],  # noqa: A002 - the option's name
    cancel: CancelToken,
    progress: OnProgress,
    to_read: int = 0,
    reserve: Reserve | None = None,
    hashes: OnHashes | None = None,
) -> WrittenImage:
    """Writes `target` from the stream; a chunk may be a reused buffer.

    `compact` keeps the stream byte for byte, so its SHA-256 is that of what was sent, and checks its structure
    (`StreamParser`). `flat` also inflates and checks each grain, which must come in ascending order. Bytes of
    `progress` and `read` are bytes of the disk, not of the stream; `to_read` is only handed on to `progress`.
    `hashes` gets the grains' hashes, for which `compact` inflates each grain as well; they are worth something only
    if the result says `hashed` (`StreamHashes`).

    Raises what `chunks` raises, `ImageError` for a stream that is damaged or ends early, `TargetFull`, `TargetError`,
    `Cancelled`; the files are gone then. Memory: one chunk, 12 MiB of output buffers, and `StreamParser`'s.
    """
    clock = _Clock(to_read, cancel, progress)
    hashed = None if hashes is None else StreamHashes(hashes)
    kind = _AsItIs if format == "compact" else _Flat
    sink = kind(target, reserve, clock, hashed)
    try:
        began = time.perf_counter()
        for chunk in chunks:
            clock.waited += time.perf_counter() - began
            clock.tick()
            sink.take(chunk)
            began = time.perf_counter()
        files = sink.finish()
        if hashed:
            hashed.finish()
        last = clock.report()
    except BaseException:
        sink.abort()
        raise
    return WrittenImage(
        files=files, read=last.read, zero=last.zero, stored=last.stored, cid=sink.cid,
        bottleneck=last.bottleneck, busy=last.busy, seconds=clock.seconds,
        hashed=hashed is not None and hashed.complete,
    )  # fmt: skip


class _Clock:
    """Counts, looks at the cancel token and reports progress."""

    def __init__(self, to_read: int, cancel: CancelToken, progress: OnProgress) -> None:
        self.waited = 0.0
        self.decoded = 0.0
        self.read = 0
        self.zero = 0
        self.output: DirectOutput | None = None
        self._to_read = to_read
        self._cancel = cancel
        self._progress = progress
        self._began = self._told = time.perf_counter()
        cancel.check()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def tick(self) -> None:
        self._cancel.check()
        if time.perf_counter() - self._told >= PROGRESS_INTERVAL:
            self.report()

    def report(self) -> Progress:
        assert self.output is not None
        seconds = max(self.seconds, 1e-6)
        busy = {
            "source": min(1.0, self.waited / seconds),
            "cpu": min(1.0, (self.decoded + self.output.hash_seconds) / seconds),
            "target": min(1.0, self.output.write_seconds / seconds),
        }
        state = Progress(self.read, self._to_read, self.output.stored, self.zero, busiest(busy), busy)
        self._progress(state)
        self._told = time.perf_counter()
        return state


class _AsItIs:
    """The stream as the file."""

    def __init__(self, target: Path, reserve: Reserve | None, clock: _Clock, hashed: StreamHashes | None) -> None:
        self._parser = StreamParser()
        self._hashed = hashed
        self._clock = clock
        self._output = clock.output = DirectOutput(target, reserve=reserve, pulse=clock.tick)

    @property
    def cid(self) -> str:
        return self._parser.descriptor.cid if self._parser.descriptor else ""

    def take(self, chunk: bytes | memoryview) -> None:
        began = time.perf_counter()
        grains = self._parser.feed(chunk)
        if self._hashed:
            self._hash(self._hashed, grains)
        self._clock.decoded += time.perf_counter() - began
        self._clock.read += sum(min(self._parser.grain, self._parser.capacity - offset) for offset, _ in grains)
        self._output.write(chunk)

    def _hash(self, hashed: StreamHashes, grains: list[tuple[int, bytes]]) -> None:
        grain, capacity = self._parser.grain, self._parser.capacity
        for offset, compressed in grains:
            needed = min(grain, capacity - offset)
            content = inflate(compressed, grain, needed, f"VMDK stream, grain at byte {offset}")
            hashed.take(offset, content[:needed], grain)

    def finish(self) -> tuple[WrittenFile, ...]:
        self._parser.finish()
        return (self._output.close(),)

    def abort(self) -> None:
        self._output.abort()


class _Flat:
    """The stream's disk as a sparse raw file with a descriptor of its own."""

    def __init__(self, target: Path, reserve: Reserve | None, clock: _Clock, hashed: StreamHashes | None) -> None:
        self._decoder = StreamDecoder()
        self._hashed = hashed
        self._clock = clock
        self._target = target
        self._output = clock.output = DirectOutput(
            flat_file(target), reserve=reserve, pulse=clock.tick, blocks=BlockHash()
        )
        self.cid = ""

    def take(self, chunk: bytes | memoryview) -> None:
        began = time.perf_counter()
        grains = self._decoder.feed(chunk)
        self._clock.decoded += time.perf_counter() - began
        for offset, content in grains:
            if self._hashed:
                self._hashed.take(offset, content, self._decoder.parser.grain)
            self._clock.read += len(content)
            if content == ZERO_GRAIN[: len(content)]:
                self._clock.zero += len(content)
            elif offset < self._output.position:
                raise ImageError(
                    "The stream's grains do not come in ascending order.", hint="Use EXPORT_FORMAT compact."
                )
            else:
                self._output.skip(offset - self._output.position)
                self._output.write(content)

    def finish(self) -> tuple[WrittenFile, ...]:
        self._decoder.finish()
        capacity = self._decoder.parser.capacity
        self._output.skip(capacity - self._output.position)
        data = self._output.close()
        descriptor = flat_descriptor(self._target, capacity)
        self.cid = descriptor.cid
        return write_small(self._target, descriptor.encoded()), data

    def abort(self) -> None:
        self._output.abort()
        discard(self._target)

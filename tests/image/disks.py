"""Disks in memory as sources, and the words that all image tests share."""

import hashlib
import random
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.extents import DiskSource, Extent, merged
from engine.image.pipeline import ImageFormat, export
from engine.image.written import Progress, WrittenImage

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


class MemoryDisk:
    """A frozen disk of `capacity` bytes that holds `pieces` (offset, content); the rest is zeros. Notes each read."""

    transport = "file"

    def __init__(self, capacity: int, pieces: Iterable[tuple[int, bytes]] = ()) -> None:
        self.capacity = capacity
        self.pieces = sorted(pieces)
        self.reads: list[Extent] = []
        self._lock = threading.Lock()

    def allocated(self) -> Sequence[Extent]:
        return merged(Extent(offset, len(content)) for offset, content in self.pieces)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert 0 <= offset < offset + len(buffer) <= self.capacity
        with self._lock:
            self.reads.append(Extent(offset, len(buffer)))
        buffer[:] = bytes(len(buffer))
        for start, content in self.pieces:
            first, last = max(start, offset), min(start + len(content), offset + len(buffer))
            if first < last:
                buffer[first - offset : last - offset] = content[first - start : last - start]

    def close(self) -> None:
        pass

    def save(self, path: Path) -> Path:
        """The same disk as a sparse raw file."""
        with path.open("wb") as file:
            file.truncate(self.capacity)
            for offset, content in self.pieces:
                file.seek(offset)
                file.write(content)
        return path


def random_disk(seed: int, capacity: int, pieces: int) -> MemoryDisk:
    """Pieces of random, repetitive and zero bytes at random sectors; they don't overlap."""
    rng = random.Random(seed)
    taken: list[tuple[int, bytes]] = []
    end = 0
    for start in sorted(rng.randrange(capacity // 512) * 512 for _ in range(pieces)):
        size = min(rng.choice((512, 4096, 64 * KIB, 70_144, 1 * MIB, 3 * MIB)), capacity - start)
        if start < end:
            continue
        kind = rng.randrange(3)
        content = rng.randbytes(size) if kind == 0 else bytes(size) if kind == 1 else (b"guest data " * size)[:size]
        taken.append((start, content))
        end = start + size
    return MemoryDisk(capacity, taken)


def export_all(source: DiskSource, target: Path, kind: ImageFormat, *, threads: int = 2, **more: Any) -> WrittenImage:
    """The whole disk, as a job without an operator would export it."""
    options: dict[str, Any] = {"cancel": CancelToken(), "progress": nobody} | more
    return export(source, options.pop("extents", source.allocated()), target, format=kind, threads=threads, **options)


def nobody(progress: Progress) -> None:
    """A progress callback that looks away."""


def content(image: DiskSource, step: int = 3 * MIB + 512) -> bytes:
    """All bytes of a (small) disk, by reads that do not keep to any boundary."""
    data = bytearray(image.capacity)
    view = memoryview(data)
    for start in range(0, image.capacity, step):
        image.read_into(start, view[start : start + step])
    return bytes(data)


def run(*command: str | Path) -> str:
    """Output of a foreign program that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def no_thread_left():
    """Fails when a thread that was started inside is still there at the end."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


def sha256_of(content: bytes, blocks: int) -> str:
    """As README tells it: of all bytes, or of the SHA-256s of the blocks."""
    if not blocks:
        return hashlib.sha256(content).hexdigest()
    digests = (hashlib.sha256(content[at : at + blocks]).digest() for at in range(0, len(content), blocks))
    return hashlib.sha256(b"".join(digests)).hexdigest()

"""The proof of a point before it is published: every file read back from the medium, each disk's grains decompressed
and compared with the hashes that were taken as the data arrived from the source, and the chain opened."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from engine.cancel import CancelToken
from engine.cores import default_threads
from engine.errors import ImageError, VerifyError
from engine.image.chain import open_disk
from engine.image.grains import inflate
from engine.image.sparse_header import GRAIN, SECTOR
from engine.image.sparse_reader import SparseImage
from engine.image.stream_decoder import StreamParser
from engine.image.units import ZERO_GRAIN, ZERO_HASH, grain_hash
from engine.points import mount_point as mounts
from engine.points.grain_hashes import UNIT_GRAINS, ZEROS, GrainHashes
from engine.points.manifest import DiskEntry, Manifest
from engine.points.proof import Depth, record
from engine.points.verify import Reader, verify_files
from engine.reporter import Reporter

_AHEAD = 8
"""Blocks of 4 MiB that wait for their grains to be inflated."""
_ZEROS = memoryview(bytes(1 << 20))
_HASH_OF_ZEROS = grain_hash(ZERO_GRAIN)
_HINT = "Suspect the storage under BACKUPROOT, or this machine's memory; the point was not kept."


def prove(directory: Path, manifest: Manifest, home: Path, cancel: CancelToken, report: Reporter) -> None:
    """`home` is where the point will lie, among its parents. Raises VerifyError; a point that isn't proven is not
    kept."""
    with ExitStack() as open_lists:
        readers: dict[str, GrainProof] = {}
        try:
            for disk in manifest.disk:
                if disk.grains:
                    readers[disk.files[-1]] = proof = proof_of(directory, disk)
                    open_lists.callback(proof.close)
                else:
                    report.step(f"{disk.name}: its stream allows no grain hashes; SHA-256 alone proves its files.")
            verified = verify_files(directory, manifest.file, cancel, readers=readers)
            for disk in manifest.disk:
                _open(directory, disk, home)
        except ImageError as error:
            raise VerifyError(f"What was written can't be read: {error.sentence}", fault=error.fault) from error
    record(directory, Depth.GRAINS if all(disk.grains for disk in manifest.disk) else Depth.FILES, [])
    mounts.fsync_directory(directory)
    grains = sum(proof.compared for proof in readers.values())
    report.step(f"{verified:,} bytes read back from the medium are what was written, {grains:,} grains what was read.")


def _open(directory: Path, disk: DiskEntry, home: Path) -> None:
    """As a reader would, parents included."""
    image = open_disk(directory / disk.files[0], home=home / directory.name if disk.parent else None)
    try:
        if image.capacity != disk.capacity:
            raise VerifyError(f"{disk.files[0]} holds {image.capacity:,} bytes; the disk has {disk.capacity:,}.")
    finally:
        image.close()


def proof_of(directory: Path, disk: DiskEntry) -> "GrainProof":
    """For the image of `disk` in `directory`, by its format and with its list of hashes. Raises ImageError."""
    hashes = GrainHashes(directory / disk.grains, disk.capacity)
    try:
        if disk.format == "compact":
            return CompactProof(disk, hashes)
        return SparseProof(disk, hashes, directory) if disk.format == "sparse" else FlatProof(disk, hashes)
    except BaseException:
        hashes.close()
        raise


class GrainProof(Reader):
    """Compares the grains of one image file, as it is read back, with the list. Raises VerifyError naming the place.

    The work is done by threads of its own; `take` waits while they are eight blocks behind.
    """

    def __init__(self, disk: DiskEntry, hashes: GrainHashes) -> None:
        self.compared = 0
        self._disk, self._hashes = disk, hashes
        self._pool = ThreadPoolExecutor(default_threads(), thread_name_prefix=f"proof {disk.name}")
        self._pending: deque[Future[None]] = deque()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._hashes.close()

    def hole(self, length: int) -> None:
        for done in range(0, length, len(_ZEROS)):
            self.take(_ZEROS[: length - done])

    def _later(self, batch: Sequence[tuple[int, bytes, int]]) -> None:
        """(byte offset, bytes as the file has them, what the list says) of some grains."""
        if len(self._pending) >= _AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._compare, batch))
        self.compared += len(batch)

    def _compare(self, batch: Sequence[tuple[int, bytes, int]]) -> None:
        for offset, data, expected in batch:
            content = self._content(offset, data).ljust(GRAIN, b"\0")
            found = grain_hash(content)
            if (ZERO_HASH if found == _HASH_OF_ZEROS else found) != expected:
                raise self._strange(offset)

    def _strange(self, offset: int) -> VerifyError:
        return VerifyError(
            f"{self._disk.name}: the grain at byte {offset:,} of the disk is not what came from the source.", hint=_HINT
        )

    def _content(self, offset: int, data: bytes) -> bytes:
        return data

    def _settle(self) -> None:
        while self._pending:
            self._pending.popleft().result()


class CompactProof(GrainProof):
    """Of a streamOptimized file: each grain is inflated; a grain that was read and is not stored, or the other way
    round, is told."""

    def __init__(self, disk: DiskEntry, hashes: GrainHashes) -> None:
        super().__init__(disk, hashes)
        self._parser = StreamParser()

    def take(self, data: memoryview) -> None:
        if grains := self._parser.feed(data):
            self._later([(offset, packed, self._hashes.of(offset // GRAIN)) for offset, packed in grains])

    def finish(self) -> None:
        self._parser.finish()
        self._settle()
        expected = sum(1 for _ in self._stored())
        if self.compared != expected:
            raise VerifyError(
                f"{self._disk.name}: {self.compared:,} grains are stored, {expected:,} were to be.", hint=_HINT
            )

    def _content(self, offset: int, data: bytes) -> bytes:
        needed = min(GRAIN, self._disk.capacity - offset)
        return inflate(data, GRAIN, needed, f"{self._disk.name}, grain at byte {offset}")[:needed]

    def _stored(self) -> Iterator[int]:
        """Entries of the list whose grains the image stores: of a child all, of a whole disk those with data."""
        least = ZEROS if self._disk.parent else ZEROS + 1
        for unit in self._hashes.units():
            yield from (entry for entry in self._hashes.unit(unit) if entry >= least)


class FlatProof(GrainProof):
    """Of a flat file, which holds every grain of the disk; what was not read from the source has to be zeros."""

    def __init__(self, disk: DiskEntry, hashes: GrainHashes) -> None:
        super().__init__(disk, hashes)
        self._position = 0
        self._rest = b""

    def take(self, data: memoryview) -> None:
        block = self._rest + bytes(data)
        whole = len(block) if self._position + len(block) == self._disk.capacity else len(block) // GRAIN * GRAIN
        batch = []
        for at in range(0, whole, GRAIN):
            offset = self._position + at
            batch.append((offset, block[at : at + GRAIN], self._hashes.of(offset // GRAIN) or ZEROS))
        self._rest, self._position = block[whole:], self._position + whole
        if batch:
            self._later(batch)

    def hole(self, length: int) -> None:
        first, end = self._position // GRAIN, -(-(self._position + length) // GRAIN)
        for unit in self._hashes.units(first // UNIT_GRAINS, -(-end // UNIT_GRAINS)):
            for grain, entry in enumerate(self._hashes.unit(unit), unit * UNIT_GRAINS):
                if entry > ZEROS and first <= grain < end:
                    raise self._strange(grain * GRAIN)
        self.compared += end - first
        self._position += length

    def finish(self) -> None:
        self._settle()
        if self._position != self._disk.capacity:
            raise VerifyError(f"{self._disk.name}: {self._position:,} bytes are stored of {self._disk.capacity:,}.")


class SparseProof(GrainProof):
    """Of a monolithicSparse file as we write it: every grain that was read has its place, in the order of the disk."""

    def __init__(self, disk: DiskEntry, hashes: GrainHashes, directory: Path) -> None:
        self._image = SparseImage(directory / disk.files[0])
        super().__init__(disk, hashes)
        self._places = self._image.stored()
        self._next = next(self._places, None)
        self._position = 0
        self._rest = b""

    def close(self) -> None:
        super().close()
        self._image.close()

    def take(self, data: memoryview) -> None:
        begin = self._image.header.overhead * SECTOR
        skipped = min(max(begin - self._position, 0), len(data))
        self._position += skipped
        block = self._rest + bytes(data[skipped:])
        whole = len(block) // GRAIN * GRAIN
        batch = []
        for at in range(0, whole, GRAIN):
            place = self._next
            if place is None or place.sector * SECTOR != self._position + at:
                raise self._out_of_place(self._position + at)
            batch.append((place.grain * GRAIN, block[at : at + GRAIN], self._hashes.of(place.grain)))
            self._next = next(self._places, None)
        self._rest, self._position = block[whole:], self._position + whole
        if batch:
            self._later(batch)

    def finish(self) -> None:
        self._settle()
        if self._rest or self._next is not None:
            raise self._out_of_place(self._position)
        expected = sum(1 for unit in self._hashes.units() for entry in self._hashes.unit(unit) if entry)
        if self.compared != expected:
            raise VerifyError(
                f"{self._disk.name}: {self.compared:,} grains are stored, {expected:,} were to be.", hint=_HINT
            )

    def _out_of_place(self, position: int) -> VerifyError:
        return VerifyError(
            f"{self._disk.name}: the image's grain tables do not say what lies at byte {position:,} of it.", hint=_HINT
        )

"""A restore point looked at again, as deeply as asked: everything that is wrong with it, and the date recorded."""

import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ImageError, TargetError, VerifyError
from engine.events import DiskEnded, DiskProgress, DiskStarted
from engine.extents import Extent
from engine.flow.proof import GrainProof, proof_of
from engine.image.chain import open_disk
from engine.image.units import ZERO_GRAIN, ZERO_HASH, grain_hash
from engine.points import manifest as manifests, proof as proofs
from engine.points.grain_hashes import GRAIN, ChainHashes, GrainHashes
from engine.points.manifest import DiskEntry, FileEntry, Manifest
from engine.points.point_chain import PointDisk, chain_of
from engine.points.proof import Depth
from engine.points.removal import plain
from engine.points.verify import verify_files
from engine.reporter import Reporter

_READ = 2 << 20
_TELL = 16 << 20
"""Bytes between two progress events."""
_HASH_OF_ZEROS = grain_hash(ZERO_GRAIN)


@dataclass(frozen=True, slots=True)
class Finding:
    """`file` is "" where the point as a whole is meant."""

    point: Path
    file: str
    text: str

    def __str__(self) -> str:
        return self.text if not self.file or self.file in self.text else f"{self.file}: {self.text}"


@dataclass(slots=True)
class Checked:
    """What a look at one point found. `notes` are no damage; `read` bytes came from the medium; `recorded` tells
    whether the point's proof.toml says so too."""

    directory: Path
    depth: Depth
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: int = 0
    seconds: float = 0.0
    recorded: bool = False


class PointChecks:
    """Looks at points; the files of one that several chains share are read once. Raises only Cancelled."""

    def __init__(self, depth: Depth, cancel: CancelToken, report: Reporter) -> None:
        self._depth, self._cancel, self._report = depth, cancel, report
        self._own: dict[Path, Checked] = {}

    def check(self, directory: Path) -> Checked:
        """The point itself, and for the depth "chain" all that it needs. What is wrong with another point of the chain
        is recorded there, and told here as well."""
        began = time.monotonic()
        own = self._checked(directory)
        whole = Checked(directory, self._depth, list(own.findings), list(own.notes), own.read, recorded=own.recorded)
        if self._depth is Depth.CHAIN:
            self._check_chain(directory, whole)
            self._record(whole, [str(finding) for finding in whole.findings if finding.point == directory])
        whole.seconds = time.monotonic() - began
        return whole

    def _checked(self, directory: Path) -> Checked:
        """The point's own files, read at most once."""
        if directory not in self._own:
            depth = min(self._depth, Depth.GRAINS, key=lambda depth: depth.order)
            look = _Look(Checked(directory, depth), self._cancel, self._report)
            look.at_everything()
            self._own[directory] = look.checked
            self._record(look.checked, [str(finding) for finding in look.checked.findings])
        return self._own[directory]

    def _check_chain(self, directory: Path, whole: Checked) -> None:
        try:
            manifest = manifests.read(directory)
        except ImageError:
            return  # found already
        for disk in manifest.disk:
            with suppress(ImageError):  # found already
                links = chain_of(PointDisk(directory, manifest, disk))
                for link in links[1:]:
                    parent = self._checked(link.directory)
                    whole.findings += [found for found in parent.findings if found not in whole.findings]
                    whole.read += parent.read
                if not whole.findings:
                    self._read_disk(links, whole)

    def _read_disk(self, links: tuple[PointDisk, ...], whole: Checked) -> None:
        """The disk as a restore reads it, each grain against the newest hash that any list of the chain has."""
        disk = links[0].disk
        if not all(link.disk.grains for link in links):
            whole.notes.append(f"{disk.name}: a point of its chain has no list of grain hashes.")
        with ExitStack() as opened:
            try:
                image = open_disk(links[0].image)
                opened.callback(image.close)
                hashes = None
                if all(link.disk.grains for link in links):
                    hashes = ChainHashes([GrainHashes(link.grains, disk.capacity) for link in links])
                    opened.callback(hashes.close)
                for piece in _pieces(image.allocated(), disk.capacity):
                    self._cancel.check()
                    buffer = memoryview(bytearray(piece.length))
                    image.read_into(piece.start, buffer)
                    whole.read += piece.length
                    if hashes is not None:
                        _compare(disk, hashes, piece.start, buffer)
            except (ImageError, VerifyError) as error:
                whole.findings.append(Finding(whole.directory, disk.files[0], error.sentence))

    def _record(self, checked: Checked, findings: list[str]) -> None:
        try:
            proofs.record(checked.directory, checked.depth, findings)
            checked.recorded = True
        except TargetError as error:
            checked.notes.append(error.sentence)
        except ImageError:
            pass  # without a manifest it is no point, which is a finding


class _Look:
    """One look at the files of one point; what is wrong goes into `checked`, and the look goes on."""

    def __init__(self, checked: Checked, cancel: CancelToken, report: Reporter) -> None:
        self.checked = checked
        self._directory, self._depth = checked.directory, checked.depth
        self._cancel, self._report = cancel, report

    def at_everything(self) -> None:
        try:
            manifest = manifests.read(self._directory)
        except (ImageError, OSError) as error:
            self._found(manifests.FILE_NAME, error.sentence if isinstance(error, ImageError) else str(error))
            return
        self._at_proof()
        self._at_lists(manifest)
        whole = [entry for entry in manifest.file if self._is_there(entry)]
        self._at_strangers(manifest)
        if self._depth is not Depth.MANIFEST:
            self._at_contents(manifest, whole)

    def _found(self, file: str, text: str) -> None:
        self.checked.findings.append(Finding(self._directory, file, text))

    def _at_proof(self) -> None:
        try:
            proof = proofs.read(self._directory)
            if proof is not None and proof.manifest != proofs.manifest_digest(self._directory):
                self._found(manifests.FILE_NAME, f"{manifests.FILE_NAME} is not the one that was proven.")
        except ImageError as error:
            self._found(proofs.FILE_NAME, error.sentence)

    def _at_lists(self, manifest: Manifest) -> None:
        """What the manifest says has to fit together, and the parents have to be there."""
        listed = {entry.name for entry in manifest.file}
        for disk in manifest.disk:
            for name in (*disk.files, *([disk.grains] if disk.grains else [])):
                if name not in listed:
                    self._found(name, f"{name} of {disk.name} is not in the manifest's list of files.")
            try:
                chain_of(PointDisk(self._directory, manifest, disk))
            except ImageError as error:
                self._found("", f"{disk.name}: {error.sentence}")

    def _is_there(self, entry: FileEntry) -> bool:
        if not plain(entry.name):
            self._found("", f"The manifest lists {entry.name!r}, which is no name of a file.")
            return False
        try:
            status = (self._directory / entry.name).lstat()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            self._found(
                entry.name, f"{entry.name} {'is missing' if missing else f'is not readable: {error.strerror}'}."
            )
            return False
        if not stat.S_ISREG(status.st_mode):
            self._found(entry.name, f"{entry.name} is not a regular file.")
            return False
        if status.st_size != entry.size:
            self._found(entry.name, f"{entry.name} has {status.st_size:,} bytes; {entry.size:,} were written.")
            return False
        return True

    def _at_strangers(self, manifest: Manifest) -> None:
        known = {entry.name for entry in manifest.file}
        known |= {manifests.FILE_NAME, proofs.FILE_NAME, proofs.NEW_NAME}
        if strangers := sorted({path.name for path in self._directory.iterdir()} - known):
            self.checked.notes.append(f"Not of this point: {', '.join(strangers)}.")

    def _at_contents(self, manifest: Manifest, entries: list[FileEntry]) -> None:
        """The lists of hashes first: what is compared with them has to be able to trust them."""
        lists = {disk.grains for disk in manifest.disk if disk.grains}
        disks = {disk.files[-1]: disk for disk in manifest.disk if disk.files}
        sound: set[str] = set()
        for entry in sorted(entries, key=lambda entry: entry.name not in lists):
            disk = disks.get(entry.name)
            proof = None
            if disk is not None and self._depth is Depth.GRAINS:
                proof = self._grain_proof(disk, sound)
            try:
                self._read(entry, disk, proof)
                sound.add(entry.name)
            except (VerifyError, ImageError) as error:
                self._found(entry.name, error.sentence)
            except OSError as error:
                self._found(entry.name, f"{entry.name} can't be read: {error.strerror}.")
            finally:
                if proof is not None:
                    proof.close()

    def _grain_proof(self, disk: DiskEntry, sound: set[str]) -> GrainProof | None:
        if not disk.grains:
            self.checked.notes.append(f"{disk.name} has no list of grain hashes: proven by SHA-256 alone.")
        if disk.grains not in sound:
            return None
        try:
            return proof_of(self._directory, disk)
        except ImageError as error:
            self._found(disk.grains, error.sentence)
            return None

    def _read(self, entry: FileEntry, disk: DiskEntry | None, proof: GrainProof | None) -> None:
        scoped = self._report.bind(disk=disk.name if disk else entry.name)
        began, told = time.monotonic(), 0
        shown = disk is not None
        if shown:
            scoped.emit(DiskStarted(transport="file", capacity=entry.size, to_read=entry.size))

        def tell(done: int) -> None:
            nonlocal told
            if shown and done - told >= _TELL:
                told = done
                scoped.emit(DiskProgress(read=done, to_read=entry.size, stored=0))

        try:
            readers = {entry.name: proof} if proof is not None else None
            self.checked.read += verify_files(self._directory, [entry], self._cancel, tell, readers)
        finally:
            if shown:
                scoped.emit(DiskEnded(read=entry.size, stored=0, seconds=time.monotonic() - began))


def _pieces(extents: Sequence[Extent], capacity: int) -> Iterator[Extent]:
    """Reads of up to 2 MiB that begin at a grain."""
    for start, length in extents:
        position, end = start // GRAIN * GRAIN, start + length
        while position < end:
            step = min(_READ, min(-(-end // GRAIN) * GRAIN, capacity) - position)
            yield Extent(position, step)
            position += step


def _compare(disk: DiskEntry, hashes: ChainHashes, start: int, buffer: memoryview) -> None:
    for at in range(0, len(buffer), GRAIN):
        found = grain_hash(bytes(buffer[at : at + GRAIN]).ljust(GRAIN, b"\0"))
        if (ZERO_HASH if found == _HASH_OF_ZEROS else found) != hashes.of((start + at) // GRAIN):
            raise VerifyError(
                f"{disk.name}: the grain at byte {start + at:,} of the disk is not what came from the source."
            )

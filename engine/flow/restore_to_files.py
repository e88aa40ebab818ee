"""A point's disks as local files: raw, vmdk or qcow2, each proven against the point before it gets its name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.cancel import CancelToken
from engine.errors import TargetError, TargetFull, VerifyError
from engine.events import Stage
from engine.extents import total
from engine.flow.ledger import Kind
from engine.flow.restore_job import DiskWatch, RestoredDisk, RestoreJob, RestoreOutcome, blocks
from engine.image import qemu_img
from engine.image.chain import ChainDisk
from engine.image.direct_output import DirectOutput
from engine.image.pipeline import export
from engine.image.raw_file import RawFile, verify_raw, write_raw
from engine.image.stream_reader import StreamOptimizedImage
from engine.image.written import WrittenFile
from engine.points.manifest import DiskEntry, FileEntry
from engine.points.restore_files import Destination, Point, chosen_disks, require_disks
from engine.points.verify import verify_files
from engine.reporter import Reporter

FileFormat = Literal["raw", "vmdk", "qcow2"]

Proof = Callable[[], object]
"""Reads one finished file back and compares; raises VerifyError."""


def restore_files(
    point: Point,
    directory: Path,
    kind: FileFormat,
    report: Reporter,
    cancel: CancelToken,
    *,
    disks: Sequence[str] = (),
    threads: int = 0,
) -> RestoreOutcome:
    """The disks named (all for no name) as files of `directory`, which is made if it is missing. Never overwrites, and
    never raises VcbError."""
    job = RestoreJob(point, str(directory), report, cancel)
    restore = _ToFiles(job, directory.absolute(), kind, disks, threads)
    return job.run(restore.work, restore.undo)


def file_names(disks: Sequence[DiskEntry], kind: FileFormat) -> tuple[str, ...]:
    """`scsi0:1` becomes `scsi0-1.raw`."""
    return tuple(f"{disk.name.replace(':', '-')}.{kind}" for disk in disks)


@dataclass(slots=True)
class _ToFiles:
    job: RestoreJob
    directory: Path
    kind: FileFormat
    wanted: Sequence[str]
    threads: int
    destination: Destination | None = None
    entry: int = 0

    def work(self) -> None:
        job = self.job
        with job.stage(Stage.CHECKS):
            require_disks(job.point)
            disks = chosen_disks(job.point, self.wanted)
            if self.kind == "qcow2":
                qemu_img.find_qemu_img()
            destination = Destination(self.directory, file_names(disks, self.kind), job.outcome.job)
            destination.check()
            self._check_space(disks)
        job.prove(disks)
        job.announce(directory=str(self.directory))
        self.entry = job.ledger.intent(Kind.DIRECTORY, path=str(destination.work))
        self.destination = destination
        destination.make()
        job.ledger.done(self.entry)
        proofs: list[Proof] = []
        with job.stage(Stage.RESTORE) as report:
            for disk, name in zip(disks, destination.names, strict=True):
                row, proof = self._restore(disk, destination.work / name, report)
                row.target = str(self.directory / name)
                job.outcome.disks.append(row)
                proofs.append(proof)
        with job.stage(Stage.VERIFY) as report:
            for proof in proofs:
                proof()
            report.step("Everything was read back from the medium and is what the point holds.")
        with job.stage(Stage.MEDIA) as report:
            destination.publish()
            job.ledger.left(self.entry, "restored files", path=str(self.directory))
            report.step(f"{', '.join(destination.names)} are in {self.directory}.")

    def undo(self) -> None:
        if self.destination is not None and self.job.attempt(self.destination.discard):
            self.job.ledger.undone(self.entry)
            self.job.outcome.disks.clear()

    def _check_space(self, disks: Sequence[DiskEntry]) -> None:
        """Raw and qcow2 take what is allocated. A VMDK takes at most that and a little, mostly half; so for it only
        what is sure to be missing stops the restore here."""
        place = next(place for place in (self.directory, *self.directory.parents) if place.exists())
        try:
            status = os.statvfs(place)
        except OSError as error:
            raise TargetError(f"{place} can't be used: {error.strerror}.", fault=type(error).__name__) from None
        needed = sum(self._least(disk) for disk in disks)
        free = status.f_bavail * status.f_frsize
        if needed > free:
            raise TargetFull(f"{place} has {free:,} bytes free; {needed:,} are needed.", hint="Free space there.")

    def _least(self, disk: DiskEntry) -> int:
        image = self.job.open_disk(disk)
        try:
            if self.kind == "vmdk":
                return image.links[0].stat().st_size if as_it_is(image, self.job.point.image(disk)) else 0
            return 0 if self.kind == "qcow2" else _data(image)
        finally:
            image.close()

    def _restore(self, disk: DiskEntry, target: Path, report: Reporter) -> tuple[RestoredDisk, Proof]:
        image = self.job.open_disk(disk)
        try:
            if self.kind == "raw":
                return self._raw(disk, image, target, report)
            if self.kind == "qcow2":
                return self._qcow2(disk, image, target, report)
            if as_it_is(image, self.job.point.image(disk)):
                return self._copy(disk, image.links[0], target, report)
            return self._vmdk(disk, image, target, report)
        finally:
            image.close()

    def _raw(self, disk: DiskEntry, image: ChainDisk, target: Path, report: Reporter) -> tuple[RestoredDisk, Proof]:
        extents, job = image.allocated(), self.job
        watch = DiskWatch(disk, total(extents), "file", report)
        raw = write_raw(
            image,
            extents,
            target,
            threads=self.threads,
            cancel=job.cancel,
            progress=lambda state: watch.progress(state.read, state.stored),
        )
        return watch.ended(raw.read, raw.stored, ""), lambda: self._prove_raw(raw)

    def _prove_raw(self, raw: RawFile) -> None:
        verify_raw(raw, threads=self.threads, cancel=self.job.cancel, progress=lambda done: None)

    def _vmdk(self, disk: DiskEntry, image: ChainDisk, target: Path, report: Reporter) -> tuple[RestoredDisk, Proof]:
        extents = image.allocated()
        watch = DiskWatch(disk, total(extents), "file", report)
        written = export(
            image,
            extents,
            target,
            format="compact",
            threads=self.threads,
            cancel=self.job.cancel,
            progress=lambda state: watch.progress(state.read, state.stored),
        )
        return watch.ended(written.read, written.stored, ""), self._prove_file(target, written.files[0])

    def _copy(self, disk: DiskEntry, source: Path, target: Path, report: Reporter) -> tuple[RestoredDisk, Proof]:
        entry = next(entry for entry in self.job.point.manifest.file if entry.name == source.name)
        watch = DiskWatch(disk, entry.size, "file", report)
        output = DirectOutput(target)
        try:
            for block in blocks(source):
                self.job.cancel.check()
                output.write(block)
                watch.progress(output.position, output.position)
            written = output.close()
        except BaseException:
            output.abort()
            raise
        if written.sha256 != entry.sha256:
            raise VerifyError(f"{source} changed while it was copied.", hint="Suspect the storage under BACKUPROOT.")
        return watch.ended(written.size, written.size, ""), self._prove_file(target, written)

    def _prove_file(self, target: Path, written: WrittenFile) -> Proof:
        entry = FileEntry.of(written)
        return lambda: verify_files(target.parent, [entry], self.job.cancel)

    def _qcow2(self, disk: DiskEntry, image: ChainDisk, target: Path, report: Reporter) -> tuple[RestoredDisk, Proof]:
        cancel, source, data = self.job.cancel, self.job.point.image(disk), _data(image)
        watch = DiskWatch(disk, data, "file", report)
        qemu_img.convert(
            source, target, to="qcow2", cancel=cancel, progress=lambda share: watch.progress(int(share * data), 0)
        )
        with target.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        row = watch.ended(data, target.stat().st_blocks * 512, "")
        return row, lambda: qemu_img.compare(source, target, kind="qcow2", cancel=cancel, progress=lambda share: None)


def as_it_is(image: ChainDisk, file: Path) -> bool:
    """Whether `file` alone holds the whole disk as a streamOptimized VMDK: then it is sent or copied byte for byte."""
    return image.links == (file,) and isinstance(image.images[0], StreamOptimizedImage)


def _data(image: ChainDisk) -> int:
    return total(image.allocated())

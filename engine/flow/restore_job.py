"""What every restore has: its outcome, its stages, its ledger, and the way back when it fails."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.errors import Cancelled, VcbError, VerifyError
from engine.events import DiskEnded, DiskProgress, DiskStarted, Result, ResultState, Stage
from engine.flow.ledger import Kind, Ledger
from engine.image.chain import ChainDisk, open_disk
from engine.image.flat import image_error
from engine.loglevel import LogLevel
from engine.points.manifest import DiskEntry
from engine.points.restore_files import Point, entries_of
from engine.points.verify import verify_files
from engine.reporter import Reporter
from engine.state_directory import StateDirectory, new_job_id

_BLOCK = 1 << 20


@dataclass(slots=True)
class RestoredDisk:
    """Bytes: `read` of the point's disk, `stored` in the target or sent to it. `target` is a file or a datastore."""

    name: str
    label: str
    capacity: int
    read: int
    stored: int
    seconds: float
    target: str


@dataclass(slots=True)
class RestoreOutcome:
    """Filled while the restore runs; `state` is derived from what is in it. `moref` is the new VM's."""

    job: str
    point: Path
    vm: str
    target: str
    moref: str = ""
    disks: list[RestoredDisk] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    error: VcbError | None = None
    leftovers: list[str] = field(default_factory=list)

    @property
    def state(self) -> ResultState:
        return ResultState.of(self.error, self.exceptions)

    @property
    def sentence(self) -> str:
        if self.error is not None:
            return self.error.sentence
        done = f"{len(self.disks)} disk{'' if len(self.disks) == 1 else 's'} restored to {self.target}."
        return " ".join([done, *self.exceptions])

    def to_json(self) -> dict[str, Any]:
        return {
            "job": self.job,
            "vm": self.vm,
            "result": self.state.value,
            "state": self.state.value,
            "sentence": self.sentence,
            "point": str(self.point),
            "target": self.target,
            "moref": self.moref,
            "disks": [
                {
                    "name": disk.name, "label": disk.label, "capacity": disk.capacity, "read": disk.read,
                    "stored": disk.stored, "seconds": disk.seconds, "target": disk.target,
                }
                for disk in self.disks
            ],
            "bytes_read": sum(disk.read for disk in self.disks),
            "bytes_stored": sum(disk.stored for disk in self.disks),
            "stages": self.stages,
            "exceptions": self.exceptions,
            "leftovers": self.leftovers,
            "error": self.error.to_json() if self.error else None,
        }  # fmt: skip


class RestoreJob:
    """One restore of one point. `cancel` is replaced during the clean-up: a stop ends the work, never that."""

    def __init__(self, point: Point, target: str, report: Reporter, cancel: CancelToken) -> None:
        vm = point.manifest.vm.name
        self.point, self.report, self.cancel = point, report.bind(vm=vm), cancel
        self.state = StateDirectory.default()
        self.outcome = RestoreOutcome(new_job_id(), point.directory, vm, target)
        self.ledger = Ledger(self.state.job(self.outcome.job))

    def run(self, work: Callable[[], None], undo: Callable[[], None]) -> RestoreOutcome:
        """`work`, and after any error `undo`; no VcbError comes out. The last event is the result."""
        try:
            work()
        except VcbError as error:
            self.outcome.error = error
            self.cancel = CancelToken()
            undo()
        except BaseException:
            self.cancel = CancelToken()
            undo()
            raise
        finally:
            self.ledger.close()
        if self.outcome.error is not None:
            self.report.error(self.outcome.error, LogLevel.FATAL)
        outcome = self.outcome
        self.report.emit(Result(state=outcome.state.value, sentence=outcome.sentence, summary=outcome.to_json()))
        return outcome

    def announce(self, **details: Any) -> None:
        """The ledger's first line: before anything else is written anywhere."""
        proxy = self.state.proxy_id
        self.ledger.intent(Kind.JOB, restore=str(self.point.directory), pid=os.getpid(), proxy=proxy, **details)

    def attempt(self, undo: Callable[[], None]) -> bool:
        """Runs one part of the clean-up; a failure is reported and remembered as a left-over."""
        try:
            undo()
        except VcbError as error:
            self.report.error(error)
            self.outcome.leftovers.append(error.sentence)
            return False
        return True

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[Reporter]:
        """One stage: its events, its row in the outcome, and the operator's chance to stop before it."""
        self.cancel.check()
        began, how = time.monotonic(), "failed"
        try:
            with self.report.stage(stage) as report:
                yield report
            how = "ok"
        except Cancelled:
            how = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - began
            self.outcome.stages.append({"stage": stage.value, "seconds": seconds, "outcome": how})

    def open_disk(self, disk: DiskEntry) -> ChainDisk:
        """The whole disk, through all its chain. Raises `ImageError`."""
        image = open_disk(self.point.image(disk))
        if image.capacity != disk.capacity:
            image.close()
            raise VerifyError(f"{disk.files[0]} holds {image.capacity:,} bytes; the disk has {disk.capacity:,}.")
        return image

    def prove(self, disks: Sequence[DiskEntry], also: Sequence[str] = ()) -> None:
        """Every file that these disks need, of this point and of the points below it, is what was written; and the
        files named `also` of this one. Raises `VerifyError`."""
        with self.stage(Stage.PROVE_POINT) as report:
            links: dict[Path, None] = {}
            for disk in disks:
                image = self.open_disk(disk)
                image.close()
                links.update(dict.fromkeys(image.links))
            needed = entries_of(list(links))
            if also:
                mine = [entry for entry in self.point.manifest.file if entry.name in also]
                needed.setdefault(self.point.directory, []).extend(mine)
            for directory, entries in needed.items():
                try:
                    size = verify_files(directory, entries, self.cancel)
                except VerifyError as error:
                    raise VerifyError(
                        error.sentence,
                        fault=error.fault,
                        hint="The point is damaged, and nothing was restored from it: use another point.",
                    ) from error
                report.step(f"{directory}: {len(entries)} files, {size:,} bytes, are what was written.")


def blocks(path: Path) -> Iterator[bytes]:
    """A file of the point in pieces of 1 MiB. Raises `ImageError` when it can't be read, so that this is not taken for
    trouble with the target."""
    try:
        with path.open("rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                yield block
    except OSError as error:
        raise image_error(error, path) from error


class DiskWatch:
    """One disk's restore as events and as a row of the outcome."""

    def __init__(self, disk: DiskEntry, to_read: int, transport: str, report: Reporter) -> None:
        self._disk, self._to_read = disk, to_read
        self._report = report.bind(disk=disk.name)
        self._began = time.monotonic()
        self._report.emit(DiskStarted(transport=transport, capacity=disk.capacity, to_read=to_read))

    def progress(self, read: int, stored: int) -> None:
        self._report.emit(DiskProgress(read=read, to_read=self._to_read, stored=stored))

    def ended(self, read: int, stored: int, target: str) -> RestoredDisk:
        seconds = time.monotonic() - self._began
        self._report.emit(DiskEnded(read=read, stored=stored, seconds=seconds))
        return RestoredDisk(self._disk.name, self._disk.label, self._disk.capacity, read, stored, seconds, target)

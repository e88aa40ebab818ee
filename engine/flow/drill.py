"""A restore without a target: a point's disks are rebuilt as a restore reads them, every grain compared with what came
from the source, and what the guest would find on them is checked: partition tables and file systems.

Whatever could not be checked is said, and then the drill is no success.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.cancel import CancelToken
from engine.errors import Cancelled, TargetError, VcbError
from engine.events import DiskEnded, DiskProgress, DiskStarted, ResultState, Stage
from engine.extents import DiskSource, Extent
from engine.flow.file_systems import Checkers, Judged, Verdict
from engine.flow.point_check import PointChecks
from engine.image.carve import carved
from engine.image.chain import open_disk
from engine.image.partition_table import Partition, read_partition_table
from engine.image.volumes import EMPTY, TITLES, identify
from engine.loglevel import LogLevel
from engine.points import drills
from engine.points.drills import Drill
from engine.points.manifest import DiskEntry
from engine.points.proof import Depth
from engine.points.restore_files import Point
from engine.reporter import Reporter
from engine.state_directory import StateDirectory

_LEVELS = {Verdict.SOUND: LogLevel.STAGE, Verdict.UNCHECKED: LogLevel.WARNING, Verdict.DAMAGED: LogLevel.ERROR}


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition, or (`partition` 0) a whole disk, and what its checker thinks of it. `place` in bytes of the disk."""

    partition: int
    place: Extent
    kind: str
    judged: Judged

    @property
    def title(self) -> str:
        return f"partition {self.partition} ({TITLES[self.kind]})" if self.partition else TITLES[self.kind]

    @property
    def sentence(self) -> str:
        judged = self.judged
        return f"{self.title}: {judged.verdict}" + (f": {judged.text}." if judged.text else ".")


@dataclass(slots=True)
class DrilledDisk:
    """`scheme` as in PartitionTable; `findings` are damage of the partition table, or that the disk can't be read."""

    name: str
    label: str
    capacity: int
    scheme: str = ""
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)


@dataclass(slots=True)
class Drilled:
    """One point's drill. `findings` (damage), `gaps` (what was not looked at) and `notes` are about the point as a
    whole; `read` bytes came from the medium for the rebuild."""

    point: Path
    vm: str
    at: datetime
    disks: list[DrilledDisk] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: int = 0
    seconds: float = 0.0

    @property
    def damage(self) -> list[str]:
        """Every sentence about damage."""
        of_disks = [f"{disk.name}: {finding}" for disk in self.disks for finding in disk.findings]
        return self.findings + of_disks + self._volumes(Verdict.DAMAGED)

    @property
    def unchecked(self) -> list[str]:
        """Every sentence about what was not checked."""
        return self.gaps + self._volumes(Verdict.UNCHECKED)

    def _volumes(self, verdict: Verdict) -> list[str]:
        return [
            f"{disk.name} {volume.sentence}"
            for disk in self.disks
            for volume in disk.volumes
            if volume.judged.verdict is verdict
        ]

    @property
    def state(self) -> ResultState:
        if self.damage:
            return ResultState.FAILURE
        return ResultState.EXCEPTIONS if self.unchecked else ResultState.SUCCESS

    @property
    def sentence(self) -> str:
        return " ".join(self.damage or self.unchecked or ["Everything on its disks is sound."])

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.point),
            "vm": self.vm,
            "at": self.at.isoformat(),
            "result": self.state.value,
            "damage": self.damage,
            "unchecked": self.unchecked,
            "notes": self.notes,
            "bytes_read": self.read,
            "seconds": self.seconds,
            "disks": [
                {
                    "name": disk.name, "label": disk.label, "capacity": disk.capacity, "scheme": disk.scheme,
                    "findings": disk.findings, "notes": disk.notes,
                    "volumes": [
                        {
                            "partition": volume.partition, "start": volume.place.start, "length": volume.place.length,
                            "kind": volume.kind, "verdict": volume.judged.verdict.value,
                            "checker": volume.judged.checker, "text": volume.judged.text, "said": volume.judged.said,
                        }
                        for volume in disk.volumes
                    ],
                }
                for disk in self.disks
            ],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where partitions are copied to, one at a time; `floor` bytes stay free there."""

    directory: Path
    floor: int


def drill_point(
    point: Point,
    scratch: Scratch,
    state: StateDirectory,
    *,
    timeout: float,
    report: Reporter,
    cancel: CancelToken,
) -> Drilled:
    """Drills one point and records the date. `timeout`: seconds for each run of a checker. Raises only Cancelled; then
    nothing is recorded."""
    drilled = Drilled(point.directory, point.manifest.vm.name, datetime.now(UTC).replace(microsecond=0))
    report, began = report.bind(vm=drilled.vm), time.monotonic()
    with report.stage(Stage.PROVE_POINT) as proving:
        checked = PointChecks(Depth.CHAIN, cancel, proving).check(point.directory)
        drilled.findings += [str(finding) for finding in checked.findings]
        drilled.notes += checked.notes
        drilled.read = checked.read
    for skipped in point.manifest.skipped:
        drilled.notes.append(f"{skipped.name} ({skipped.label}) is not in the point: {skipped.reason}")
    if not point.manifest.disk:
        drilled.gaps.append("The point holds no disk: the VM had none.")
    if checked.findings:
        drilled.gaps.append("Its disks were not looked into, since the point is damaged.")
    with report.stage(Stage.FILE_SYSTEMS) as checking:
        checkers = Checkers(timeout, quiesced=point.manifest.snapshot.quiesced, cancel=cancel)
        for disk in [] if checked.findings else point.manifest.disk:
            look = _Look(scratch, checkers, cancel, checking.bind(disk=disk.name))
            drilled.disks.append(look.at_disk(point, disk))
    drilled.seconds = time.monotonic() - began
    _record(point, drilled, state, report)
    return drilled


@dataclass(frozen=True, slots=True)
class _Look:
    """At one disk."""

    scratch: Scratch
    checkers: Checkers
    cancel: CancelToken
    report: Reporter

    def at_disk(self, point: Point, disk: DiskEntry) -> DrilledDisk:
        """Raises only Cancelled."""
        row = DrilledDisk(disk.name, disk.label, disk.capacity)
        try:
            image = open_disk(point.image(disk))
            try:
                self._look(image, row)
            finally:
                image.close()
        except Cancelled:
            raise
        except VcbError as error:
            row.findings.append(error.sentence)
        for finding in row.findings:
            self.report.log(LogLevel.ERROR, finding)
        return row

    def _look(self, image: DiskSource, row: DrilledDisk) -> None:
        table = read_partition_table(image)
        row.scheme, row.findings, row.notes = table.scheme, table.findings, table.notes
        self.report.step(f"{len(table.partitions)} partitions ({table.scheme or 'no partition table'}).")
        if not image.capacity:
            row.notes.append("It has no bytes.")
        elif table.scheme:
            for partition in table.partitions:
                if partition.place.length and partition.place.end <= image.capacity:
                    row.volumes.append(self._volume(image, partition.place, partition))
        else:
            row.volumes.append(self._volume(image, Extent(0, image.capacity), None))
        for volume in row.volumes:
            self.report.log(_LEVELS[volume.judged.verdict], volume.sentence)

    def _volume(self, image: DiskSource, place: Extent, partition: Partition | None) -> Volume:
        self.cancel.check()
        number = partition.number if partition else 0
        kind = identify(image, place)
        purpose = partition.without_file_system if partition else ""
        if purpose or kind == EMPTY:
            text = f"{purpose}, which has no file system" if purpose else "it holds only zeros"
            return Volume(number, place, kind, Judged(Verdict.SOUND, text=text))
        if why := self.checkers.missing(kind):
            return Volume(number, place, kind, Judged(Verdict.UNCHECKED, text=why))
        return Volume(number, place, kind, self._judged(image, place, kind))

    def _judged(self, image: DiskSource, place: Extent, kind: str) -> Judged:
        began = time.monotonic()
        self.report.emit(DiskStarted(transport="file", capacity=image.capacity, to_read=place.length))
        stored = 0
        try:
            with carved(image, place, self.scratch.directory, floor=self.scratch.floor, cancel=self.cancel) as volume:
                stored = volume.stored
                self.report.emit(DiskProgress(read=place.length, to_read=place.length, stored=stored))
                return self.checkers.judge(kind, volume)
        except TargetError as error:  # the scratch's fault, not the point's
            return Judged(Verdict.UNCHECKED, text=error.sentence.rstrip("."))
        finally:
            self.report.emit(DiskEnded(read=place.length, stored=stored, seconds=time.monotonic() - began))


def _record(point: Point, drilled: Drilled, state: StateDirectory, report: Reporter) -> None:
    vcenter, vm = point.manifest.vcenter.instance_uuid, point.manifest.vm.moref
    drill = Drill(
        at=drilled.at,
        vcenter=vcenter,
        vm=vm,
        point=point.directory.name,
        result=drilled.state.value,
        findings=drilled.damage + drilled.unchecked,
    )
    try:
        drills.record(state.root, drill)
    except TargetError as error:
        report.error(error)
        drilled.notes.append(error.sentence)

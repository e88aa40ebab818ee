"""A point's disks written over the VM's own: only where they differ, over the writable NFC ticket of each disk.

The VM is off and has no snapshots, so nothing else writes and the disk written is the one that the point was made of.
There is no way back from it but another point: what is written is noted before, the disk is read back afterwards, and
no later incremental builds on an older point (`points.restored`). A restore that stops half-way says so, and is simply
run again: what is right already is not written twice.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import PolicyError, PrivilegeError, VmUnsuitable
from engine.events import Stage
from engine.extents import total
from engine.flow.job import Prompt, open_session
from engine.flow.ledger import Kind
from engine.flow.locks import vm_lock
from engine.flow.overwrite import Overwrite, areas_of
from engine.flow.restore_job import DiskWatch, RestoreJob, RestoreOutcome
from engine.points import restored
from engine.points.manifest import DiskEntry
from engine.points.naming import POINTS, vm_directory
from engine.points.restore_files import Point, chosen_disks, require_disks
from engine.reporter import Reporter
from engine.transport.nfc.source import NfcDisk, Patience, open_nfc
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine, read_vm
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session
from engine.vsphere.tickets import read_ticket, write_ticket


@dataclass(frozen=True)
class InPlacePlan:
    """`pairs` are the point's disks and the VM's own that they overwrite."""

    vm: VirtualMachine
    pairs: tuple[tuple[DiskEntry, Disk], ...]
    encrypted: bool

    @property
    def transport(self) -> str:
        return "nbdssl" if self.encrypted else "nbd"

    def to_json(self) -> dict[str, Any]:
        return {
            "vm": self.vm.name,
            "path": self.vm.path,
            "moref": self.vm.moref,
            "transport": self.transport,
            "disks": [
                {"name": mine.name, "label": mine.label, "file": theirs.file, "capacity": mine.capacity}
                for mine, theirs in self.pairs
            ],
        }


def plan_in_place(
    point: Point,
    disks: Sequence[str],
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> InPlacePlan:
    """What `restore_in_place` would overwrite. Raises what would stop it."""
    cancel.check()
    session = open_session(settings, report, prompt)
    try:
        return _plan(session, point, disks, settings)
    finally:
        session.close()


def restore_in_place(
    point: Point,
    disks: Sequence[str],
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> RestoreOutcome:
    """Overwrites the disks named (all for no name). Never raises VcbError."""
    job = RestoreJob(point, f"{point.manifest.vm.name} itself, at {settings.HOST}", report, cancel)
    restore = _InPlace(job, disks, settings, prompt)
    try:
        return job.run(restore.work, restore.undo)
    finally:
        restore.held.close()


def _plan(session: Session, point: Point, names: Sequence[str], settings: Settings) -> InPlacePlan:
    require_disks(point)
    told = point.manifest
    if told.vcenter.instance_uuid != session.instance_uuid:
        raise PolicyError(
            f"The point was made from another vCenter than {session.host}.", hint="Restore it as a new VM instead."
        )
    vm = read_vm(session, told.vm.moref)
    if vm.instance_uuid != told.vm.instance_uuid:
        raise VmUnsuitable(
            f"{vm.name} ({vm.moref}) is not the VM of this point: its instance uuid is {vm.instance_uuid}, the "
            f"point's {told.vm.instance_uuid}.",
            hint="Restore the point as a new VM instead.",
        )
    _check_vm(vm)
    own = {disk.key: disk for disk in vm.disks}
    pairs = tuple((disk, _checked(disk, own.get(disk.key), vm)) for disk in chosen_disks(point, names))
    _check_privileges(session, vm)
    return InPlacePlan(vm, pairs, encrypted=settings.TRANSPORT_MODE != "nbd")


def _check_vm(vm: VirtualMachine) -> None:
    if vm.power != "poweredOff":
        raise VmUnsuitable(
            f"{vm.name} is not powered off, and its disks can't be overwritten under it.",
            hint="Shut it down, or restore the point as a new VM.",
        )
    if vm.snapshots:
        raise VmUnsuitable(
            f"{vm.name} has {len(vm.snapshots)} snapshot{'s' if len(vm.snapshots) > 1 else ''}; its disks would be "
            "overwritten on top of them.",
            hint="Remove the snapshots first, or restore the point as a new VM.",
        )
    if locked := ", ".join(vm.locked_methods):
        raise VmUnsuitable(f"vCenter has disabled {locked} for {vm.name}: another product may be working on it.")


def _checked(mine: DiskEntry, theirs: Disk | None, vm: VirtualMachine) -> Disk:
    """The VM's own disk, when it is the very one that the point holds."""
    instead = "Restore the point as a new VM, or its disks to files."
    if theirs is None:
        raise VmUnsuitable(f"{vm.name} has no {mine.name} ({mine.label}) any more.", hint=instead)
    if theirs.uuid != mine.backing_uuid:
        raise VmUnsuitable(f"{mine.name} of {vm.name} is another disk than the point's: {theirs.file}.", hint=instead)
    if theirs.capacity != mine.capacity:
        raise VmUnsuitable(
            f"{mine.name} of {vm.name} has {theirs.capacity:,} bytes now, and {mine.capacity:,} in the point.",
            hint=instead,
        )
    return theirs


def _check_privileges(session: Session, vm: VirtualMachine) -> None:
    lacking = tuple(missing(session, wanted(["restore in place"], {"vm": [Ref("VirtualMachine", vm.moref)]})))
    if lacking:
        named = ", ".join(f"{privilege} on {entity}" for entity, privilege in lacking)
        raise PrivilegeError(f"The user lacks privileges for a restore in place: {named}.", missing=lacking)


@dataclass(slots=True)
class _InPlace:
    job: RestoreJob
    wanted: Sequence[str]
    settings: Settings
    prompt: Prompt | None
    held: ExitStack = field(default_factory=ExitStack)
    touched: list[str] = field(default_factory=list)
    """Disks of which something has been written, or may have been."""

    def work(self) -> None:
        job = self.job
        with job.stage(Stage.CHECKS) as report:
            session = open_session(self.settings, report, self.prompt)
            self.held.callback(session.close)
            session.start_keepalive()
            plan = _plan(session, job.point, self.wanted, self.settings)
            told = job.point.manifest.vcenter.instance_uuid
            self.held.enter_context(vm_lock(job.state, told, plan.vm.moref, job.outcome.job))
            job.outcome.target, job.outcome.moref = f"{plan.vm.path} itself", plan.vm.moref
        job.prove([mine for mine, _ in plan.pairs])
        job.announce(vcenter=session.instance_uuid, in_place=plan.vm.moref)
        with job.stage(Stage.RESTORE) as report:
            for mine, theirs in plan.pairs:
                self._overwrite(session, plan, mine, theirs, report)

    def undo(self) -> None:
        """Nothing can be undone: the ledger's entry stays open, and whoever looks is told."""
        self.job.outcome.disks.clear()
        self.job.outcome.leftovers += [
            f"{name} is half old, half restored: run the restore again before the VM is powered on."
            for name in self.touched
        ]

    def _overwrite(self, session: Session, plan: InPlacePlan, mine: DiskEntry, theirs: Disk, report: Reporter) -> None:
        job, report = self.job, report.bind(disk=mine.name)
        self._forget_tracking(plan, mine.key)
        opened = partial(open_disk, session, plan.vm.moref, theirs, self.settings, report, job.cancel)
        with closing(job.open_disk(mine)) as image:
            entry = job.ledger.intent(
                Kind.CONTENTS, vm=plan.vm.moref, disk=mine.name, path=theirs.file, point=str(job.point.directory)
            )
            self.touched.append(mine.name)
            with closing(opened(writable=True)) as target:
                areas, allocated = areas_of(image, target)
                watch = DiskWatch(mine, total(areas), plan.transport, report)
                written = Overwrite(image, target, allocated, watch, job.cancel).run(areas)
            with report.stage(Stage.VERIFY), closing(opened()) as again:
                areas, allocated = areas_of(image, again)
                Overwrite(image, again, allocated, None, job.cancel).run(areas)
        self.touched.remove(mine.name)
        job.ledger.undone(entry, written=written)
        job.outcome.disks.append(watch.ended(total(areas), written, theirs.file))
        report.step(f"{written:,} of {total(areas):,} bytes differed and were written; it is what the point holds.")

    def _forget_tracking(self, plan: InPlacePlan, key: int) -> None:
        home = self.settings.BACKUPROOT / POINTS / vm_directory(plan.vm.name, plan.vm.moref)
        for place in {home.absolute(), self.job.point.directory.parent}:
            if place.is_dir():
                restored.note(place, key, datetime.now(UTC))


def open_disk(  # noqa: PLR0917
    session: Session, vm: str, disk: Disk, settings: Settings, report: Reporter, cancel: CancelToken,
    *, writable: bool = False,
) -> NfcDisk:  # fmt: skip
    """A disk of a VM (moref) that is off. Who writes has it to himself: one connection, to be closed before the disk is
    opened again. Raises as `open_nfc`."""
    return open_nfc(
        (lambda: write_ticket(session, vm, disk.key)) if writable else (lambda: read_ticket(session, vm)),
        disk.file,
        encrypted=settings.TRANSPORT_MODE != "nbd",
        connections=1 if writable else settings.NFC_CONNECTIONS,
        buffer=settings.NFC_BUFFER,
        requests=settings.NFC_REQUESTS,
        report=report,
        cancel=cancel,
        patience=Patience(timeout=settings.HTTP_TIMEOUT),
        writable=writable,
    )

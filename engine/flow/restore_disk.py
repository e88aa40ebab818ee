"""One disk of a point as a new disk of a VM that exists, beside its own: to take single things from, or to keep.

The VM is off: only then may its disks be written over NFC. The new disk is thin and lies in the VM's own directory,
under a name that holds the job's id, so that it is provably ours: when anything fails, it is taken away again.
"""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import ConfigError, PrivilegeError, TargetFull, VcbError, VmUnsuitable
from engine.events import Stage
from engine.extents import total
from engine.flow.job import Prompt, open_session
from engine.flow.ledger import Kind
from engine.flow.locks import vm_lock
from engine.flow.overwrite import Overwrite, areas_of
from engine.flow.restore_in_place import open_disk
from engine.flow.restore_job import DiskWatch, RestoreJob, RestoreOutcome
from engine.points.manifest import DiskEntry
from engine.points.restore_files import Point, chosen_disks
from engine.reporter import Reporter
from engine.vsphere import new_disk, tasks
from engine.vsphere.inventory import VirtualMachine, read_vm
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref, get
from engine.vsphere.session import Session


@dataclass(frozen=True)
class DiskPlan:
    """`data` is what will be written, `free` what the datastore has left, in bytes; `place` (controller, unit)."""

    disk: DiskEntry
    vm: VirtualMachine
    file: str
    place: tuple[int, int]
    data: int
    free: int

    def to_json(self) -> dict[str, Any]:
        return {
            "vm": self.vm.name,
            "path": self.vm.path,
            "moref": self.vm.moref,
            "disk": self.disk.name,
            "label": self.disk.label,
            "capacity": self.disk.capacity,
            "file": self.file,
            "to_write": self.data,
            "free": self.free,
        }


def plan_disk(  # noqa: PLR0917
    point: Point,
    disk: str,
    onto: str,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> DiskPlan:
    """What `restore_disk` would add. Raises what would stop it."""
    job = RestoreJob(point, "", report, cancel)
    with closing(open_session(settings, report, prompt)) as session:
        return _plan(job, session, disk, onto, settings)


def restore_disk(  # noqa: PLR0917
    point: Point,
    disk: str,
    onto: str,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> RestoreOutcome:
    """Adds the disk `disk` of the point (name or label; "" when the point has only one) to the VM that `onto` names.
    Never raises VcbError."""
    job = RestoreJob(point, f"{onto} at {settings.HOST}", report, cancel)
    restore = _ToVm(job, disk, onto, settings, prompt)
    try:
        return job.run(restore.work, restore.undo)
    finally:
        restore.held.close()


def _plan(job: RestoreJob, session: Session, name: str, onto: str, settings: Settings) -> DiskPlan:
    disks = chosen_disks(job.point, [name] if name else [])
    if len(disks) != 1:
        has = ", ".join(f"{disk.name} ({disk.label})" for disk in disks) or "none"
        raise ConfigError("One disk at a time is added to a VM.", hint=f"Choose with --disk; the point has: {has}.")
    vm = read_vm(session, resolve(session, parse_spec(onto, settings.VM_LOOKUP_METHOD)))
    if vm.power != "poweredOff" or vm.template:
        raise VmUnsuitable(
            f"{vm.name} is {'a template' if vm.template else 'not powered off'}: nothing can be written to its disks.",
            hint="Shut it down, name another VM, or restore the disk to a file.",
        )
    lacking = tuple(missing(session, wanted(["restore one disk"], {"vm": [Ref("VirtualMachine", vm.moref)]})))
    if lacking:
        named = ", ".join(f"{privilege} on {entity}" for entity, privilege in lacking)
        raise PrivilegeError(f"The user lacks privileges to add a disk: {named}.", missing=lacking)
    place = new_disk.free_place(new_disk.devices_of(session, vm.moref), vm.name)
    with closing(job.open_disk(disks[0])) as image:
        data = total(image.allocated())
    file = f"{(vm.vmx or '').rpartition('/')[0]}/{disks[0].name.replace(':', '-')}-{job.outcome.job}.vmdk"
    free = _free(session, vm, file)
    if free < data:
        raise TargetFull(f"The datastore of {file} has {free:,} bytes free; {data:,} will be written.")
    return DiskPlan(disks[0], vm, file, place, data, free)


def _free(session: Session, vm: VirtualMachine, file: str) -> int:
    """Bytes that are free where the VM has its configuration."""
    mine = get(session, [Ref("VirtualMachine", vm.moref)], ["datastore"])
    stores = next(iter(mine.values()), {}).get("datastore") or []
    facts = get(session, stores, ["name", "summary.freeSpace"]).values()
    name = file[1:].partition("]")[0]
    return next((each.get("summary.freeSpace", 0) for each in facts if each.get("name") == name), 0)


@dataclass(slots=True)
class _ToVm:
    job: RestoreJob
    name: str
    onto: str
    settings: Settings
    prompt: Prompt | None
    held: ExitStack = field(default_factory=ExitStack)
    session: Session | None = None
    plan: DiskPlan | None = None
    entry: int = 0

    def work(self) -> None:
        job = self.job
        with job.stage(Stage.CHECKS) as report:
            session = self.session = open_session(self.settings, report, self.prompt)
            self.held.callback(session.close)
            session.start_keepalive()
            plan = self.plan = _plan(job, session, self.name, self.onto, self.settings)
            self.held.enter_context(vm_lock(job.state, session.instance_uuid, plan.vm.moref, job.outcome.job))
            job.outcome.target, job.outcome.moref = plan.vm.path, plan.vm.moref
        job.prove([plan.disk])
        job.announce(vcenter=session.instance_uuid, onto=plan.vm.moref)
        with job.stage(Stage.RESTORE) as report:
            self._write(session, plan, report.bind(disk=plan.disk.name))

    def undo(self) -> None:
        self.job.outcome.disks.clear()
        session, plan = self.session, self.plan
        if self.entry and session and plan and self.job.attempt(lambda: self._take_away(session, plan)):
            self.job.ledger.undone(self.entry)

    def _write(self, session: Session, plan: DiskPlan, report: Reporter) -> None:
        job, vm = self.job, plan.vm
        self.entry = job.ledger.intent(Kind.DISK, vm=vm.moref, path=plan.file, vcenter=session.instance_uuid)
        made = new_disk.add(
            session, vm.moref, file=plan.file, capacity=plan.disk.capacity, place=plan.place,
            report=report, cancel=job.cancel, subject=vm.name,
        )  # fmt: skip
        job.ledger.done(self.entry, key=made.key)
        opened = partial(open_disk, session, vm.moref, made, self.settings, report, job.cancel)
        with closing(job.open_disk(plan.disk)) as image:
            with closing(opened(writable=True)) as target:
                areas, held = areas_of(image, target)
                watch = DiskWatch(plan.disk, total(areas), target.transport, report)
                written = Overwrite(image, target, held, watch, job.cancel).run(areas)
            with report.stage(Stage.VERIFY), closing(opened()) as again:
                areas, held = areas_of(image, again)
                Overwrite(image, again, held, None, job.cancel).run(areas)
        job.ledger.left(self.entry, "a restored disk")
        job.outcome.disks.append(watch.ended(total(areas), written, plan.file))
        report.step(f"{plan.disk.name} of the point is {made.name} ({made.label}) of {vm.name} now.")

    def _take_away(self, session: Session, plan: DiskPlan) -> None:
        """Raises CleanupError's kin, named by `attempt`, when the disk stays."""
        vm = plan.vm
        try:
            tasks.await_running(session, vm.moref, self.job.report, kind="VirtualMachine.reconfigure")
            new_disk.delete(session, vm.moref, plan.file, self.job.report, subject=vm.name)
        except VcbError as error:
            raise VmUnsuitable(
                f"The unfinished disk {plan.file} is still with {vm.name}: {error.sentence}",
                fault=error.fault,
                hint="Remove it from the VM and delete its file.",
            ) from error

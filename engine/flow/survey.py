"""From a VM specification to a plan: everything is read and decided, nothing is touched."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from engine.config.rules import check_rules, require_runnable
from engine.errors import PolicyError, PrivilegeError, TargetFull, TransportError, VcbError
from engine.flow import change_tracking, encrypted_unsuitable
from engine.flow.attachments import own_vm
from engine.flow.hotadd_unsuitable import check
from engine.flow.incremental import Methods, require_allowed
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind, ledgers
from engine.flow.plan import Plan, PlannedDisk, Space, check_suitable, measure_space, plan_disks
from engine.flow.policies import SnapshotDecision, decide_snapshot
from engine.flow.san_unsuitable import refuse
from engine.image.pipeline import ImageFormat
from engine.points import mount_point as mounts
from engine.points.mount_point import Found, State
from engine.points.naming import POINTS, mount_point, vm_directory
from engine.vsphere.datastores import datastores_of
from engine.vsphere.hotadd import read_proxy
from engine.vsphere.inventory import VirtualMachine, read_vm
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.snapshots import SNAPSHOT_NAME

T = TypeVar("T")


def look_up(job: JobContext, spec: str) -> str:
    """The moref of the one VM that the specification names."""
    return resolve(job.session, parse_spec(spec, job.settings.VM_LOOKUP_METHOD))


def make_plan(job: JobContext, moref: str, *, mounted: bool = False) -> Plan:
    """Decides the whole run, which ends as a restore point, or as a mount point (`mounted`). What forbids it is the
    plan's `obstacle` (the first one found), so that a plan can show everything else as well."""
    settings = job.settings
    vm = read_vm(job.session, moref)
    obstacles = _Obstacles()
    obstacles.guard(lambda: check_suitable(vm))
    findings = tuple(check_rules(settings))
    obstacles.guard(lambda: require_runnable(settings))
    disks = obstacles.guard(lambda: plan_disks(vm, settings.EXCLUDE_DISKS)) or tuple(
        PlannedDisk(disk, disk.skip) for disk in vm.disks
    )
    disks = _with_methods(job, vm, disks, obstacles, mounted=mounted)
    obstacles.guard(lambda: _check_encryption(job, vm))
    obstacles.guard(lambda: _check_san(job, vm, disks))
    obstacles.guard(lambda: _check_hotadd(job, vm, disks))
    nothing_to_do = bool(disks) and all(planned.skip for planned in disks)
    found, space = _inspect_target(job, vm, disks, obstacles)
    snapshot = None if nothing_to_do else obstacles.guard(lambda: _decide_snapshot(job, vm, found))
    tracking_wanted = change_tracking.wanted(settings.CHANGE_TRACKING, vm)
    lacking_for_cbt = _missing(job, vm, ["enable changed block tracking"]) if tracking_wanted else ()
    no_tracking = change_tracking.obstacle(vm, snapshot, lacking_for_cbt) if tracking_wanted else ""
    lacking = _missing(job, vm, ["snapshot", settings.TRANSPORT_MODE])
    obstacles.guard(lambda: _check_privileges(vm, lacking))
    lacking_for_files = _missing(job, vm, ["configuration files", "ovf descriptor"])
    return Plan(
        vm=vm,
        vcenter=job.session.instance_uuid,
        disks=disks,
        transport=settings.TRANSPORT_MODE,
        export_format=cast(ImageFormat, settings.EXPORT_FORMAT),
        quiesce=settings.QUIESCE,
        policy=settings.SNAPSHOT_POLICY,
        snapshot=snapshot,
        owners={s.moref: job.owner(s, moref) for s in vm.snapshots},
        enable_tracking=tracking_wanted and not no_tracking,
        mount_point=found,
        space=space,
        privileges_missing=(*lacking, *lacking_for_files),
        findings=findings,
        warnings=tuple(_warnings(job, vm, space, lacking_for_files, no_tracking)),
        obstacle=obstacles.first,
    )


def points_home(job: JobContext, vm: VirtualMachine) -> Path:
    """Where this VM's restore points lie: BACKUPROOT/points/<vm>."""
    return job.settings.BACKUPROOT / POINTS / vm_directory(vm.name, vm.moref)


def _with_methods(
    job: JobContext, vm: VirtualMachine, disks: tuple[PlannedDisk, ...], obstacles: "_Obstacles", *, mounted: bool
) -> tuple[PlannedDisk, ...]:
    """Each disk that is exported with how it is read."""
    methods = Methods(job, vm, points_home(job, vm))
    planned = []
    for each in disks:
        method = None if each.skip else methods.plan(each.disk, mounted=mounted)
        if method is not None:
            obstacles.guard(lambda name=each.disk.name, method=method: require_allowed(job.settings, name, method))
        planned.append(replace(each, method=method))
    return tuple(planned)


class _Obstacles:
    """Runs checks and keeps the first error instead of stopping at it."""

    def __init__(self) -> None:
        self.first: VcbError | None = None

    def guard(self, check: Callable[[], T]) -> T | None:
        try:
            return check()
        except VcbError as error:
            self.first = self.first or error
            return None


def _check_encryption(job: JobContext, vm: VirtualMachine) -> None:
    if not job.settings.TRANSPORT_FALLBACK:
        encrypted_unsuitable.refuse(vm, job.settings.TRANSPORT_MODE)


def _check_san(job: JobContext, vm: VirtualMachine, disks: tuple[PlannedDisk, ...]) -> None:
    """What san can't read is known before the snapshot. Where another mode may carry it instead, that is decided then.
    A delta above our own snapshot is none when the disk is read: the snapshot's file is, or the delta is gone."""
    settings = job.settings
    if settings.TRANSPORT_MODE != "san" or settings.TRANSPORT_FALLBACK:
        return
    datastores = datastores_of(job.session, vm.moref)
    foreign = any(snapshot.name != SNAPSHOT_NAME for snapshot in vm.snapshots)
    for planned in disks:
        if planned.skip is None:
            disk = replace(planned.disk, delta=planned.disk.delta and foreign)
            refuse(vm, disk, datastores.get(disk.datastore))


def _check_hotadd(job: JobContext, vm: VirtualMachine, disks: tuple[PlannedDisk, ...]) -> None:
    """The same for what can't be attached to the proxy."""
    if job.settings.TRANSPORT_MODE != "hotadd" or job.settings.TRANSPORT_FALLBACK:
        return
    proxy = read_proxy(job.session, own_vm(job.session, job.settings))
    check(job.session, proxy, vm, [planned.disk for planned in disks if planned.skip is None])


def _decide_snapshot(job: JobContext, vm: VirtualMachine, found: Found) -> SnapshotDecision:
    """A left-over mount point that may be deleted takes its snapshot along, before the policies look."""
    settings = job.settings
    if job.resumed is not None:
        return job.resumed.decision(settings.SNAPSHOT_POLICY)
    doomed = found.marker.snapshot if found.marker and found.state is State.OURS else ""
    return decide_snapshot(
        settings.SNAPSHOT_POLICY,
        settings.PREEXISTING_VCB_SNAPSHOT,
        [snapshot for snapshot in vm.snapshots if snapshot.moref != doomed],
        lambda snapshot: job.owns(snapshot, vm.moref),
    )


def _inspect_target(
    job: JobContext, vm: VirtualMachine, disks: tuple[PlannedDisk, ...], obstacles: _Obstacles
) -> tuple[Found, Space]:
    """What lies at the mount point (its finished or its partial form), and the space under BACKUPROOT."""
    name = mount_point(vm.name, vm.moref)
    root = obstacles.guard(lambda: mounts.backuproot(job.settings.BACKUPROOT))
    if root is None:
        return Found(State.ABSENT, job.settings.BACKUPROOT / name), Space(0, 0, 0)
    found = existing_mount_point(job, vm.moref, root / name)
    obstacles.guard(lambda: _check_mount_point(job, found))
    space = measure_space(disks, root, job.settings)
    obstacles.guard(lambda: _check_space(job, space))
    return found, space


def existing_mount_point(job: JobContext, vm_moref: str, path: Path) -> Found:
    """The finished mount point, else the partial one of a run that never ended, else nothing."""
    identity = {"proxy": job.state.proxy_id, "vcenter": job.session.instance_uuid, "vm": vm_moref}
    found = mounts.inspect(path, **identity)
    if found.state is not State.ABSENT:
        return found
    partial = mounts.inspect(mounts.partial(path), **identity)
    return found if partial.state is State.ABSENT else partial


def _check_mount_point(job: JobContext, found: Found) -> None:
    """PREEXISTING_MOUNTPOINT: nothing there is always fine; ours may be deleted if it says so; the rest never."""
    if found.state is State.ABSENT:
        return
    if found.state is not State.OURS:
        raise PolicyError(
            f"{found.path} already exists and is not provably this proxy's mount point: {found.why}.",
            hint="Move it away; vcb-console deletes only what it made.",
        )
    assert found.marker is not None
    if job.settings.PREEXISTING_MOUNTPOINT == "fail":
        raise PolicyError(
            f"The mount point {found.path} of job {found.marker.job} still exists, and PREEXISTING_MOUNTPOINT is fail.",
            hint=f"Run: vcb unmount {found.path} - or set PREEXISTING_MOUNTPOINT to delete.",
        )
    if found.marker.snapshot and job.settings.SNAPSHOT_POLICY == "deleteonly":
        raise PolicyError(
            f"PREEXISTING_MOUNTPOINT delete would remove {found.path} with its snapshot {found.marker.snapshot}, "
            "which SNAPSHOT_POLICY deleteonly is to read.",
            hint=f"Run: vcb unmount {found.path}",
        )
    mounts.require_only_ours(found.path, found.marker)


def _check_space(job: JobContext, space: Space) -> None:
    hint = "Free space in BACKUPROOT, or lower KEEP_FREE."
    if space.free < space.keep_free:
        raise TargetFull(f"BACKUPROOT has {space.free:,} bytes free; KEEP_FREE is {space.keep_free:,}.", hint=hint)
    if (kind := job.settings.EXPORT_FORMAT) != "compact" and space.short:
        raise TargetFull(f"BACKUPROOT lacks {space.short:,} bytes for a {kind} export.", hint=hint)


def _missing(job: JobContext, vm: VirtualMachine, steps: list[str]) -> tuple[tuple[str, str], ...]:
    ref = Ref("VirtualMachine", vm.moref)
    datastores = get_one(job.session, ref, ["datastore"]).get("datastore", ())
    proxy: list[Ref] = []
    if "hotadd" in steps:
        with suppress(TransportError):  # told by its own check
            proxy = [Ref("VirtualMachine", own_vm(job.session, job.settings))]
    return tuple(missing(job.session, wanted(steps, {"vm": [ref], "datastore": datastores, "proxy": proxy})))


def _check_privileges(vm: VirtualMachine, lacking: tuple[tuple[str, str], ...]) -> None:
    if lacking:
        named = ", ".join(f"{privilege} on {entity}" for entity, privilege in lacking)
        raise PrivilegeError(
            f"The user lacks privileges for {vm.name}: {named}.",
            missing=lacking,
            hint="Add them to the user's role in vCenter; the sample role of VCB does not have them all.",
        )


def _warnings(
    job: JobContext, vm: VirtualMachine, space: Space, lacking_for_files: tuple[tuple[str, str], ...], no_tracking: str
) -> list[str]:
    warnings = [
        f"The user lacks {privilege} on {entity}: the VM's configuration (.vmx, .nvram, .ovf) can't be saved whole."
        for entity, privilege in lacking_for_files
    ]
    if no_tracking:
        warnings.append(f"Changed block tracking can't be switched on: {no_tracking}.")
    if vm.consolidation_needed:
        warnings.append("Its disks need consolidation already, before this run.")
    if space.short and space.free >= space.keep_free:
        warnings.append(
            f"If nothing compresses, BACKUPROOT will lack {space.short:,} bytes; "
            "the run stops before KEEP_FREE is touched."
        )
    warnings += [
        f"It has a snapshot of another owner, which stays: {snapshot.name} of {snapshot.created:%Y-%m-%d %H:%M}."
        for snapshot in vm.snapshots
        if job.owner(snapshot, vm.moref) == "foreign"
    ]
    if locked := ", ".join(vm.locked_methods):
        warnings.append(f"vCenter has disabled {locked}: another backup product may hold this VM.")
    return [*warnings, *_dead_jobs(job, vm)]


def _dead_jobs(job: JobContext, vm: VirtualMachine) -> Iterator[str]:
    """What jobs that died on this VM may have left, from their ledgers."""
    for job_id, entries in ledgers(job.state.jobs):
        header = next((entry for entry in entries if entry.kind is Kind.JOB), None)
        if job_id == job.id or header is None or header.details.get("vm") != vm.moref:
            continue
        if header.details.get("vcenter") != job.session.instance_uuid:
            continue
        things = [str(entry) for entry in entries if entry.open and entry.kind is not Kind.JOB]
        if things:
            yield f"Job {job_id} ended without undoing: {', '.join(things)}."

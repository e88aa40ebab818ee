"""Backup snapshots in vCenter: those of dead jobs, those that stay on purpose, and those of others."""

from collections.abc import Iterator
from pathlib import Path

from engine.errors import PolicyError
from engine.flow.ledger import Entry, Fate, Kind
from engine.flow.reconcile.leftover import Leftover, Record, Verdict
from engine.flow.reconcile.scene import SETTLER, Machine, PastJob, Scene
from engine.vsphere import snapshots
from engine.vsphere.delta import Delta, deltas
from engine.vsphere.snapshots import SNAPSHOT_NAME, OwnershipToken, Snapshot

REMOVING_POLICIES = ("automatic", "deleteonly")


class Snapshots:
    kind = "snapshot"
    action = "remove the snapshot, its data merged into the disk"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        seen: set[Record] = set()
        for machine in scene.machines.values():
            backups = [each for each in machine.snapshots if each.name == SNAPSHOT_NAME]
            if not backups:
                continue
            assert scene.session is not None
            sizes = deltas(scene.session, machine.moref, backups)
            for snapshot in backups:
                leftover = _judged(scene, machine, snapshot, sizes.get(snapshot.moref))
                seen.update(leftover.records)
                yield leftover
        for job in scene.jobs.values():
            for entry in job.open(Kind.SNAPSHOT):
                if (job.id, entry.number) not in seen and not job.running:
                    yield _recorded_only(scene, job, entry)

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.session is not None
        snapshots.remove(scene.session, leftover.id, scene.report, subject=leftover.vm_name)


class Consolidations:
    """The removal of a snapshot by a job of ours was cut off, or left its files behind."""

    kind = "consolidation"
    action = "consolidate the disks"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for machine in scene.machines.values():
            if not machine.consolidation_needed:
                continue
            told = [
                (job, entry)
                for job in scene.jobs.values()
                if job.header.get("vcenter") == scene.vcenter
                for entry in job.entries
                if entry.kind is Kind.SNAPSHOT and entry.details.get("vm") == machine.moref
                if entry.open or entry.details.get("by") == SETTLER
            ]
            records = tuple((job.id, entry.number) for job, entry in told)
            busy = scene.busy(scene.vcenter, machine.moref)
            verdict, why = Verdict.UNPROVEN, "no dead job of this proxy tells of it: consolidate it in vCenter"
            if busy:
                verdict, why = Verdict.RUNNING, f"job {busy.id} works on the VM"
            elif records:
                verdict, why = Verdict.OURS, f"job {records[-1][0]} died while its snapshot was there"
            yield Leftover(
                kind=self.kind,
                verdict=verdict,
                id=machine.moref,
                text=f"disks of {machine.name} that need consolidation",
                why=why,
                owner="this proxy" if records else "unknown",
                job=records[-1][0] if records else "",
                vcenter=scene.vcenter,
                vm=machine.moref,
                vm_name=machine.name,
                records=records,
            )

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.session is not None
        if snapshots.consolidation_needed(scene.session, leftover.vm):
            snapshots.consolidate(scene.session, leftover.vm, scene.report, subject=leftover.vm_name)
        if snapshots.consolidation_needed(scene.session, leftover.vm):
            raise PolicyError(
                f"Disks of {leftover.vm_name} still need consolidation.", hint="Use Snapshots > Consolidate in vCenter."
            )


def _judged(scene: Scene, machine: Machine, snapshot: Snapshot, delta: Delta | None) -> Leftover:
    token = OwnershipToken.parse(snapshot.description)
    told = _told(scene, machine, snapshot, token)
    verdict, why = _verdict(scene, machine, snapshot, token, told)
    owner = "unknown"
    if token is not None:
        owner = "this proxy" if token.proxy == scene.state.proxy_id else f"proxy {token.proxy}"
    return Leftover(
        kind=Snapshots.kind,
        verdict=verdict,
        id=snapshot.moref,
        text=f"snapshot {snapshot.name} ({snapshot.moref}) of {machine.name}",
        why=why,
        job=token.job if token else "",
        owner=owner,
        vcenter=scene.vcenter,
        vm=machine.moref,
        vm_name=machine.name,
        since=snapshot.created.timestamp(),
        delta=delta,
        records=tuple((job.id, entry.number) for job, entry in told if entry.open),
    )


def _told(
    scene: Scene, machine: Machine, snapshot: Snapshot, token: OwnershipToken | None
) -> list[tuple[PastJob, Entry]]:
    """What the ledgers tell of it, oldest first. An intent without a moref is meant when the token names its job."""
    found = []
    for job in scene.jobs.values():
        for entry in job.entries:
            if entry.kind is not Kind.SNAPSHOT or entry.details.get("vm") != machine.moref:
                continue
            moref = entry.details.get("moref")
            if job.header.get("vcenter") == scene.vcenter and (
                moref == snapshot.moref or (moref is None and token is not None and token.job == job.id)
            ):
                found.append((job, entry))
    return sorted(found, key=lambda pair: pair[1].at)


def _verdict(  # noqa: PLR0911 - one verdict a line, the most certain first
    scene: Scene,
    machine: Machine,
    snapshot: Snapshot,
    token: OwnershipToken | None,
    told: list[tuple[PastJob, Entry]],
) -> tuple[Verdict, str]:
    if busy := scene.busy(scene.vcenter, machine.moref):
        return Verdict.RUNNING, f"job {busy.id} works on the VM"
    if snapshot.moref in scene.adopted:
        return Verdict.OURS, "adopted by the operator"
    if token is None:
        return Verdict.UNPROVEN, "it carries no token of vcb-console"
    if token.proxy != scene.state.proxy_id:
        return Verdict.FOREIGN, f"made by job {token.job} of proxy {token.proxy}"
    if (token.vcenter, token.vm) != (scene.vcenter, machine.moref):
        return Verdict.UNPROVEN, "its token names another VM: a copy, or registered anew"
    if not told:
        return Verdict.UNPROVEN, "no ledger tells whether it was to stay"
    job, entry = told[-1]
    if entry.fate is not Fate.LEFT:
        return Verdict.OURS, f"job {job.id} died"
    mount = _mount_of(scene, job, snapshot)
    if entry.details.get("policy") not in REMOVING_POLICIES or mount is not None:
        return Verdict.KEPT, f"{entry.details.get('why', '')}" + (f": {mount}" if mount else "")
    return Verdict.OURS, "the mount point that it belonged to is gone"


def _mount_of(scene: Scene, job: PastJob, snapshot: Snapshot) -> Path | None:
    """The mount point that the snapshot belongs to, while it is there."""
    for path, marker in scene.mount_points():
        if marker is not None and marker.snapshot == snapshot.moref and marker.vcenter == scene.vcenter:
            return path
    recorded = [Path(entry.details["path"]) for entry in job.entries if entry.kind is Kind.DIRECTORY]
    return next((path for path in recorded if path.is_dir()), None)


def _recorded_only(scene: Scene, job: PastJob, entry: Entry) -> Leftover:
    """A ledger tells of a snapshot that no VM shows."""
    vm, moref = entry.details.get("vm", ""), entry.details.get("moref", "")
    elsewhere = scene.verdict_elsewhere(job)
    verdict, why = elsewhere or (Verdict.GONE, "it is not there any more, or was never made")
    if elsewhere is None and vm in scene.machines and scene.machines[vm].consolidation_needed:
        verdict, why = Verdict.KEPT, "removed, but its disks need consolidation first"
    return Leftover(
        kind=Snapshots.kind,
        verdict=verdict,
        id=moref or f"{job.id}#{entry.number}",
        text=f"snapshot {SNAPSHOT_NAME}{f' ({moref})' if moref else ''} of {scene.name_of(vm)}",
        why=why,
        job=job.id,
        owner="this proxy",
        vcenter=job.header.get("vcenter", ""),
        vm=vm,
        vm_name=scene.name_of(vm),
        since=entry.at,
        records=((job.id, entry.number),),
    )

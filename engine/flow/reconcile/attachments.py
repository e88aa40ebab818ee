"""Disks that dead jobs left attached to the proxy: detached before the snapshots that they belong to go."""

from collections.abc import Iterator

from engine.flow import attachments
from engine.flow.ledger import Entry, Kind
from engine.flow.reconcile.leftover import Leftover, Record, Verdict
from engine.flow.reconcile.scene import PastJob, Scene
from engine.vsphere.hotadd import JournalEntry, read_journal

_SEPARATOR = " "


class Attachments:
    """The proxy's own journal in vCenter decides what is there; a ledger alone tells of what is gone."""

    kind = "attachment"
    action = "detach the disk from the proxy; its files stay"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        seen: set[Record] = set()
        if scene.session is not None:
            for proxy in attachments.proxies(scene.session, scene.settings, scene.state):
                for entry in read_journal(scene.session, proxy):
                    leftover = _judged(scene, proxy, entry)
                    seen.update(leftover.records)
                    yield leftover
        for job in scene.dead():
            for entry in job.open(Kind.ATTACHMENT):
                if (job.id, entry.number) not in seen:
                    yield _recorded_only(scene, job, entry)

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.session is not None
        proxy, _, file = leftover.id.partition(_SEPARATOR)
        attachments.take_away(scene.session, scene.settings, scene.state, proxy, file, scene.report)


def _judged(scene: Scene, proxy: str, entry: JournalEntry) -> Leftover:
    job = scene.jobs.get(entry.job)
    verdict, why = Verdict.OURS, f"job {entry.job} died"
    if entry.proxy != scene.state.proxy_id:
        verdict, why = Verdict.FOREIGN, f"attached by job {entry.job} of proxy {entry.proxy}"
    elif job is not None and job.running:
        verdict, why = Verdict.RUNNING, f"job {job.id} reads it"
    elif busy := scene.busy(scene.vcenter, entry.vm):
        verdict, why = Verdict.RUNNING, f"job {busy.id} works on the VM"
    told = job.open(Kind.ATTACHMENT) if job is not None else ()
    return Leftover(
        kind=Attachments.kind,
        verdict=verdict,
        id=f"{proxy}{_SEPARATOR}{entry.file}",
        text=f"disk {entry.file} attached to the proxy {scene.name_of(proxy)}",
        why=why,
        job=entry.job,
        owner="this proxy" if entry.proxy == scene.state.proxy_id else f"proxy {entry.proxy}",
        vcenter=scene.vcenter,
        vm=entry.vm,
        vm_name=scene.name_of(entry.vm),
        records=tuple((entry.job, each.number) for each in told if each.details.get("name") == entry.file),
    )


def _recorded_only(scene: Scene, job: PastJob, entry: Entry) -> Leftover:
    """A ledger tells of it, and no proxy's journal does: it was never attached, or was detached."""
    elsewhere = scene.verdict_elsewhere(job)
    verdict, why = elsewhere or (Verdict.GONE, "it is not attached any more, or never was")
    file, vm = entry.details.get("name", ""), entry.details.get("vm", "")
    return Leftover(
        kind=Attachments.kind,
        verdict=verdict,
        id=f"{entry.details.get('proxy_vm', '')}{_SEPARATOR}{file}",
        text=f"disk {file} attached to the proxy",
        why=why,
        job=job.id,
        owner="this proxy",
        vcenter=job.header.get("vcenter", ""),
        vm=vm,
        vm_name=scene.name_of(vm),
        since=entry.at,
        records=((job.id, entry.number),),
    )

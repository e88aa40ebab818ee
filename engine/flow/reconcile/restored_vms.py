"""VMs that a restore was making when its job died: until its import is complete, the VM goes with its lease."""

from collections.abc import Iterator

from engine.flow.ledger import Entry, Kind
from engine.flow.reconcile.leftover import Leftover, Verdict
from engine.flow.reconcile.scene import PastJob, Scene
from engine.flow.restore_to_vm import NOTE
from engine.vsphere.import_lease import end_lost_import
from engine.vsphere.properties import Ref, get
from engine.vsphere.session import Session

_PATIENCE = 15.0


class RestoredVms:
    """A VM whose import has ended may be whole, and in use: it is told, and never touched."""

    kind = "vm"
    action = "end the import; vCenter takes the unfinished VM away"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for job in scene.jobs.values():
            if not job.running:
                yield from (self._judged(scene, job, entry) for entry in job.open(Kind.VM))

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.session is not None
        ((job, number),) = leftover.records
        entry = next(entry for entry in scene.jobs[job].entries if entry.number == number)
        folder, name = Ref("Folder", entry.details["folder"]), entry.details["name"]
        end_lost_import(scene.session, folder, name, (NOTE, entry.details["note"]), scene.report, _PATIENCE)

    def _judged(self, scene: Scene, job: PastJob, entry: Entry) -> Leftover:
        name = entry.details.get("name", "")
        verdict, why = scene.verdict_elsewhere(job) or self._verdict(scene, job, entry, name)
        return Leftover(
            kind=self.kind,
            verdict=verdict,
            id=entry.details.get("moref") or f"{job.id}#{entry.number}",
            text=f"unfinished VM {name}",
            why=why,
            job=job.id,
            owner="this proxy",
            vcenter=job.header.get("vcenter", ""),
            vm=entry.details.get("moref", ""),
            vm_name=name,
            since=entry.at,
            records=((job.id, entry.number),),
        )

    @staticmethod
    def _verdict(scene: Scene, job: PastJob, entry: Entry, name: str) -> tuple[Verdict, str]:
        assert scene.session is not None
        session = scene.session
        suspects = [moref for moref, machine in scene.machines.items() if machine.name == name]
        made = [moref for moref in suspects if _noted(session, moref, entry.details.get("note", ""))]
        if not made:
            return Verdict.GONE, "vCenter has taken it away, or it was never made"
        if not any(_importing(session, moref) for moref in made):
            return (
                Verdict.UNPROVEN,
                "its import has ended, so it may be whole: delete it in vCenter if it is not wanted",
            )
        return Verdict.OURS, f"job {job.id} died while it was imported"


def _noted(session: Session, moref: str, note: str) -> bool:
    ref = Ref("VirtualMachine", moref)
    options = get(session, [ref], ["config.extraConfig"]).get(ref, {}).get("config.extraConfig", ())
    return bool(note) and any((each.get("key"), each.get("value")) == (NOTE, note) for each in options)


def _importing(session: Session, moref: str) -> bool:
    ref = Ref("VirtualMachine", moref)
    recent = get(session, [ref], ["recentTask"]).get(ref, {}).get("recentTask", ())
    states = get(session, list(recent), ["info.state"]).values()
    return any(info.get("info.state") in ("running", "queued") for info in states)

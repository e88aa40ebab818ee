"""Export leases of dead jobs: while one lives, vCenter refuses to move, start or delete the VM, and its snapshots too.

A lease belongs to its session, and another one can't reach it (facts/vsphere-backup.md 3.6); its task can be cancelled
by anybody with the privilege. The task is named in the ledger. Where the job died before it could write that down,
nothing tells our export from another's: then its own time-out, five minutes without a keep-alive, is waited for.
"""

import time
from collections.abc import Iterator

from engine.errors import CleanupError
from engine.flow.ledger import Entry, Kind
from engine.flow.reconcile.leftover import Leftover, Verdict
from engine.flow.reconcile.scene import PastJob, Scene
from engine.vsphere import tasks
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session

_LOOK = 0.5
_TIMEOUT = 300.0
_PATIENCE = 15.0


class Leases:
    kind = "lease"
    action = "end the export lease"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for job in scene.jobs.values():
            for entry in job.open(Kind.LEASE):
                yield self._judged(scene, job, entry)

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        session = scene.session
        assert session is not None
        ((job, number),) = leftover.records
        entry = next(entry for entry in scene.jobs[job].entries if entry.number == number)
        if task := entry.details.get("task"):
            tasks.cancel_export(session, leftover.vm, Ref("Task", task), scene.report)
            return
        rest = min(max(0.0, entry.at + _TIMEOUT - time.time()), _TIMEOUT)
        scene.report.step(f"{leftover.vm_name}: waiting for the time-out of the export lease, at most {rest:.0f} s")
        until = time.monotonic() + rest + _PATIENCE
        while self._running(session, leftover.vm, None):
            if time.monotonic() >= until:
                raise CleanupError(f"The export lease of {leftover.vm_name} has not ended.", hint="Cancel its task.")
            scene.cancel.wait(_LOOK)

    def _judged(self, scene: Scene, job: PastJob, entry: Entry) -> Leftover:
        vm, task = entry.details.get("vm", ""), entry.details.get("task")
        name = scene.name_of(vm)
        verdict, why = Verdict.RUNNING, f"job {job.id} is running"
        if not job.running:
            verdict, why = scene.verdict_elsewhere(job) or (Verdict.OURS, f"job {job.id} died")
        if verdict is Verdict.OURS and scene.session is not None and not self._running(scene.session, vm, task):
            verdict, why = Verdict.GONE, "the lease has ended"
        return Leftover(
            kind=self.kind,
            verdict=verdict,
            id=task or f"{job.id}#{entry.number}",
            text=f"export lease of {name}" + (f" ({task})" if task else ", to end by its time-out"),
            why=why,
            job=job.id,
            owner="this proxy",
            vcenter=job.header.get("vcenter", ""),
            vm=vm,
            vm_name=name,
            since=entry.at,
            records=((job.id, entry.number),),
        )

    @staticmethod
    def _running(session: Session, vm: str, task: str | None) -> bool:
        running = [each.moid for each in tasks.exports(session, vm)]
        return task in running if task else bool(running)

"""Merges of restore points that were cut off: their plan tells whether to complete or to undo them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.errors import PolicyError
from engine.flow.locks import root_lock, vm_holder
from engine.flow.reconcile.leftover import Leftover, Verdict
from engine.flow.reconcile.scene import Scene
from engine.points import catalog, replacement


class Merges:
    kind = "merge"
    action = "complete or undo the merge, as far as it came"

    def find(self, scene: Scene) -> Iterator[Leftover]:
        for work in replacement.directories(scene.root) if scene.root else ():
            yield _judged(scene, work)

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        assert scene.root is not None
        work = Path(leftover.id)
        with root_lock(scene.root, scene.state, "reconcile"):
            if replacement.never_began(work):
                replacement.remove_empty(work)
                return
            change = replacement.read(work)
            completed = change.settle(partial(catalog.forget, scene.root, scene.state.root))
        scene.report.step(f"{'Completed' if completed else 'Undid'} the merge of {change.point}.")


def _judged(scene: Scene, work: Path) -> Leftover:
    """No ledger tells of a merge: its plan does, and the VM's lock whether it is at work."""
    vcenter = vm = job = ""
    verdict, why, text = Verdict.OURS, "it was cut off", f"merge {work.name}"
    try:
        plan = replacement.read(work).plan
        vcenter, vm, job = plan.vcenter, plan.vm, plan.job
        text = f"merge of the restore point {plan.point}"
        if holder := vm_holder(scene.state, vcenter, vm):
            verdict, why = Verdict.RUNNING, f"the VM is being worked on by {holder}"
    except PolicyError as error:
        if replacement.never_began(work):
            why = "it was cut off before it began"
        else:
            verdict, why = Verdict.UNPROVEN, error.sentence
    return Leftover(
        kind=Merges.kind,
        verdict=verdict,
        id=str(work),
        text=text,
        why=why,
        job=job,
        owner="this BACKUPROOT",
        vcenter=vcenter,
        vm=vm,
        vm_name=scene.name_of(vm),
        since=work.lstat().st_mtime,
    )

"""Which VMs of the inventory the running jobs work on, and how far they are."""

from collections.abc import Iterable

from tui.feed import JobRow, PartRow
from tui.models.inventory import InventoryModel, JobMark


def marks(running: Iterable[JobRow], model: InventoryModel) -> dict[str, JobMark]:
    """By VM id. The same id is another VM in another vCenter: a job's plan tells whose it is; before that, only a job
    sent to the very server that is shown is believed, and one started by a VM's name is that VM's of the name."""
    found: dict[str, JobMark] = {}
    names: dict[str, str] = {}
    for job in running:
        for part in job.parts:
            if part.state not in ("waiting", "running"):
                continue
            if part.vcenter:
                vm = part.moref if part.vcenter == model.status.vcenter else ""
            elif job.server == model.status.host:
                names = names or {machine.name: machine.id for machine in model.machines()}
                vm = _asked_for(part, names)
            else:
                vm = ""
            if vm:
                share = part.read / part.to_read if part.to_read else None
                found[vm] = JobMark(job.id, part.stage or part.state, share)
    return found


def _asked_for(part: PartRow, names: dict[str, str]) -> str:
    kind, _, word = part.subject.rpartition(":")
    return word if kind == "moref" else names.get(part.vm, "")

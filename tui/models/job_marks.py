"""Which VMs of the inventory the running jobs work on, and how far they are."""

from collections.abc import Iterable

from tui.feed import JobRow
from tui.models.inventory import InventoryModel, JobMark


def marks(running: Iterable[JobRow], model: InventoryModel) -> dict[str, JobMark]:
    """By VM id. A job started by a VM's name is that VM's of the name."""
    found: dict[str, JobMark] = {}
    names: dict[str, str] | None = None
    for job in running:
        for part in job.parts:
            if part.state not in ("waiting", "running"):
                continue
            kind, _, vm = part.subject.rpartition(":")
            if kind != "moref":
                names = {machine.name: machine.id for machine in model.machines()} if names is None else names
                vm = names.get(part.vm, "")
            if vm:
                share = part.read / part.to_read if part.to_read else None
                found[vm] = JobMark(job.id, part.stage or part.state, share)
    return found

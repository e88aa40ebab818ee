"""What each transport mode reads a second, measured on samples that are thrown away (`vcb doctor --measure`).

Nothing is changed for a figure. As a VM is, that leaves: `san`, since a LUN can be read under a running VM; `nbd` and
`nbdssl` where the disks are at rest (the VM is off, or has a snapshot whose frozen disks its host lets others read).
A running VM's own disks are locked by its host; `hotadd` changes the proxy's VM; an export lease (`https`) forbids to
power on, move or delete the VM. All of these are measured only on a snapshot made for it, when the operator asks.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.cancel import CancelToken
from engine.cores import default_threads
from engine.errors import Cancelled, TransportError, VcbError
from engine.extents import DiskSource
from engine.flow.consolidation import settle_consolidation
from engine.flow.hotadd_sources import HotaddSources
from engine.flow.job_context import JobContext
from engine.flow.lease_exporter import LeaseExporter
from engine.flow.ledger import Kind
from engine.flow.locks import vm_lock
from engine.flow.nfc_sources import NfcSources
from engine.flow.outcome import Outcome
from engine.flow.plan import Plan, check_suitable
from engine.flow.policies import decide_snapshot
from engine.flow.san_sources import SanSources
from engine.flow.snapshot_step import SnapshotStep
from engine.flow.source_exporter import Sources
from engine.flow.survey import make_plan
from engine.image.crew import READ_AHEAD
from engine.transport import sampling
from engine.transport.sampling import Sample
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import VirtualMachine
from engine.vsphere.snapshots import Snapshot, frozen_disks

ASK = "vcb doctor --measure --with-snapshot makes one for it, and removes it."
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    """One mode on one disk: a sample, or in `why` the reason that there is none, and in `hint` what would give one.
    `failed`: it should have worked."""

    mode: str
    file: str = ""
    datastore: str = ""
    sample: Sample | None = None
    why: str = ""
    hint: str = ""
    failed: bool = False

    def __str__(self) -> str:
        if self.sample is None:
            return f"{self.mode}: not measured: {self.why}"
        read, seconds = self.sample.read / _MIB, self.sample.seconds
        what = "the compressed stream of " if self.mode == "https" else ""
        rate = f"{self.sample.rate / _MIB:,.1f} MiB/s"
        return f"{self.mode}: {rate} ({read:,.1f} MiB of {what}{self.file} in {seconds:.2f} s)"

    def to_json(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"mode": self.mode, "disk": self.file, "datastore": self.datastore}
        if self.sample is None:
            return {**shape, "why_not": self.why}
        sample = self.sample
        return {**shape, "bytes": sample.read, "seconds": sample.seconds, "bytes_per_second": int(sample.rate)}


def as_it_is(job: JobContext, vm: VirtualMachine, hindrances: Mapping[str, str]) -> Iterator[Speed]:
    """Of every mode, without changing anything anywhere. `hindrances` by mode: why it would not work, "" where nothing
    speaks against it. Raises Cancelled."""
    newest = max(vm.snapshots, key=lambda snapshot: snapshot.created, default=None)
    disks = _one_a_datastore(frozen_disks(job.session, newest.moref) if newest else vm.disks)
    at_rest = newest is not None or vm.power == "poweredOff"
    for mode, hindrance in hindrances.items():
        if hindrance:
            yield Speed(mode, why="it would not work")
        elif not disks:
            yield Speed(mode, why="no disk of this VM would be backed up")
        elif mode == "san":
            san = SanSources(job, vm)
            yield from _of_each(mode, disks, lambda disk, san=san: san.glance(disk, job.report), san.close, job.cancel)
        elif mode in ("nbd", "nbdssl") and at_rest:
            yield from _over(NfcSources(job, vm.moref, mode), disks, job)
        else:
            yield Speed(mode, why=_WITHOUT_SNAPSHOT[mode], hint=ASK)


_RUNS = "the VM runs without a snapshot, so that its host holds its disks locked"
_WITHOUT_SNAPSHOT = {
    "nbd": _RUNS,
    "nbdssl": _RUNS,
    "hotadd": "the disk of a snapshot would have to be attached to the proxy's VM",
    "https": "an export lease forbids to power on, move or delete what it exports, so it is taken of a snapshot only",
}


def with_snapshot(job: JobContext, vm: VirtualMachine, hindrances: Mapping[str, str]) -> list[Speed]:
    """Of every mode, read as a backup would, of a snapshot that is made for it (never quiesced) and removed, whatever
    happens. Raises BusyError when another job works on the VM, PolicyError when a backup's snapshot is there already,
    VmUnsuitable, SnapshotError, CleanupError for what stays, Cancelled."""
    vcenter, outcome = job.session.instance_uuid, Outcome(job.id, "measure", vm.name)
    with vm_lock(job.state, vcenter, vm.moref, job.id):
        check_suitable(vm)
        plan = make_plan(job, vm.moref)
        decision = decide_snapshot("automatic", "fail", plan.vm.snapshots, lambda _: False)
        plan = replace(plan, snapshot=decision, enable_tracking=False)
        if not plan.exported:
            return [Speed(mode, why="no disk of this VM would be backed up") for mode in hindrances]
        job.ledger.intent(Kind.JOB, vm=vm.moref, vcenter=vcenter, pid=os.getpid(), proxy=job.state.proxy_id)
        step = SnapshotStep(job, plan, outcome)
        try:
            snapshot = step.take()
            found = list(_on_snapshot(job, plan, snapshot, hindrances))
        finally:
            job.cancel = CancelToken()  # the operator's stop ends the measuring, never the clean-up
            step.settle(succeeded=True)
        settle_consolidation(job, vm.moref, vm.name, outcome, job.report, before=plan.vm.consolidation_needed)
    return found + [Speed("snapshot", why=text, failed=True) for text in outcome.exceptions]


def _on_snapshot(job: JobContext, plan: Plan, snapshot: Snapshot, hindrances: Mapping[str, str]) -> Iterator[Speed]:
    exported = {planned.disk.key for planned in plan.exported}
    frozen = {disk.key: disk for disk in frozen_disks(job.session, snapshot.moref)}
    disks = _one_a_datastore(disk for disk in frozen.values() if disk.key in exported)
    makers: Mapping[str, Callable[[], Sources]] = {
        "san": lambda: SanSources(job, plan.vm),
        "nbd": lambda: NfcSources(job, plan.vm.moref, "nbd"),
        "nbdssl": lambda: NfcSources(job, plan.vm.moref, "nbdssl"),
        "hotadd": lambda: HotaddSources(job, plan, snapshot),
    }
    for mode, hindrance in hindrances.items():
        try:
            if hindrance:
                yield Speed(mode, why="it would not work")
            elif mode == "https":
                yield _streamed(job, plan, snapshot, frozen, disks[0])
            else:
                yield from _over(makers[mode](), disks, job)
        except Cancelled:
            raise
        except VcbError as error:
            yield Speed(mode, why=error.sentence, hint=error.hint, failed=True)


def _over(sources: Sources, disks: Sequence[Disk], job: JobContext) -> Iterator[Speed]:
    def opened(disk: Disk) -> DiskSource:
        sources.probe(disk, job.report).close()
        return sources.open(disk, job.report)

    return _of_each(sources.transport, disks, opened, sources.close, job.cancel)


def _of_each(
    mode: str, disks: Sequence[Disk], opened: Callable[[Disk], DiskSource], close: Callable[[], None],
    cancel: CancelToken,
) -> Iterator[Speed]:  # fmt: skip
    """One disk after another; one that fails is told and stops no other."""
    try:
        for disk in disks:
            try:
                source = opened(disk)
                try:
                    sample = sampling.measure(source, threads=default_threads() + READ_AHEAD, cancel=cancel)
                finally:
                    source.close()
                why = "" if sample else f"nothing of {disk.file} is allocated"
                yield Speed(mode, disk.file, disk.datastore, sample, why)
            except Cancelled:
                raise
            except VcbError as error:
                yield Speed(mode, disk.file, disk.datastore, why=error.sentence, hint=error.hint, failed=True)
    finally:
        close()


def _streamed(job: JobContext, plan: Plan, snapshot: Snapshot, frozen: dict[int, Disk], disk: Disk) -> Speed:
    """The beginning of the stream: it can begin nowhere else. The lease is given up then."""
    exporter = LeaseExporter(job, plan, snapshot, frozen, job.report)
    began = time.monotonic()
    received = 0
    try:
        with exporter.stream(disk.key, job.report) as stream:
            for view in stream:
                received += len(view)
                if received >= sampling.MOST_BYTES or time.monotonic() - began >= sampling.MOST_SECONDS:
                    break
        seconds = max(time.monotonic() - began, 1e-6)
    finally:
        exporter.abort()
    if not received:
        raise TransportError(f"The stream of {disk.file} is empty.")
    return Speed("https", disk.file, disk.datastore, Sample(received, seconds))


def _one_a_datastore(disks: Iterable[Disk]) -> list[Disk]:
    """Of each datastore the disk with the most data, of those that a backup would read."""
    chosen: dict[str, Disk] = {}
    for disk in disks:
        held = chosen.get(disk.datastore)
        if disk.skip is None and (held is None or (disk.allocated or 0) > (held.allocated or 0)):
            chosen[disk.datastore] = disk
    return list(chosen.values())

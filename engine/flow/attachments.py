"""Disks that jobs attached to the proxy: written down twice before the act, and gone before their snapshot goes.

The ledger knows of one before it is attached; the proxy's own journal in vCenter (engine.vsphere.hotadd) has it from
the same task on, and outlives this machine. A snapshot whose disk is still attached to another VM must not be removed.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from engine.config.options import Settings
from engine.errors import TransportError, VcbError, VsphereError
from engine.flow.job_context import JobContext
from engine.flow.ledger import FILE_NAME, Entry, Kind, Ledger, in_use, ledgers
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from engine.transport.hotadd.guest_disk import forget, own_uuids
from engine.vsphere import hotadd, tasks
from engine.vsphere.hotadd import JournalEntry, ProxyVm
from engine.vsphere.new_disk import devices_of
from engine.vsphere.session import Session


@dataclass(frozen=True, slots=True)
class Attached:
    """`uuid` names the block device; `number` is that of the ledger's entry."""

    file: str
    uuid: str
    number: int


def own_vm(session: Session, settings: Settings) -> str:
    """The moref of the VM that we run in. Raises TransportError saying why there is none."""
    return hotadd.find_proxy(session, own_uuids(settings.HOTADD_PROXY))


@contextmanager
def changing_proxy(state: StateDirectory) -> Iterator[None]:
    """One job of this proxy at a time changes its devices: two would choose the same place. Waits for its turn."""
    descriptor = os.open(state.locks / "proxy-devices", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def attach(job: JobContext, proxy: str, entry: JournalEntry, capacity: int) -> Attached:
    """Raises TransportError, also for what vCenter itself refuses to attach (an SEsparse delta that its host can't show
    to another VM, a key that the proxy lacks): a fallback may carry it. BusyError, PrivilegeError, Cancelled."""
    number = job.ledger.intent(Kind.ATTACHMENT, name=entry.file, proxy_vm=proxy, vm=entry.vm, snapshot=entry.snapshot)
    with changing_proxy(job.state):
        now: ProxyVm = hotadd.read_proxy(job.session, proxy)
        try:
            uuid = hotadd.attach(job.session, now, entry, capacity, job.report, job.cancel)
        except VsphereError as error:
            if entry not in hotadd.read_journal(job.session, proxy):
                job.ledger.undone(number)  # the task does both or neither
            raise TransportError(
                f"vCenter does not attach {entry.file} to the proxy {now.vm.name}: {error.sentence}",
                fault=error.fault,
                hint="It can be read over nbdssl.",
            ) from error
    job.ledger.done(number, uuid=uuid)
    return Attached(entry.file, uuid, number)


def detach(job: JobContext, proxy: str, done: Attached) -> None:
    forget(done.uuid, job.settings.HOTADD_DEVICES)
    with changing_proxy(job.state):
        hotadd.detach(job.session, proxy, done.file, job.report)
    job.ledger.undone(done.number)


def sweep(job: JobContext) -> None:
    """Detaches whatever this job and dead ones have attached, as ledgers and the proxy's journal tell. Raises VcbError
    for the first that stays, when all had their turn."""
    problem: VcbError | None = None
    for proxy in settled_proxies(job.session, job.settings, job.state, job.report):
        for entry in hotadd.read_journal(job.session, proxy):
            if entry.proxy != job.state.proxy_id or (entry.job != job.id and alive(job.state, entry.job)):
                continue
            try:
                take_away(job.session, job.settings, job.state, proxy, entry.file, job.report)
            except VcbError as error:
                problem = problem or error
                continue
            job.report.step(f"{entry.file}, which job {entry.job} had attached to the proxy, is detached.")
            tell(job, entry)
    if problem is not None:
        raise problem


def take_away(  # noqa: PLR0917
    session: Session, settings: Settings, state: StateDirectory, proxy: str, file: str, report: Reporter
) -> None:
    """Detaches one disk of a dead job, the kernel told before."""
    with changing_proxy(state):
        device = hotadd.attached(devices_of(session, proxy), file)
        if device is not None:
            forget(device["backing"].get("uuid", ""), settings.HOTADD_DEVICES)
        hotadd.detach(session, proxy, file, report)


def proxies(session: Session, settings: Settings, state: StateDirectory) -> Sequence[str]:
    """Morefs of the VMs that may hold disks for us: those of the ledgers, and our own where hotadd is wanted."""
    found = {
        entry.details["proxy_vm"]: None
        for _, entries in ledgers(state.jobs)
        if any(each.details.get("vcenter") == session.instance_uuid for each in entries if each.kind is Kind.JOB)
        for entry in entries
        if entry.open and entry.kind is Kind.ATTACHMENT
    }
    if "hotadd" in (settings.TRANSPORT_MODE, *settings.TRANSPORT_FALLBACK):
        with suppress(TransportError):  # whoever attaches is told why; here there is only nothing to sweep
            found[own_vm(session, settings)] = None
    return list(found)


def settled_proxies(session: Session, settings: Settings, state: StateDirectory, report: Reporter) -> Sequence[str]:
    """`proxies`, when no task is at work on them: what a dead job has ordered may be attached after its death."""
    found = proxies(session, settings, state)
    for proxy in found:
        tasks.await_running(session, proxy, report, kind="VirtualMachine.reconfigure")
    return found


def alive(state: StateDirectory, job_id: str) -> bool:
    return in_use(state.job(job_id) / FILE_NAME)


def tell(job: JobContext, gone: JournalEntry) -> None:
    """The ledger that has it: this job's or a dead one's."""
    path = job.state.job(gone.job) / FILE_NAME
    if gone.job != job.id and not path.exists():
        return
    ledger = job.ledger if gone.job == job.id else Ledger.resume(job.state.job(gone.job))
    try:
        for entry in ledger.entries:
            if _means(entry, gone):
                ledger.undone(entry.number, by=job.id)
    finally:
        if ledger is not job.ledger:
            ledger.close()


def _means(entry: Entry, gone: JournalEntry) -> bool:
    return entry.open and entry.kind is Kind.ATTACHMENT and entry.details.get("name") == gone.file

"""Snapshots for backups: made, found, proven ours, frozen disks read, removed. Never anybody else's."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import Cancelled, SnapshotError, VmUnsuitable, VsphereError
from engine.reporter import Reporter
from engine.vsphere import disks, tasks
from engine.vsphere.decoding import unescaped
from engine.vsphere.disks import Disk
from engine.vsphere.properties import Ref, get, get_one
from engine.vsphere.session import Session

SNAPSHOT_NAME = "_VCB-BACKUP_"
TREE = "snapshot.rootSnapshotList"


@dataclass(frozen=True)
class Snapshot:
    """A node of a VM's snapshot tree. `quiesced` is what was really reached, not what was asked for."""

    moref: str
    name: str
    description: str
    created: datetime
    quiesced: bool
    parent: str | None
    children: tuple[str, ...]

    @property
    def age(self) -> timedelta:
        """By this machine's clock; never negative."""
        return max(datetime.now(UTC) - self.created, timedelta())


@dataclass(frozen=True)
class GuestQuiesce:
    """Asks VMware Tools to quiesce the guest, which may take 5 to 240 minutes."""

    timeout_minutes: int = 15


@dataclass(frozen=True)
class OwnershipToken:
    """What proves that a snapshot is a job's own: written into its description, together with the name."""

    job: str
    proxy: str
    vcenter: str
    vm: str

    def to_description(self) -> str:
        """One line for people, with the token that `parse` reads back."""
        fields = " ".join(f"{name}={_plain(value)}" for name, value in vars(self).items())
        return f"Made by vcb-console for a backup. [vcb {fields}]"

    @classmethod
    def parse(cls, description: str) -> "OwnershipToken | None":
        """None for a description that is not one of ours."""
        found = re.search(r"\[vcb job=(\S*) proxy=(\S*) vcenter=(\S*) vm=([^\s\]]*)\]", description)
        return cls(*(unquote(part.replace("~", "%")) for part in found.groups())) if found else None


def _plain(value: str) -> str:
    # "%" is special in snapshot names and texts of the API, so the escape character is "~".
    return quote(value, safe="@:").replace("~", "%7E").replace("%", "~")


def read(session: Session, vm_moref: str) -> tuple[Snapshot, ...]:
    """All snapshots of a VM, parents before children."""
    return snapshots_of(get_one(session, Ref("VirtualMachine", vm_moref), [TREE]).get(TREE, ()))


def snapshots_of(tree: Iterable[Mapping[str, Any]]) -> tuple[Snapshot, ...]:
    """The nodes of a decoded `snapshot.rootSnapshotList`, parents before children."""
    return tuple(_flattened(tree, None))


def _flattened(nodes: Iterable[Mapping[str, Any]], parent: str | None) -> Iterator[Snapshot]:
    for node in nodes:
        moref, children = node["snapshot"].moid, node.get("childSnapshotList", ())
        yield Snapshot(
            moref=moref,
            name=unescaped(node["name"]),
            description=unescaped(node.get("description", "")),
            created=node["createTime"],
            quiesced=node.get("quiesced", False),
            parent=parent,
            children=tuple(child["snapshot"].moid for child in children),
        )
        yield from _flattened(children, moref)


def create(
    session: Session,
    vm_moref: str,
    *,
    name: str,
    description: str,
    quiesce: GuestQuiesce | None,
    report: Reporter,
    cancel: CancelToken,
    subject: str = "",
) -> Snapshot:
    """Makes a snapshot without memory and returns it as it really is.

    A VM that is off or has no VMware Tools is not quiesced, and the task succeeds all the same: read `.quiesced`.
    Raises `QuiesceError`, `SnapshotError`, `BusyError`, ...; `Cancelled` carries in `.result` the moref of a snapshot
    that was made nevertheless.
    """
    subject = subject or vm_moref
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    doing = "creating the quiesced snapshot" if quiesce else "creating the snapshot"
    spec = vim.vm.GuestQuiesceSpec(timeout=quiesce.timeout_minutes) if quiesce else None
    cancel.check()
    if _knows_quiesce_spec(session):
        task = session.act(
            lambda: vm.CreateSnapshotEx_Task(name, description, False, spec), doing=doing, subject=subject
        )
    else:
        task = session.act(
            lambda: vm.CreateSnapshot_Task(name, description, False, bool(quiesce)), doing=doing, subject=subject
        )
    try:
        made = tasks.wait(session, task, report, cancel, doing=doing, subject=subject)
    except Cancelled as stopped:
        if stopped.result is not None:
            stopped.result = getattr(stopped.result, "_moId", None)
        raise
    found = next((each for each in read(session, vm_moref) if each.moref == made._moId), None)
    if found is None:
        raise SnapshotError(f"{subject}: the new snapshot {made._moId} has vanished from the VM.", fault="SnapshotGone")
    state = "quiesced" if found.quiesced else "crash-consistent (not quiesced)"
    report.step(f"{subject}: snapshot {name} ({found.moref}) exists, {state}")
    return found


def _knows_quiesce_spec(session: Session) -> bool:
    """CreateSnapshotEx_Task came with API 6.5."""
    return session.api_version >= (6, 5)


def remove(session: Session, snapshot_moref: str, report: Reporter, *, subject: str = "") -> bool:
    """Removes exactly this snapshot, keeps its children, merges its data; False when it was gone already.

    Cannot be cancelled: stopping a merge may leave the VM in need of consolidation. Success does not mean that the
    disks are merged: see `consolidation_needed`.
    """
    doing, subject = "removing the snapshot", subject or snapshot_moref
    snapshot = session.managed(Ref("VirtualMachineSnapshot", snapshot_moref))
    try:
        task = session.act(
            lambda: snapshot.RemoveSnapshot_Task(removeChildren=False, consolidate=True), doing=doing, subject=subject
        )
        tasks.wait(session, task, report, CancelToken(), doing=doing, subject=subject, cancelable=False)
    except (VsphereError, VmUnsuitable) as error:
        if error.fault != "ManagedObjectNotFound" or not _gone(session, snapshot_moref):
            raise
        report.step(f"{subject}: the snapshot {snapshot_moref} was gone already")
        return False
    report.step(f"{subject}: the snapshot {snapshot_moref} has been removed")
    return True


def _gone(session: Session, snapshot_moref: str) -> bool:
    """Asked for itself: the object that a fault calls gone may be another one."""
    ref = Ref("VirtualMachineSnapshot", snapshot_moref)
    return ref not in get(session, [ref], ["vm"])


def frozen_disks(session: Session, snapshot_moref: str) -> tuple[Disk, ...]:
    """The disks as the snapshot froze them: file of the frozen chain, changeId and capacity of that moment."""
    ref = Ref("VirtualMachineSnapshot", snapshot_moref)
    readers = {disks.DEVICES: disks.read_devices}
    values = get_one(session, ref, [disks.DEVICES, "vm"], readers=readers)
    layout = (
        get(session, [values["vm"]], ["layoutEx.file", "layoutEx.snapshot"]).get(values["vm"], {})
        if "vm" in values
        else {}
    )
    frozen = [each.get("disk", []) for each in layout.get("layoutEx.snapshot", ()) if each["key"] == ref]
    layout["layoutEx.disk"] = frozen[0] if frozen else []
    return disks.disks_of(values.get(disks.DEVICES, ()), layout)


def consolidation_needed(session: Session, vm_moref: str) -> bool:
    """Whether files of a removed snapshot are still part of the VM's disks."""
    path = "runtime.consolidationNeeded"
    return bool(get_one(session, Ref("VirtualMachine", vm_moref), [path]).get(path))


def consolidate(session: Session, vm_moref: str, report: Reporter, *, subject: str = "") -> None:
    """Merges what removed snapshots left behind. Raises `BusyError`, or `VsphereError` while files are locked."""
    doing, subject = "consolidating the disks", subject or vm_moref
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    task = session.act(vm.ConsolidateVMDisks_Task, doing=doing, subject=subject)
    tasks.wait(session, task, report, CancelToken(), doing=doing, subject=subject, cancelable=False)

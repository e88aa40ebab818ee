"""Waits for a vSphere task to end, by property filter; cancels it in vCenter when the operator says stop."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pyVmomi import vmodl

from engine.cancel import CancelToken
from engine.errors import Cancelled, CleanupError, VcbError, VsphereError
from engine.reporter import Reporter
from engine.vsphere.faults import fault_name
from engine.vsphere.properties import Ref, get, get_one
from engine.vsphere.session import Session
from engine.vsphere.watch import Watch

# Leaf paths: some servers' whole `info` cannot be decoded (facts/pyvmomi-vcsim-lab.md section 2).
_PATHS = ("info.state", "info.progress", "info.error", "info.result")
_LOOK = 0.5


def wait(
    session: Session,
    task: Any,
    report: Reporter,
    cancel: CancelToken,
    *,
    doing: str,
    subject: str,
    on_progress: Callable[[int], None] | None = None,
    cancelable: bool = True,
) -> Any:
    """The task's result (a pyVmomi value) once it has succeeded; its fault, translated, once it has failed.

    A cancel asks vCenter to cancel the task (unless `cancelable` is False) and still waits for its real end: then
    `Cancelled` is raised, with the result in `.result` when the task succeeded nevertheless. `on_progress` gets
    percent.
    """
    asked = threading.Event()

    def stop() -> None:
        # Called by whoever cancels, perhaps the thread of a signal: it must not wait for the network.
        asked.set()
        if cancelable:
            threading.Thread(target=_cancel, args=(session, task, report, subject, doing), daemon=True).start()

    with Watch(session, task, _PATHS, doing=doing, subject=subject) as watch:
        try:
            with cancel.on_cancel(stop):
                info = _ended(watch, report, doing, subject, on_progress)
        except Cancelled:  # it was cancelled before we began to wait
            stop()
            info = _ended(watch, report, doing, subject, on_progress)
    report.api(f"{subject}: {doing}: task {task._moId} ended: {info['info.state']}")
    fault = info.get("info.error") or vmodl.RuntimeFault(msg="the task failed without naming a fault")
    failed = info["info.state"] == "error"
    if asked.is_set():
        if failed:
            report.step(f"{subject}: {doing} ended after the cancel with {fault_name(fault)}")
        stopped = Cancelled(f"{subject}: {doing} was cancelled by the operator.")
        stopped.result = info.get("info.result")
        raise stopped
    if failed:
        raise session.translate(fault, doing=doing, subject=subject) from fault
    return info.get("info.result")


def _ended(
    watch: Watch, report: Reporter, doing: str, subject: str, on_progress: Callable[[int], None] | None
) -> dict[str, Any]:
    """Everything known of the task when its state has become success or error."""
    info: dict[str, Any] = {}
    while info.get("info.state") not in ("success", "error"):
        try:
            changed = watch.changes()
        except VsphereError as error:
            if error.fault != "ManagedObjectNotFound":
                raise
            raise VsphereError(
                f"{subject}: {doing}: vCenter has forgotten the task, so its outcome is unknown.",
                fault=error.fault,
                hint="Look at the VM's snapshots and recent tasks in vCenter.",
            ) from error
        info.update(changed)
        percent = changed.get("info.progress")
        if percent is not None:
            report.api(f"{subject}: {doing}: {percent} %")
            if on_progress:
                on_progress(percent)
    return info


def _cancel(session: Session, task: Any, report: Reporter, subject: str, doing: str) -> None:
    report.step(f"{subject}: asking vCenter to cancel: {doing}")
    try:
        task.CancelTask()
    except (vmodl.MethodFault, *Session.DROPPED) as error:
        # Not cancelable, or ended already: the waiter sees its end either way.
        report.step(f"{subject}: {doing} cannot be cancelled any more ({type(error).__name__}); waiting for its end.")


def recent(session: Session, vm_moref: str) -> tuple[Ref, ...]:
    """The VM's recent tasks, those that run and those that ended a while ago."""
    return tuple(get_one(session, Ref("VirtualMachine", vm_moref), ["recentTask"]).get("recentTask", ()))


def exports(session: Session, vm_moref: str) -> list[Ref]:
    """The VM's running export tasks: one for each export lease, of whichever session."""
    rows = get(session, recent(session, vm_moref), ["info.descriptionId", "info.state"])
    return [
        task
        for task, info in rows.items()
        if "export" in info.get("info.descriptionId", "").lower() and info.get("info.state") in ("running", "queued")
    ]


def cancel_export(session: Session, vm_moref: str, task: Ref, report: Reporter, *, patience: float = 15.0) -> None:
    """Ends the export lease that this task stands for, of whichever session, and waits until it is gone. Raises
    `CleanupError` when it has not ended after `patience` (seconds)."""
    report.step(f"{vm_moref}: cancelling the export task {task.moid}")
    with suppress(vmodl.MethodFault, *Session.DROPPED):  # it may have ended by itself
        session.managed(task).CancelTask()
    until = time.monotonic() + patience
    while task in exports(session, vm_moref):
        if time.monotonic() >= until:
            raise CleanupError(f"The export lease of {vm_moref} has not ended.", hint="Cancel its task.")
        time.sleep(_LOOK)


def await_running(session: Session, vm_moref: str, report: Reporter, *, kind: str) -> None:
    """Waits for every running task on a VM whose `descriptionId` begins with `kind` (`VirtualMachine.createSnapshot`
    takes in createSnapshotEx), whoever started it and however it ends. For when the answer to our own call was lost:
    it may still be at work."""
    for task in recent(session, vm_moref):
        try:
            info = get_one(session, task, ["info.descriptionId", "info.state"])
            if not info.get("info.descriptionId", "").startswith(kind) or info.get("info.state") == "success":
                continue
            report.step(f"{vm_moref}: waiting for the end of {kind} ({task.moid})")
            raw = session.managed(task)
            wait(session, raw, report, CancelToken(), doing=kind, subject=vm_moref, cancelable=False)
        except VcbError as error:
            report.step(f"{vm_moref}: {kind} ({task.moid}): {error.sentence}")

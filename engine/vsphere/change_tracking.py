"""Switching changed block tracking on. It becomes effective with the next stun: creating a snapshot is one.

A VM must have no snapshot then (Broadcom KB 1020128): their redo logs would stay untracked.
"""

from pyVmomi import vim

from engine.cancel import CancelToken
from engine.reporter import Reporter
from engine.vsphere import tasks
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session


def enable(session: Session, vm_moref: str, report: Reporter, cancel: CancelToken, *, subject: str) -> None:
    """Sets `changeTrackingEnabled`; the caller has made sure that the VM has no snapshot. Raises `BusyError`,
    `PrivilegeError`, `VsphereError`."""
    doing = "switching changed block tracking on"
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    spec = vim.vm.ConfigSpec(changeTrackingEnabled=True)
    task = session.act(lambda: vm.ReconfigVM_Task(spec), doing=doing, subject=subject)
    tasks.wait(session, task, report, cancel, doing=doing, subject=subject)

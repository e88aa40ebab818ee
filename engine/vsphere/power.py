"""Powering a VM on."""

from engine.cancel import CancelToken
from engine.reporter import Reporter
from engine.vsphere import tasks
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session


def power_on(session: Session, moref: str, report: Reporter, *, subject: str) -> None:
    """Waits until it runs. Raises what vSphere says against it."""
    vm = session.managed(Ref("VirtualMachine", moref))
    task = session.act(lambda: vm.PowerOnVM_Task(None), doing="powering on", subject=subject)
    tasks.wait(session, task, report, CancelToken(), doing="powering on", subject=subject, cancelable=False)

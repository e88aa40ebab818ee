"""Task and TaskManager."""
import contextlib
import threading
from datetime import datetime, timezone

from pyVmomi import VmomiSupport as VS, vim, vmodl

from engine.lab import wire
from engine.lab.inventory import Entity
from engine.lab.registry import MO

now = lambda: datetime.now(timezone.utc)


class Task(MO):
    vim, prefix = vim.Task, "task"

    def __init__(self, lab, ctx, entity, name, descr, work, cancelable):
        super().__init__(lab)
        method = VS._wsdlMethodMap.get((wire.NS, name))
        info = vim.TaskInfo(key=self.id, task=self.ref, descriptionId=descr, entity=entity.ref if isinstance(entity, Entity) else None, entityName=entity.props.get("name"),
                            state="queued", cancelled=False, cancelable=cancelable, queueTime=now(), eventChainId=lab.version,
                            reason=vim.TaskReasonUser(userName=ctx.session.user))
        with contextlib.suppress(Exception):
            info.name = VS.GetWsdlMethod(wire.NS, name)
        self.props["info"] = info
        self.cancelled, self.work, self.wsdl, self.done = threading.Event(), work, name, threading.Event()
        lab.recent.append(self.ref)
        threading.Thread(target=self.run, name=self.id, daemon=True).start()

    def running(self):
        return not self.done.is_set()

    def progress(self, pct):
        if self.cancelled.is_set():
            raise vmodl.fault.RequestCanceled()
        self.set("info.progress", pct)

    def run(self):
        with self.lab.cond:
            self.set("info.startTime", now())
            self.set("info.state", "running")
        try:
            self.lab.faults.hit(self.wsdl, "task", self)
            result, error = self.work(self), None
        except vmodl.MethodFault as e:
            result, error = None, e
        except Exception as e:                                   # a bug in the lab: report it as one
            result, error = None, vmodl.fault.SystemError(reason=repr(e), msg=repr(e))
        with self.lab.cond:
            i = self.props["info"]
            i.completeTime, i.result, i.error = now(), result, error
            self.done.set()
            self.set("info.state", "error" if error else "success")

    def CancelTask(self, ctx):
        if not self.running():
            raise vim.fault.InvalidState()
        if not self.props["info"].cancelable:
            raise vmodl.fault.NotSupported()
        self.cancelled.set()


class TaskManager(MO):
    vim = vim.TaskManager

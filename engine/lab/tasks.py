"""Tasks, the task list and task history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab import wire
from engine.lab.history import HistoryCollector
from engine.lab.registry import MO

RECENT = 20  # tasks that TaskManager.recentTask and an entity's recentTask show
KEPT = 1000  # finished tasks that history remembers


class Task(MO):
    """One long operation. `work(task)` runs in a thread of its own; what it returns is the task's result.

    A MethodFault raised by `work` is the task's error; any other exception is a defect of the lab and shows as
    SystemError. `name` is the wire name of the method that began it."""

    vim = vim.Task
    prefix = "task"

    def __init__(  # noqa: PLR0917 - in the order of the wire
        self,
        lab: Any,
        ctx: Any,
        entity: MO,
        name: str,
        descr: str,
        work: Callable[[Task], Any],
        cancelable: bool = False,
    ) -> None:
        super().__init__(lab)
        self.entity, self.name, self.work = entity, name, work
        self.user: str = ctx.session.user
        self.cancelled, self.done = threading.Event(), threading.Event()
        is_entity = issubclass(entity.vim, vim.ManagedEntity)
        self.props["info"] = vim.TaskInfo(
            key=self.id,
            task=self.ref,
            name=_method(name),
            descriptionId=descr,
            entity=entity.ref if is_entity else None,
            entityName=entity.props.get("name"),
            state="queued",
            cancelled=False,
            cancelable=cancelable,
            queueTime=now(),
            eventChainId=lab.version,
            reason=vim.TaskReasonUser(userName=self.user),
        )
        lab.tasks.append(self)
        if is_entity:
            entity.touch("recentTask")
        said = f"Task: {name.removesuffix('_Task')}"
        lab.events.post(vim.event.TaskEvent, entity, user=self.user, message=said, info=self.info)
        threading.Thread(target=self._run, name=self.id, daemon=True).start()

    @property
    def info(self) -> vim.TaskInfo:
        return self.props["info"]

    def running(self) -> bool:
        return not self.done.is_set()

    def progress(self, percent: int) -> None:
        """Reports progress; RequestCanceled when somebody has cancelled the task: let it pass."""
        self.check()
        if self.info.progress != percent:
            self.set("info.progress", int(percent))

    def check(self) -> None:
        """Raises RequestCanceled when somebody has cancelled the task."""
        if self.cancelled.is_set():
            raise vmodl.fault.RequestCanceled(msg="The task was canceled by a user.")

    def _run(self) -> None:
        with self.lab.cond:
            self.info.startTime = now()
            self.set("info.state", "running")
        result, error = None, None
        try:
            self.lab.faults.hit(self.name, "task", self.entity)
            result = self.work(self)
        except vmodl.MethodFault as fault:
            error = fault
        except Exception as defect:  # a defect of the lab must end the task, and show
            error = vmodl.fault.SystemError(reason=repr(defect), msg=f"A general system error occurred: {defect!r}")
        with self.lab.cond:
            info = self.info
            info.completeTime, info.result = now(), result
            info.error = None if error is None else wire.fill(error)
            if error is None and info.progress is not None:
                info.progress = 100
            self.done.set()
            self.set("info.state", "success" if error is None else "error")
            self.touch("info")
            self.lab.task_changed()

    def CancelTask(self, ctx: Any) -> None:
        with self.lab.cond:
            if not self.running():
                raise vim.fault.InvalidState(msg="The operation is not allowed in the current state.")
            if not self.info.cancelable:
                raise vmodl.fault.NotSupported(msg="The operation is not supported on the object.")
            self.cancelled.set()
            self.set("info.cancelled", True)

    def SetTaskDescription(self, ctx: Any, description: Any) -> None:
        self.set("info.description", description)


def start(
    ctx: Any, entity: MO, name: str, description_id: str, work: Callable[[Task], Any], *, cancelable: bool = False
) -> Any:
    """Begins a task and returns its reference, which is what the wire method returns."""
    return Task(entity.lab, ctx, entity, name, description_id, work, cancelable).ref


class TaskLog:
    """The tasks of one server, oldest first; finished ones are forgotten beyond KEPT."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.entries: list[Task] = []

    def append(self, task: Task) -> None:
        with self.lab.cond:
            self.entries.append(task)
            while len(self.entries) > KEPT and not self.entries[0].running():
                self.lab.remove(self.entries.pop(0))
            self.lab.task_changed()

    def recent(self, entity: MO | None = None) -> list[Any]:
        """References of the youngest tasks, of one entity or of all."""
        with self.lab.cond:
            chosen = [t for t in self.entries if entity is None or t.entity is entity]
        return [t.ref for t in chosen[-RECENT:]]


class TaskHistoryCollector(HistoryCollector):
    vim = vim.TaskHistoryCollector
    prefix = "session[task]"

    def items(self) -> list[Any]:
        """Newest last, as the log has them; the collector turns them round."""
        with self.lab.cond:
            return [t.info for t in self.lab.tasks.entries if self._wanted(t)]

    def _wanted(self, task: Task) -> bool:
        spec = self.filter
        if spec.entity and not self.lab.in_scope(task.entity, spec.entity.entity, spec.entity.recursion):
            return False
        if spec.state and task.info.state not in spec.state:
            return False
        if spec.userName and spec.userName.userList and task.user not in spec.userName.userList:
            return False
        if spec.time:
            moment = getattr(task.info, _TASK_TIMES[spec.time.timeType])
            return (
                moment is not None
                and (not spec.time.beginTime or moment >= spec.time.beginTime)
                and (not spec.time.endTime or moment <= spec.time.endTime)
            )
        return True

    def ReadNextTasks(self, ctx: Any, maxCount: int) -> list[Any]:
        return self.read_next(maxCount)

    def ReadPreviousTasks(self, ctx: Any, maxCount: int) -> list[Any]:
        return self.read_previous(maxCount)


_REASONS = (
    (vim.TaskReasonAlarm, "alarm"),
    (vim.TaskReasonSchedule, "schedule"),
    (vim.TaskReasonSystem, "system"),
    (vim.TaskReasonUser, "user"),
)
_TASK_TIMES = {"queuedTime": "queueTime", "startedTime": "startTime", "completedTime": "completeTime"}


class TaskManager(MO):
    vim = vim.TaskManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(lab, moid, maxCollector=32)
        self.props["recentTask"] = lab.tasks.recent
        self.props["description"] = lambda: wire.fill(
            vim.TaskDescription(
                methodInfo=[],
                state=[_description(s) for s in ("queued", "running", "success", "error")],
                reason=[vim.TypeDescription(key=kind, label=word, summary=word) for kind, word in _REASONS],
            )
        )

    def CreateCollectorForTasks(self, ctx: Any, filter: Any) -> Any:
        return ctx.session.owns(TaskHistoryCollector(self.lab, filter)).ref


def _description(key: str) -> Any:
    return vim.ElementDescription(key=key, label=key, summary=key)


def _method(name: str) -> Any:
    """The method object that TaskInfo.name carries; None for a name that the type tables lack."""
    try:
        return VmomiSupport.GetWsdlMethod(wire.NAMESPACE, name)
    except KeyError:
        return None


def now() -> datetime:
    return datetime.now(UTC)

"""Tasks, their history, and events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.tasks import Task
from engine.lab.vm import VM
from tests.lab.rig import build_site
from tests.lab.soap_client import finish, login, properties, until

CALLER: Any = SimpleNamespace(session=SimpleNamespace(user="tester"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def vm(lab: Lab) -> VM:
    return build_site(lab).vm("web01")


@pytest.fixture
def content(lab: Lab) -> Any:
    return login(lab).RetrieveContent()


class Work:
    """A task whose end the test decides."""

    def __init__(self, vm: VM, *, cancelable: bool = True) -> None:
        self.go = threading.Event()
        self.task = Task(vm.lab, CALLER, vm, "RelocateVM_Task", "VirtualMachine.relocate", self._run, cancelable)

    def _run(self, task: Task) -> str:
        while not self.go.wait(0.01):
            task.progress(40)
        return "done"

    def seen_by(self, content: Any) -> Any:
        return vim.Task(self.task.id, content.taskManager._stub)


def test_info_progress_and_result(vm: VM, content: Any) -> None:
    work = Work(vm)
    task = work.seen_by(content)
    until(lambda: work.task.info.progress == 40)
    seen = properties(task, "info.state", "info.progress", "info.entity", "info.reason", "info.cancelable")
    assert (seen["info.state"], seen["info.progress"], seen["info.cancelable"]) == ("running", 40, True)
    assert seen["info.entity"]._moId == vm.id
    assert seen["info.reason"].userName == "tester"
    work.go.set()
    assert finish(task) == "done"
    assert task.info.progress == 100
    assert task.info.completeTime >= task.info.startTime >= task.info.queueTime


def test_cancel(vm: VM, content: Any) -> None:
    work = Work(vm)
    task = work.seen_by(content)
    task.CancelTask()
    with pytest.raises(vmodl.fault.RequestCanceled):
        finish(task)
    assert task.info.cancelled
    with pytest.raises(vim.fault.InvalidState):
        task.CancelTask()


def test_a_task_that_cannot_be_cancelled(vm: VM, content: Any) -> None:
    work = Work(vm, cancelable=False)
    with pytest.raises(vmodl.fault.NotSupported):
        work.seen_by(content).CancelTask()
    work.go.set()
    assert finish(work.seen_by(content)) == "done"


def test_recent_tasks(vm: VM, content: Any) -> None:
    work = Work(vm)
    assert work.task.id in [t._moId for t in content.taskManager.recentTask]
    assert work.task.id in [t._moId for t in vim.VirtualMachine(vm.id, content.taskManager._stub).recentTask]
    work.go.set()


def test_task_history(vm: VM, content: Any) -> None:
    work = Work(vm)
    work.go.set()
    finish(work.seen_by(content))
    by_entity = vim.TaskFilterSpec.ByEntity(entity=vim.VirtualMachine(vm.id), recursion="self")
    collector = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec(entity=by_entity))
    assert collector.latestPage[0].key == work.task.id
    collector.RewindCollector()
    read = []
    while page := collector.ReadNextTasks(2):
        read += [info.key for info in page]
    assert read[-1] == work.task.id
    assert len(read) == len(set(read))
    running = vim.TaskFilterSpec(entity=by_entity, state=["running"])
    assert content.taskManager.CreateCollectorForTasks(running).latestPage == []
    collector.DestroyCollector()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.RewindCollector()


def test_events_of_an_entity(lab: Lab, vm: VM, content: Any) -> None:
    events = content.eventManager
    events.LogUserEvent(vim.VirtualMachine(vm.id), "backup begins")
    about_vm = vim.event.EventFilterSpec.ByEntity(entity=vim.VirtualMachine(vm.id), recursion="self")
    spec = vim.event.EventFilterSpec(entity=about_vm, eventTypeId=["GeneralUserEvent"])
    (event,) = events.QueryEvents(spec)
    assert event.message == "backup begins"
    assert event.userName == lab.user
    assert (event.vm.name, event.datacenter.name) == ("web01", "East")
    assert event.host.name == "esx1.east.lab"
    assert events.latestEvent.key >= event.key


def test_events_below_a_datacenter(vm: VM, content: Any) -> None:
    datacenter = content.searchIndex.FindByInventoryPath("East")
    below = vim.event.EventFilterSpec.ByEntity(entity=datacenter, recursion="all")
    content.eventManager.LogUserEvent(vim.VirtualMachine(vm.id), "below")
    found = content.eventManager.QueryEvents(vim.event.EventFilterSpec(entity=below))
    assert "below" in [getattr(e, "message", "") for e in found]


def test_logins_are_events(lab: Lab, content: Any) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        login(lab, "stranger", "wrong")
    spec = vim.event.EventFilterSpec(
        userName=vim.event.EventFilterSpec.ByUsername(systemUser=False, userList=["stranger"])
    )
    assert [type(e) for e in content.eventManager.QueryEvents(spec)] == [vim.event.BadUsernameSessionEvent]


def test_event_history_moves_both_ways(vm: VM, content: Any) -> None:
    for number in range(5):
        content.eventManager.LogUserEvent(vim.VirtualMachine(vm.id), f"step {number}")
    spec = vim.event.EventFilterSpec(eventTypeId=["vim.event.GeneralUserEvent"])
    collector = content.eventManager.CreateCollectorForEvents(spec)
    collector.SetCollectorPageSize(2)
    assert [e.message for e in collector.latestPage] == ["step 4", "step 3"]
    collector.ResetCollector()
    assert [e.message for e in collector.ReadPreviousEvents(2)] == ["step 2", "step 1"]
    collector.RewindCollector()
    assert len(collector.ReadNextEvents(3)) == 3

"""Faults of vCenter and ESXi: of tasks and calls, of connections, sessions and servers."""

from collections.abc import Iterator

from pyVmomi import vim

from engine.events import Stage
from engine.lab.faults import Rule
from engine.vsphere.faults import KNOWN
from tests.faults.cells import Cell, Trouble
from tests.faults.recording import Met, Recording, first_of_each
from tests.faults.scene import BEFORE, SHORT_TIMEOUT, Scene

_MANAGED = (vim.VirtualMachine, vim.vm.Snapshot)
GENERAL = (
    "vmodl.fault.SystemError", "vmodl.fault.ManagedObjectNotFound", "vmodl.fault.HostCommunication",
    "vim.fault.NoPermission", "vim.fault.NotAuthenticated",
)  # fmt: skip
"""What any call may answer."""
_ONCE, _FOR_GOOD = 1, 0


def task_faults(transport: str, recorded: Recording) -> Iterator[Cell]:
    """Every fault that the API declares for a method, and every one that the client has words for, at each task."""
    for met in first_of_each(recorded.points):
        if not met.name.endswith("_Task") and met.name != "ExportSnapshot":
            continue
        detaches = met.name == "ReconfigVM_Task" and met.stage != Stage.OPEN
        for name in sorted(_declared(met.name) | KNOWN):
            rule = Rule(met.name, phase=met.phase, fault=name, first=met.number, last=_FOR_GOOD)
            removes = met.name == "RemoveSnapshot_Task" or detaches
            # A snapshot that is not there any more needs no removal, and one that can't be removed has to stay; so has
            # that whose disk can't be detached.
            yield Cell(
                f"task fault {_short(name)}", met.stage, transport, f"{met.name} {met.phase}",
                Trouble((rule,), fault=_short(name), may_stay=removes or _short(name) == "NotAuthenticated"),
            )  # fmt: skip


def inner_faults(transport: str, recorded: Recording) -> Iterator[Cell]:
    """What the guest and the datastore contribute to a task."""
    for met in first_of_each(recorded.points):
        if met.name == "guest.quiesce":
            for name in ("ApplicationQuiesceFault", "FilesystemQuiesceFault"):
                rule = Rule(met.name, phase=met.phase, fault=name, last=_FOR_GOOD)
                for asked in ("auto", "required"):
                    trouble = Trouble((rule,), fault=name, settings={"QUIESCE": asked})
                    yield Cell(f"quiescing {name}", met.stage, transport, f"QUIESCE {asked}", trouble)
        if met.name == "disk.merge":
            for name in ("FileLocked", "NoDiskSpace", "GenericVmConfigFault"):
                for last in (_ONCE, _FOR_GOOD):
                    rule = Rule(met.name, phase=met.phase, fault=name, last=last)
                    trouble = Trouble((rule,), may_stay=last == _FOR_GOOD)
                    yield Cell(f"consolidation {name}", met.stage, transport, _often(last), trouble)


def call_faults(transport: str, recorded: Recording) -> Iterator[Cell]:
    """Each method that the flow calls, in each of its stages, refused with what any call may answer."""
    for met in first_of_each(_calls(recorded)):
        for name in GENERAL:
            for last in (met.number, _FOR_GOOD):
                rule = Rule(met.name, fault=name, first=met.number, last=last)
                lasting = last == _FOR_GOOD
                trouble = Trouble((rule,), may_stay=lasting or met.stage == "remove snapshot")
                yield Cell(f"call fault {_short(name)}", met.stage, transport, f"{met.name} {_often(last)}", trouble)


def connections(transport: str, recorded: Recording) -> Iterator[Cell]:
    """Each SOAP message: its connection lost before it arrives, and before its answer comes."""
    for met in _calls(recorded):
        for action, row in (("drop", "SOAP lost before"), ("drop-after", "SOAP lost after")):
            rule = Rule(met.name, action=action, first=met.number)
            trouble = Trouble((rule,), may_stay=met.name == "RemoveSnapshot_Task")
            yield Cell(row, met.stage, transport, f"{met.name} {met.number}", trouble)
    for met in first_of_each(_calls(recorded)):
        rule = Rule(met.name, action="drop", first=met.number, last=_FOR_GOOD)
        yield Cell("SOAP lost for good", met.stage, transport, met.name, Trouble((rule,), may_stay=True))
        slow = Rule(met.name, action="delay", first=met.number, delay=0.3)
        yield Cell("SOAP slow", met.stage, transport, met.name, Trouble((slow,)))
        if transport != "nbd":  # its calls are those of nbdssl, and silence costs time
            silent = Rule(met.name, action="delay", first=met.number, delay=SHORT_TIMEOUT * 2.5)
            trouble = Trouble((silent,), may_stay=met.name == "RemoveSnapshot_Task")
            yield Cell("SOAP silent", met.stage, transport, met.name, trouble)


def servers(transport: str, recorded: Recording) -> Iterator[Cell]:
    """At each stage: the sessions expire, vCenter restarts, or is gone; the ESXi host is."""
    for stage in recorded.stages:
        if stage == BEFORE:
            continue
        yield Cell("sessions expire", stage, transport, "all", Trouble(act=_expire))
        yield Cell("tickets expire", stage, transport, "all", Trouble(act=_no_tickets))
        yield Cell("vCenter restarts", stage, transport, "at once", Trouble(act=Scene.restart_vcenter))
        yield Cell(
            "vCenter gone", stage, transport, "until the job has ended",
            Trouble(act=Scene.stop_vcenter, heal=Scene.start_vcenter, may_stay=True),
        )  # fmt: skip
        yield Cell(
            "ESXi unreachable", stage, transport, "until the job has ended",
            Trouble(act=_host_gone, heal=_host_back, may_stay=True),
        )  # fmt: skip


def _calls(recorded: Recording) -> Iterator[Met]:
    return (met for met in recorded.points if met.phase == "call")


def _expire(scene: Scene) -> None:
    scene.lab.vsphere.sessions.expire_all()


def _no_tickets(scene: Scene) -> None:
    """Each NFC ticket that is out is worthless from now on, and those of the next second are fine."""
    scene.lab.faults.add(Rule("nfc.session", phase="data", fault="vim.fault.NoPermission"))
    scene.lab.faults.add(Rule("http", phase="data", fault="vim.fault.NoPermission"))


def _host_gone(scene: Scene) -> None:
    scene.lab.nfc.close()
    for point in ("*_Task", "ExportSnapshot", "NfcGetVmFiles"):
        scene.lab.faults.add(Rule(point, fault="vmodl.fault.HostCommunication", last=0))
    scene.lab.faults.add(Rule("http", phase="data", action="drop", last=0))


def _host_back(scene: Scene) -> None:
    scene.lab.faults.clear()


def _declared(method: str) -> set[str]:
    """The faults of a method as the API's type tables have them."""
    for kind in _MANAGED:
        for info in kind._methodInfo.values():
            if info.wsdlName == method:
                return {_short(str(name)) for name in info.faults or ()}
    return set()


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _often(last: int) -> str:
    return "for good" if last == _FOR_GOOD else "once"

"""Reading: properties, pages, views, lookup, privileges, live updates."""

import threading
import uuid
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.errors import VmAmbiguous, VmNotFound, VmUnsuitable, VsphereError
from engine.vsphere.inventory import VirtualMachine, inventory, read_vm
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref, collect, get, get_one
from engine.vsphere.session import Session
from tests.contract.conftest import TestServer

PropertyCollector = vmodl.query.PropertyCollector


def first(session: Session) -> VirtualMachine:
    return next(iter(inventory(session)))


def test_pages_hold_the_same_rows_as_one_answer(session: Session) -> None:
    whole = {row.ref: row.values for row in collect(session, "VirtualMachine", ["name", "config.uuid"])}
    paged = {row.ref: row.values for row in collect(session, "VirtualMachine", ["name", "config.uuid"], page=1)}
    assert len(whole) >= 2
    assert paged == whole


def test_the_inventory_and_a_single_vm_say_the_same(session: Session) -> None:
    for vm in inventory(session):
        assert read_vm(session, vm.moref) == vm
        assert vm.path == f"/{vm.datacenter}/vm/{vm.name}"
        assert vm.host
        assert vm.vmx is not None
        assert vm.vmx.startswith("[")
        assert uuid.UUID(vm.uuid)
        for disk in vm.disks:
            assert disk.capacity > 0
            assert disk.name.endswith(f":{disk.name.rpartition(':')[2]}")
            assert disk.file.startswith(f"[{disk.datastore}] ")


def test_without_disks_everything_else_is_the_same(session: Session) -> None:
    light = {vm.moref: vm.name for vm in inventory(session, with_disks=False)}
    assert light == {vm.moref: vm.name for vm in inventory(session)}


def test_the_raw_reader_agrees_with_pyvmomi(session: Session, vm: str) -> None:
    paths = ["name", "config.hardware.device", "runtime.powerState", "config.uuid", "config.template"]
    raw = get_one(session, Ref("VirtualMachine", vm), paths)
    spec = PropertyCollector.FilterSpec(
        objectSet=[PropertyCollector.ObjectSpec(obj=session.managed(Ref("VirtualMachine", vm)))],
        propSet=[PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
    )
    answer = session.content.propertyCollector.RetrievePropertiesEx([spec], PropertyCollector.RetrieveOptions())
    typed = {each.name: each.val for each in answer.objects[0].propSet}
    assert raw["name"] == typed["name"]
    assert raw["config.template"] is typed["config.template"]
    assert [device["key"] for device in raw["config.hardware.device"]] == [
        device.key for device in typed["config.hardware.device"]
    ]
    for mine, theirs in zip(raw["config.hardware.device"], typed["config.hardware.device"], strict=True):
        assert mine["_type"] == type(theirs)._wsdlName
        if mine["_type"] == "VirtualDisk":
            assert mine["capacityInBytes"] == theirs.capacityInBytes
            assert mine["backing"]["fileName"] == theirs.backing.fileName
            assert mine["backing"]["datastore"].moid == theirs.backing.datastore._moId


def test_an_unknown_path_is_treated_as_unset(session: Session, vm: str) -> None:
    values = get_one(session, Ref("VirtualMachine", vm), ["name", "config.nonsense"])
    assert list(values) == ["name"]
    row = next(collect(session, "VirtualMachine", ["name", "config.nonsense"]))
    assert row.missing == {}


def test_a_deleted_vm_is_left_out_or_told(session: Session, vm: str) -> None:
    gone, there = Ref("VirtualMachine", "vm-999999"), Ref("VirtualMachine", vm)
    assert set(get(session, [gone, there], ["name"])) == {there}
    with pytest.raises(VmUnsuitable, match="no longer exists"):
        get_one(session, gone, ["name"])
    with pytest.raises(VsphereError, match="no longer exists"):
        get_one(session, Ref("VirtualMachineSnapshot", "snapshot-999999"), ["config.name"])


def test_lookup_by_name_uuid_and_moref(session: Session) -> None:
    vm = first(session)
    for spec in (f"name:{vm.name}", f"uuid:{vm.instance_uuid}", f"uuid:{vm.uuid}", f"moref:{vm.moref}", vm.name):
        assert resolve(session, parse_spec(spec, "name")) == vm.moref


def test_lookup_by_address_and_dns_name(session: Session, server: TestServer, vm: str) -> None:
    if server.kind == "vcsim":  # its guests have no address until one is set like this
        machine = session.managed(Ref("VirtualMachine", vm))
        values = {"SET.guest.ipAddress": "10.0.0.1", "SET.guest.hostName": "one.example"}
        extra = [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]
        machine.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=extra))
    found = read_vm(session, vm)
    assert found.ip
    assert resolve(session, parse_spec(found.ip, "ipaddr")) == vm
    assert resolve(session, parse_spec(f"ipaddr:{found.hostname}", "name")) == vm


def test_what_is_not_there_comes_with_advice(session: Session) -> None:
    vm = first(session)
    with pytest.raises(VmNotFound) as caught:
        resolve(session, parse_spec(f"name:{vm.name.swapcase()}", "name"))
    assert f"name:{vm.name}" in caught.value.hint
    with pytest.raises(VmNotFound) as caught:
        resolve(session, parse_spec("10.99.99.99", "ipaddr"))
    assert "Tools" in caught.value.hint


def test_duplicates_are_listed_with_their_paths(session: Session, server: TestServer) -> None:
    one, other = list(inventory(session))[:2]
    if server.lab is not None:  # its VMs keep their UUID, as a clone made by hand does not
        twin: Any = server.lab.vsphere.objects[other.moref]
        twin.uuid = one.uuid
        twin.touch("config", "summary")
    else:
        spec = vim.vm.ConfigSpec(uuid=one.uuid)
        wait_for(session, session.managed(Ref("VirtualMachine", other.moref)).ReconfigVM_Task(spec))
    with pytest.raises(VmAmbiguous) as caught:
        resolve(session, parse_spec(f"uuid:{one.uuid}", "name"))
    assert caught.value.candidates == tuple(sorted((one.path, other.path)))


def wait_for(session: Session, task) -> None:
    state = ""
    while state not in ("success", "error"):
        state = get_one(session, Ref("Task", task._moId), ["info.state"])["info.state"]
    assert state == "success"


def test_an_administrator_lacks_nothing(session: Session, vm: str) -> None:
    steps = ("snapshot", "nbd", "https", "changed areas")
    assert missing(session, wanted(steps, {"vm": [Ref("VirtualMachine", vm)]})) == []


def test_an_unknown_privilege_is_not_granted(session: Session, vm: str) -> None:
    assert missing(session, {Ref("VirtualMachine", vm): ("No.Such",)}) == [(read_vm(session, vm).name, "No.Such")]


class Updates:
    """A view of all VMs under a filter, waited for like a live inventory does."""

    def __init__(self, session: Session, paths: list[str]) -> None:
        content = session.content
        self.collector = content.propertyCollector.CreatePropertyCollector()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        step = PropertyCollector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
        start = PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[step])
        wanted = PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=paths)
        self.collector.CreateFilter(PropertyCollector.FilterSpec(objectSet=[start], propSet=[wanted]), False)
        self.version = ""

    def wait(self, seconds: int = 10, most: int | None = None) -> Any:
        options = PropertyCollector.WaitOptions(maxWaitSeconds=seconds, maxObjectUpdates=most)
        update = self.collector.WaitForUpdatesEx(self.version, options)
        if update is not None:
            self.version = update.version
        return update

    def next(self, seconds: int = 10) -> list:
        return [each for filtered in self.wait(seconds).filterSet for each in filtered.objectSet]


def test_updates_enter_modify_and_leave(session: Session, vm: str) -> None:
    updates = Updates(session, ["name", "snapshot"])
    entered = updates.next()
    assert {each.kind for each in entered} == {"enter"}
    machine = session.managed(Ref("VirtualMachine", vm))
    wait_for(session, machine.Rename_Task("renamed"))
    changed = updates.next()
    assert [(each.kind, each.obj._moId) for each in changed] == [("modify", vm)]
    wait_for(session, machine.PowerOffVM_Task())
    wait_for(session, machine.Destroy_Task())
    kinds: set[str] = set()
    while "leave" not in kinds:
        kinds |= {each.kind for each in updates.next() if each.obj._moId == vm}


def test_a_long_update_comes_in_pieces(session: Session) -> None:
    updates = Updates(session, ["name"])
    expected = {row.ref.moid for row in collect(session, "VirtualMachine", ["name"])}
    found: set[str] = set()
    truncated = True
    while truncated:
        update = updates.wait(most=1)
        found |= {each.obj._moId for filtered in update.filterSet for each in filtered.objectSet}
        truncated = bool(update.truncated)
    assert found == expected


def test_a_waiter_can_be_woken(session: Session) -> None:
    updates = Updates(session, ["name"])
    updates.wait()
    caught: list[Exception] = []

    def wait() -> None:
        try:
            updates.wait(seconds=30)
        except vmodl.fault.RequestCanceled as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while thread.is_alive():  # it may not wait yet when we cancel for the first time
        updates.collector.CancelWaitForUpdates()
        thread.join(0.1)
    assert len(caught) == 1


def test_a_version_token_may_be_asked_again(session: Session, vm: str) -> None:
    updates = Updates(session, ["name"])
    updates.wait()
    token = updates.version
    machine = session.managed(Ref("VirtualMachine", vm))
    wait_for(session, machine.Rename_Task("renamed"))
    once = updates.next()
    updates.version = token
    again = updates.next(1)  # vcsim answers it at the end of the patience
    assert [(each.kind, each.obj._moId) for each in once] == [(each.kind, each.obj._moId) for each in again]

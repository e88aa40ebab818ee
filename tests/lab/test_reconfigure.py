"""ReconfigVM_Task, hot-add and its locks, power and the end of VMs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab import power
from engine.lab.vm import VM
from engine.lab.vsphere import VSphere
from tests.lab.model import CTX, MIB, end, make_vm, model, run

Spec = vim.vm.ConfigSpec
Flat: Any = vim.vm.device.VirtualDisk.FlatVer2BackingInfo


@pytest.fixture
def vsphere(tmp_path: Path) -> Iterator[VSphere]:
    vsphere = model(tmp_path)
    yield vsphere
    end(vsphere)


@pytest.fixture
def vm(vsphere: VSphere) -> VM:
    vm = make_vm(vsphere)
    vm.write(2000, 0, b"production")
    return vm


@pytest.fixture
def proxy(vsphere: VSphere) -> VM:
    return make_vm(vsphere, "proxy01")


def disks(vm: VM) -> list[Any]:
    return [d for d in vm.value("config").hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]


def change(operation: str, device: Any, file_operation: str | None = None) -> Any:
    return Spec(
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device, fileOperation=file_operation)]
    )


def existing(file: str, mode: str = "independent_nonpersistent", **how: Any) -> Any:
    """The device that a backup product adds: capacity 0, no fileOperation."""
    how = {"controllerKey": 1000, "unitNumber": 5, **how}
    return vim.vm.device.VirtualDisk(key=-1, capacityInKB=0, backing=Flat(fileName=file, diskMode=mode), **how)


def hot_add(vsphere: VSphere, proxy: VM, file: str, **how: Any) -> Any:
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("add", existing(file, **how))))
    return disks(proxy)[-1]


def test_settings(vsphere: VSphere, vm: VM) -> None:
    option = vim.option.OptionValue
    run(
        vsphere,
        vm.ReconfigVM_Task(CTX, Spec(annotation="note", name="web02", extraConfig=[option(key="a", value="1")])),
    )
    assert (vm.value("name"), vm.value("config.annotation"), vm.value("summary.config.name")) == (
        "web02",
        "note",
        "web02",
    )
    assert [(o.key, o.value) for o in vm.value("config.extraConfig")] == [("a", "1")]
    run(vsphere, vm.ReconfigVM_Task(CTX, Spec(extraConfig=[option(key="a", value="")])))
    assert vm.value("config.extraConfig") == []
    with pytest.raises(vim.fault.InvalidName):
        run(vsphere, vm.ReconfigVM_Task(CTX, Spec(name="")))


def test_privileges_follow_from_the_changes(vm: VM) -> None:
    info = VmomiSupport.GetWsdlMethod("urn:vim25", "ReconfigVM_Task").info

    def needed(spec: Any) -> set[str]:
        return {privilege.rpartition(".")[2] for _, privilege in vm.privilege_checks(info, {"spec": spec})}

    (disk,) = disks(vm)
    assert needed(Spec(changeTrackingEnabled=True)) == {"ChangeTracking"}
    assert needed(change("add", existing("[x] y"))) == {"AddExistingDisk"}
    assert needed(change("add", existing("[x] y"), "create")) == {"AddNewDisk"}
    assert needed(change("remove", disk)) == {"RemoveDisk"}


def test_hot_add_needs_a_frozen_disk_of_a_running_vm(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    file = vm.disks[2000].file()
    with pytest.raises(vim.fault.FileLocked) as caught:
        hot_add(vsphere, proxy, file)
    assert caught.value.file == file
    assert len(disks(proxy)) == 1
    vm.take_snapshot("_VCB-BACKUP_")
    attached = hot_add(vsphere, proxy, file)
    assert attached.backing.fileName == file
    assert (attached.backing.diskMode, attached.unitNumber) == ("independent_nonpersistent", 5)
    assert attached.capacityInBytes == 8 * MIB
    assert attached.backing.uuid == disks(vm)[0].backing.uuid, "the guest finds the device by the disk's own UUID"
    with pytest.raises(vim.fault.FileNotFound):
        hot_add(vsphere, proxy, "[labstore] nowhere/x.vmdk", unitNumber=6)
    with pytest.raises(vim.fault.FileLocked):
        hot_add(vsphere, proxy, file, mode="persistent", unitNumber=6)


def test_the_proxys_writes_never_reach_the_source(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    snapshot = vm.take_snapshot("_VCB-BACKUP_")
    key = hot_add(vsphere, proxy, vm.disks[2000].file(snapshot.levels[2000])).key
    vm.write(2000, 0, b"the guest ")
    assert proxy.read(key, 0, 10) == b"production"
    proxy.write(key, 3, b"PROXY")
    assert proxy.read(key, 0, 10) == b"proPROXYon"
    assert vm.read(2000, 0, 10, snapshot) == b"production"
    assert vm.read(2000, 0, 10) == b"the guest "
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("remove", disks(proxy)[-1])))
    assert list(proxy.disks) == [2000]
    assert vm.read(2000, 0, 10, snapshot) == b"production"
    assert not list(proxy.home.path.glob("*REDO*")), "the redo log went with the disk"


def test_a_snapshot_whose_disk_is_attached_cannot_be_removed(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    snapshot = vm.take_snapshot("_VCB-BACKUP_")
    hot_add(vsphere, proxy, vm.disks[2000].file(snapshot.levels[2000]))
    for removal in (lambda: snapshot.RemoveSnapshot_Task(CTX, False, True), lambda: vm.RemoveAllSnapshots_Task(CTX)):
        with pytest.raises(vim.fault.FileLocked):
            run(vsphere, removal())
    assert vm.snapshots == [snapshot]
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("remove", disks(proxy)[-1])))
    run(vsphere, snapshot.RemoveSnapshot_Task(CTX, False, True))
    assert vm.value("runtime.consolidationNeeded") is False
    assert vm.read(2000, 0, 10) == b"production"


def test_destroy_on_removal_really_deletes(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    """What a backup product must never send: the production disk is gone."""
    snapshot = vm.take_snapshot("_VCB-BACKUP_")
    hot_add(vsphere, proxy, vm.disks[2000].file(snapshot.levels[2000]))
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("remove", disks(proxy)[-1], "destroy")))
    assert not (vm.home.path / "web01-flat.vmdk").exists()
    with pytest.raises(FileNotFoundError):
        vm.read(2000, 0, 10)


def test_units_and_controllers(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    file = vm.disks[2000].file()
    vm.take_snapshot("s")
    for unit in (0, 7, 64):
        with pytest.raises(vim.fault.InvalidDeviceSpec):
            hot_add(vsphere, proxy, file, unitNumber=unit)
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        hot_add(vsphere, proxy, file, controllerKey=1003)
    controller = vim.vm.device.ParaVirtualSCSIController(key=-101, busNumber=1, sharedBus="noSharing")
    device = existing(file, controllerKey=-101, unitNumber=0)
    add = [vim.vm.device.VirtualDeviceSpec(operation="add", device=d) for d in (controller, device)]
    run(vsphere, proxy.ReconfigVM_Task(CTX, Spec(deviceChange=add)))
    assert (disks(proxy)[-1].controllerKey, disks(proxy)[-1].unitNumber) == (1001, 0)
    assert len({d.key for d in disks(proxy)}) == 2


def test_a_failing_spec_changes_nothing(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    vm.take_snapshot("s")
    good = vim.vm.device.VirtualDeviceSpec(
        operation="add", device=existing(vm.disks[2000].file(vm.disks[2000].layers[0]))
    )
    bad = vim.vm.device.VirtualDeviceSpec(operation="add", device=existing("[labstore] no/no.vmdk", unitNumber=6))
    with pytest.raises(vim.fault.FileNotFound):
        run(vsphere, proxy.ReconfigVM_Task(CTX, Spec(deviceChange=[good, bad], annotation="never")))
    assert len(disks(proxy)) == 1
    assert proxy.value("config.annotation") == ""
    assert not vm.disks[2000].layers[0].pins


def test_new_disks_and_disks_without_a_vm(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    backing = Flat(fileName="", diskMode="persistent", thinProvisioned=True)
    device = vim.vm.device.VirtualDisk(key=-1, controllerKey=1000, unitNumber=None, capacityInKB=2048, backing=backing)
    run(vsphere, vm.ReconfigVM_Task(CTX, change("add", device, "create")))
    made = disks(vm)[-1]
    assert made.backing.fileName == "[labstore] web01/web01_1.vmdk"
    assert made.capacityInBytes == 2 * MIB
    vm.write(made.key, 0, b"kept")
    run(vsphere, vm.ReconfigVM_Task(CTX, change("remove", made)))
    assert len(disks(vm)) == 1
    assert (vm.home.path / "web01_1-flat.vmdk").exists(), "without destroy the files stay"
    attached = hot_add(vsphere, proxy, made.backing.fileName, mode="persistent")
    assert proxy.read(attached.key, 0, 4) == b"kept"
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("remove", attached, "destroy")))
    assert not (vm.home.path / "web01_1-flat.vmdk").exists()


def test_growth(vsphere: VSphere, vm: VM) -> None:
    run(vsphere, vm.ReconfigVM_Task(CTX, Spec(changeTrackingEnabled=True)))
    snapshot = vm.take_snapshot("s")
    (disk,) = disks(vm)
    disk.capacityInBytes = 16 * MIB
    with pytest.raises(vim.fault.InvalidDeviceOperation):
        run(vsphere, vm.ReconfigVM_Task(CTX, change("edit", disk)))
    vm.remove_snapshot(snapshot)
    identity = vm.disks[2000].tracking
    (disk,) = disks(vm)
    disk.capacityInBytes = 16 * MIB
    run(vsphere, vm.ReconfigVM_Task(CTX, change("edit", disk)))
    assert disks(vm)[0].capacityInKB == 16 * 1024
    assert vm.read(2000, 0, 10) == b"production"
    assert vm.read(2000, 15 * MIB, 10) == bytes(10)
    assert vm.disks[2000].tracking is not identity, "change tracking starts anew"
    (disk,) = disks(vm)
    disk.capacityInBytes = MIB
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        run(vsphere, vm.ReconfigVM_Task(CTX, change("edit", disk)))


def test_power_states(vsphere: VSphere, vm: VM) -> None:
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.PowerOnVM_Task(CTX)
    assert "PowerOnVM_Task" in vm.props["disabledMethod"]()
    run(vsphere, vm.SuspendVM_Task(CTX))
    assert vm.value("guest.toolsRunningStatus") == "guestToolsNotRunning"
    run(vsphere, vm.PowerOnVM_Task(CTX))
    vm.ShutdownGuest(CTX)
    assert (vm.power, vm.value("guest.ipAddress")) == ("poweredOff", None)
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.ResetVM_Task(CTX)
    assert "PowerOffVM_Task" in vm.props["disabledMethod"]()
    bare = make_vm(vsphere, "bare", tools="notInstalled")
    with pytest.raises(vim.fault.ToolsUnavailable):
        bare.ShutdownGuest(CTX)


def test_nonpersistent_disks_forget_at_power_off(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, "kiosk", (), power="poweredOff")
    key = vm.add_disk(MIB, mode="independent_nonpersistent")
    vm.write(key, 0, b"image")
    run(vsphere, vm.PowerOnVM_Task(CTX))
    vm.write(key, 0, b"dirty")
    assert vm.read(key, 0, 5) == b"dirty"
    run(vsphere, vm.PowerOffVM_Task(CTX))
    assert vm.read(key, 0, 5) == b"image"


def test_a_lent_disk_keeps_its_owner_off(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    run(vsphere, vm.PowerOffVM_Task(CTX))
    hot_add(vsphere, proxy, vm.disks[2000].file())
    with pytest.raises(vim.fault.FileLocked):
        run(vsphere, vm.PowerOnVM_Task(CTX))
    with pytest.raises(vim.fault.FileLocked):
        run(vsphere, vm.Destroy_Task(CTX))
    assert vm.read(2000, 0, 10) == b"production"


def test_destroy(vsphere: VSphere, vm: VM) -> None:
    vm.take_snapshot("s")
    disk = vm.disks[2000]
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.Destroy_Task(CTX)
    run(vsphere, vm.PowerOffVM_Task(CTX))
    with disk.open(vm.snapshots[0].levels[2000]) as handle:
        run(vsphere, vm.Destroy_Task(CTX))
        with pytest.raises(FileNotFoundError):
            handle.read(0, 1)
    for reference in (vm.ref, vm.snapshots[0].ref):
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            vsphere.find(reference)
    assert not vm.home.path.exists()


def test_unregister_and_register(vsphere: VSphere, vm: VM) -> None:
    snapshot = vm.take_snapshot("kept")
    vm.write(2000, 0, b"later")
    run(vsphere, vm.PowerOffVM_Task(CTX))
    folder, pool = vsphere.parent_of(vm), vm.pool
    vm.UnregisterVM(CTX)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vsphere.find(vm.ref)
    reference = power.register(folder, CTX, vm.file("web01.vmx"), None, False, pool.ref, None)
    back = vsphere.find(run(vsphere, reference))
    assert back.id != vm.id
    assert back.uuid == vm.uuid
    assert [s.name for s in back.snapshots] == ["kept"]
    assert back.snapshots[0].id != snapshot.id
    assert back.read(2000, 0, 10, back.snapshots[0]) == b"production"
    with pytest.raises(vim.fault.AlreadyExists):
        run(vsphere, power.register(folder, CTX, vm.file("web01.vmx"), None, False, pool.ref, None))
    with pytest.raises(vim.fault.NotFound):
        run(vsphere, power.register(folder, CTX, "[x] y/y.vmx", None, False, pool.ref, None))


def test_templates(vsphere: VSphere, vm: VM) -> None:
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.MarkAsTemplate(CTX)
    run(vsphere, vm.PowerOffVM_Task(CTX))
    vm.MarkAsTemplate(CTX)
    assert vm.value("config.template") is True
    assert vm.value("resourcePool") is None
    with pytest.raises(vmodl.fault.NotSupported):
        vm.PowerOnVM_Task(CTX)
    vm.MarkAsVirtualMachine(CTX, vm.pool.ref)
    run(vsphere, vm.PowerOnVM_Task(CTX))


def test_a_failing_spec_keeps_files_that_no_vm_has(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    key = vm.add_disk(MIB)
    vm.write(key, 0, b"kept")
    vm.save()
    (disk,) = [d for d in disks(vm) if d.key == key]
    run(vsphere, vm.ReconfigVM_Task(CTX, change("remove", disk)))
    good = vim.vm.device.VirtualDeviceSpec(operation="add", device=existing(disk.backing.fileName, "persistent"))
    bad = vim.vm.device.VirtualDeviceSpec(operation="add", device=existing("[labstore] no/no.vmdk", unitNumber=6))
    with pytest.raises(vim.fault.FileNotFound):
        run(vsphere, proxy.ReconfigVM_Task(CTX, Spec(deviceChange=[good, bad])))
    attached = hot_add(vsphere, proxy, disk.backing.fileName, mode="persistent")
    assert proxy.read(attached.key, 0, 4) == b"kept"


def test_names_are_unique_within_a_folder(vsphere: VSphere, vm: VM, proxy: VM) -> None:
    with pytest.raises(vim.fault.DuplicateName):
        run(vsphere, vm.ReconfigVM_Task(CTX, Spec(name=proxy.name)))
    run(vsphere, vm.Rename_Task(CTX, "web02"))
    assert vm.value("name") == "web02"
    assert vm.disks[2000].file() == "[labstore] web01/web01.vmdk", "renaming moves no files"

"""Snapshot trees: names and chains that vCenter would show, refusals, merges that fail, and who may wait for whom."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import snapshots
from engine.lab.faults import Rule
from engine.lab.frozen import Recorder
from engine.lab.sites import GIB
from engine.lab.snapshots import Snapshot, Unwatched
from engine.lab.vm import VM
from engine.lab.vsphere import VSphere
from tests.lab.model import CTX, MIB, bad_day, end, make_vm, model, run


@pytest.fixture
def vsphere(tmp_path: Path) -> Iterator[VSphere]:
    vsphere = model(tmp_path)
    yield vsphere
    end(vsphere)


@pytest.fixture
def vm(vsphere: VSphere) -> VM:
    return make_vm(vsphere)


def disk_of(config: Any, key: int = 2000) -> Any:
    return next(d for d in config.hardware.device if d.key == key)


def files(backing: Any) -> list[str]:
    names = []
    while backing is not None:
        names.append(backing.fileName.rpartition("/")[2])
        backing = backing.parent
    return names


def tree(vm: VM) -> Any:
    def shape(nodes: Any) -> Any:
        return {node.name: shape(node.childSnapshotList) for node in nodes}

    info = vm.value("snapshot")
    return shape(info.rootSnapshotList) if info else {}


def test_a_snapshot_freezes_and_names_its_files(vm: VM) -> None:
    vm.write(2000, 0, b"before")
    snapshot = vm.take_snapshot("one", "the first")
    vm.write(2000, 0, b"after!")
    assert vm.read(2000, 0, 6, snapshot) == b"before"
    assert files(disk_of(snapshot.value("config")).backing) == ["web01.vmdk"]
    assert files(disk_of(vm.value("config")).backing) == ["web01-000001.vmdk", "web01.vmdk"]
    (node,) = vm.value("snapshot.rootSnapshotList")
    assert (node.name, node.description, node.state, node.quiesced) == ("one", "the first", "poweredOff", False)
    assert vm.value("snapshot.currentSnapshot") == snapshot.ref
    assert (vm.home.path / "web01-000001.vmdk").read_text().count('parentFileNameHint="web01.vmdk"') == 1
    parent = disk_of(vm.value("config")).backing.parent
    assert f"parentCID={parent.contentId}" in (vm.home.path / "web01-000001.vmdk").read_text()


def test_removal_from_the_middle_moves_contents_down(vm: VM) -> None:
    taken = []
    for n in range(4):
        vm.write(2000, n * 100_000, bytes([n + 1]) * 150_000)
        taken.append((vm.take_snapshot(f"s{n}"), vm.read(2000, 0, 8 * MIB)))
    vm.write(2000, 0, b"now")
    now = vm.read(2000, 0, 8 * MIB)
    vm.remove_snapshot(taken[1][0])
    assert tree(vm) == {"s0": {"s2": {"s3": {}}}}
    assert files(disk_of(taken[2][0].value("config")).backing) == ["web01-000001.vmdk", "web01.vmdk"]
    for snapshot, image in (taken[0], taken[2], taken[3]):
        assert vm.read(2000, 0, 8 * MIB, snapshot) == image
    assert vm.read(2000, 0, 8 * MIB) == now
    vm.remove_snapshot(taken[0][0])
    vm.remove_snapshot(taken[3][0])
    vm.remove_snapshot(taken[2][0])
    assert tree(vm) == {}
    assert vm.value("snapshot") is None
    assert files(disk_of(vm.value("config")).backing) == ["web01.vmdk"]
    assert vm.read(2000, 0, 8 * MIB) == now


def test_branches(vsphere: VSphere, vm: VM) -> None:
    vm.write(2000, 0, b"root")
    root = vm.take_snapshot("root")
    vm.write(2000, 0, b"left")
    vm.take_snapshot("left")
    run(vsphere, root.RevertToSnapshot_Task(CTX))
    assert vm.power == "poweredOff", "a snapshot without memory leaves the VM powered off"
    assert vm.read(2000, 0, 4) == b"root"
    vm.write(2000, 0, b"rite")
    right = vm.take_snapshot("right")
    assert tree(vm) == {"root": {"left": {}, "right": {}}}
    assert vm.current is right
    run(vsphere, root.RemoveSnapshot_Task(CTX, False, True))
    assert tree(vm) == {"left": {}, "right": {}}
    left = next(s for s in vm.snapshots if s.name == "left")
    assert vm.read(2000, 0, 4, left) == b"left"
    assert vm.read(2000, 0, 4, right) == b"rite"
    assert not vm.value("runtime.consolidationNeeded"), "the shared parent cannot be merged into two"
    run(vsphere, left.RemoveSnapshot_Task(CTX, False))
    assert files(disk_of(right.value("config")).backing) == ["web01.vmdk"]
    run(vsphere, vm.RevertToCurrentSnapshot_Task(CTX))
    assert vm.read(2000, 0, 4) == b"rite"


def test_remove_with_children_takes_the_subtree_only(vsphere: VSphere, vm: VM) -> None:
    base = vm.take_snapshot("base")
    middle = vm.take_snapshot("middle")
    vm.take_snapshot("leaf")
    run(vsphere, base.RevertToSnapshot_Task(CTX))
    vm.take_snapshot("other")
    run(vsphere, middle.RemoveSnapshot_Task(CTX, True, True))
    assert tree(vm) == {"base": {"other": {}}}
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vsphere.find(middle.ref)
    run(vsphere, vm.RemoveAllSnapshots_Task(CTX))
    assert tree(vm) == {}
    assert len(vm.disks[2000].layers) == 1


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_of_a_vm(vsphere: VSphere, seed: int) -> None:
    """Two disks, one of them independent; every snapshot keeps its image until it is removed."""
    source, vm = random.Random(seed), make_vm(vsphere, disks=(3 * MIB,))
    alone = vm.add_disk(MIB, mode="independent_persistent")
    kept: dict[Snapshot, bytes] = {}
    independent = bytearray(MIB)
    for _ in range(60):
        action = source.choice(["write", "write", "write", "take", "remove", "revert"])
        if action == "take" and len(kept) < 6:
            kept[vm.take_snapshot(f"s{len(kept)}")] = vm.read(2000, 0, 3 * MIB)
        elif action == "remove" and kept:
            gone = source.choice(list(kept))
            vm.remove_snapshot(gone)
            del kept[gone]
        elif action == "revert" and kept:
            target = source.choice(list(kept))
            snapshots.revert(target, Unwatched())
            assert vm.read(2000, 0, 3 * MIB) == kept[target]
        else:
            vm.write(2000, *bad_day(source, 3 * MIB))
            offset, data = bad_day(source, MIB)
            vm.write(alone, offset, data)
            independent[offset : offset + len(data)] = data
        assert not vm.value("runtime.consolidationNeeded")
    for snapshot, image in kept.items():
        assert vm.read(2000, 0, 3 * MIB, snapshot) == image
        assert alone not in snapshot.levels
    assert vm.read(alone, 0, MIB) == independent
    assert len(vm.disks[alone].layers) == 1


def test_quiescing_is_real_only_with_running_tools(vsphere: VSphere) -> None:
    for tools, power, quiesced in (
        ("running", "poweredOn", True), ("notRunning", "poweredOn", False), ("notInstalled", "poweredOn", False),
        ("running", "poweredOff", False),
    ):  # fmt: skip
        vm = make_vm(vsphere, f"{tools}-{power}", tools=tools, power=power)
        spec = vim.vm.GuestQuiesceSpec(timeout=5)
        run(vsphere, vm.CreateSnapshotEx_Task(CTX, "q", False, "", spec))
        assert vm.value("snapshot.rootSnapshotList")[0].quiesced is quiesced
        run(vsphere, vm.CreateSnapshot_Task(CTX, "plain", False, False))
        assert vm.snapshots[-1].quiesced is False


def test_a_failing_quiesce_leaves_nothing(vsphere: VSphere, vm: VM) -> None:
    vsphere.faults.add(Rule("guest.quiesce", "fault", "task", fault="ApplicationQuiesceFault"))
    with pytest.raises(vim.fault.ApplicationQuiesceFault):
        run(vsphere, vm.CreateSnapshot_Task(CTX, "q", False, True))
    assert vm.value("snapshot") is None
    assert len(vm.disks[2000].layers) == 1
    run(vsphere, vm.CreateSnapshot_Task(CTX, "q", False, False))


def test_what_cannot_be_frozen_is_refused(vsphere: VSphere) -> None:
    shared = make_vm(vsphere, "shared", ())
    shared.add_disk(MIB, sharing="sharingMultiWriter")
    template = make_vm(vsphere, "template", power="poweredOff")
    template.MarkAsTemplate(CTX)
    fault_tolerant = make_vm(vsphere, "ft")
    fault_tolerant.definition.fault_tolerant = True
    bus = make_vm(vsphere, "bus", ())
    bus.add_disk(MIB, controller=bus.definition.add_controller(sharing="physicalSharing"))
    for vm, fault in (
        (shared, vim.fault.SnapshotIncompatibleDeviceInVm), (template, vmodl.fault.NotSupported),
        (fault_tolerant, vim.fault.InvalidState), (bus, vim.fault.SnapshotIncompatibleDeviceInVm),
    ):  # fmt: skip
        with pytest.raises(fault):
            run(vsphere, vm.CreateSnapshot_Task(CTX, "no", False, False))
        assert vm.value("snapshot") is None


def test_raw_devices(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, "raw", (MIB,))
    physical = vm.add_disk(MIB, kind="rdm-physical")
    virtual = vm.add_disk(MIB, kind="rdm-virtual")
    with pytest.raises(vim.fault.SnapshotIncompatibleDeviceInVm):
        vm.take_snapshot("memory", memory=True)
    snapshot = vm.take_snapshot("s")
    assert set(snapshot.levels) == {2000, virtual}
    backing = disk_of(vm.value("config"), physical).backing
    assert (backing.compatibilityMode, backing.fileName) == ("physicalMode", "[labstore] raw/raw_1.vmdk")
    assert disk_of(vm.value("config"), virtual).backing.compatibilityMode == "virtualMode"


def test_the_thirty_third_level_is_too_deep(vm: VM) -> None:
    for n in range(32):
        vm.take_snapshot(str(n))
    with pytest.raises(vim.fault.TooManySnapshotLevels):
        vm.take_snapshot("too deep")
    snapshots.remove_all(vm, Unwatched())
    assert len(vm.disks[2000].layers) == 1


def test_a_snapshot_task_holds_the_vm(vsphere: VSphere, vm: VM) -> None:
    vsphere.faults.add(Rule("CreateSnapshot_Task", "delay", "task", delay=60))
    first = vm.CreateSnapshot_Task(CTX, "slow", False, False)
    with pytest.raises(vim.fault.TaskInProgress) as caught:
        vm.CreateSnapshot_Task(CTX, "second", False, False)
    assert caught.value.task == first
    with pytest.raises(vim.fault.TaskInProgress):
        vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(annotation="x"))
    with pytest.raises(vim.fault.TaskInProgress):
        vm.take_snapshot("third")
    vsphere.faults.close()
    run(vsphere, first)
    vm.take_snapshot("fourth")


def test_a_cancelled_creation_leaves_nothing(vsphere: VSphere, vm: VM) -> None:
    vsphere.faults.add(Rule("CreateSnapshot_Task", "delay", "task", delay=60))
    reference = vm.CreateSnapshot_Task(CTX, "slow", False, False)
    vsphere.find(reference).CancelTask(CTX)
    vsphere.faults.close()
    with pytest.raises(vmodl.fault.RequestCanceled):
        run(vsphere, reference)
    assert vm.value("snapshot") is None


def test_a_failed_merge_needs_consolidation(vsphere: VSphere, vm: VM) -> None:
    vm.write(2000, 0, b"base")
    snapshot = vm.take_snapshot("_VCB-BACKUP_")
    vm.write(2000, 0, b"more")
    vsphere.faults.add(Rule("disk.merge", "fault", "task", fault="FileLocked", properties={"file": "x"}))
    run(vsphere, snapshot.RemoveSnapshot_Task(CTX, False, True))
    assert vm.value("snapshot") is None
    assert vm.value("runtime.consolidationNeeded") is True
    assert files(disk_of(vm.value("config")).backing) == ["web01-000001.vmdk", "web01.vmdk"]
    assert vm.read(2000, 0, 4) == b"more"
    run(vsphere, vm.ConsolidateVMDisks_Task(CTX))
    assert vm.value("runtime.consolidationNeeded") is False
    assert files(disk_of(vm.value("config")).backing) == ["web01.vmdk"]
    assert vm.read(2000, 0, 4) == b"more"


def test_removal_without_consolidation_leaves_the_delta(vsphere: VSphere, vm: VM) -> None:
    snapshot = vm.take_snapshot("s")
    vm.write(2000, 0, b"more")
    run(vsphere, snapshot.RemoveSnapshot_Task(CTX, False, False))
    assert vm.value("runtime.consolidationNeeded") is True
    second = vm.take_snapshot("t")
    vm.write(2000, 4, b"!")
    run(vsphere, second.RemoveSnapshot_Task(CTX, False, True))
    assert vm.value("runtime.consolidationNeeded") is False
    assert vm.read(2000, 0, 5) == b"more!"


def test_renaming(vm: VM) -> None:
    snapshot = vm.take_snapshot("old", "text")
    snapshot.RenameSnapshot(CTX, "new")
    (node,) = vm.value("snapshot.rootSnapshotList")
    assert (node.name, node.description) == ("new", "text")
    with pytest.raises(vim.fault.InvalidName):
        snapshot.RenameSnapshot(CTX, "")


def test_waiters_see_the_tree_change(vsphere: VSphere, vm: VM) -> None:
    before = vsphere.version
    vm.take_snapshot("s")
    assert vm.last_change("snapshot") > before
    assert vm.last_change("config.hardware.device") > before


def test_the_recorder_keeps_what_was_frozen(tmp_path: Path, vsphere: VSphere) -> None:
    vsphere.recorder = Recorder(tmp_path / "frozen")
    vm = make_vm(vsphere, "big", (4 * GIB,))
    vm.write(2000, 3 * GIB + 100, b"first" * 30_000)
    vm.take_snapshot("one")
    vm.write(2000, 3 * GIB, b"second" * 30_000)
    stop = threading.Event()

    def guest() -> None:
        source = random.Random(1)
        while not stop.is_set():
            vm.write(2000, source.randrange(GIB), source.randbytes(5000))

    thread = threading.Thread(target=guest)
    thread.start()
    snapshot = vm.take_snapshot("two")
    stop.set()
    thread.join()
    path = vsphere.recorder.image(snapshot.id, 2000)
    with path.open("rb") as image:
        for offset in (*range(0, GIB, 16 * MIB), *range(3 * GIB - MIB, 3 * GIB + 2 * MIB, MIB)):
            image.seek(offset)
            assert image.read(MIB) == vm.read(2000, offset, MIB, snapshot)
    assert path.stat().st_size == 4 * GIB
    assert path.stat().st_blocks * 512 < GIB
    vm.remove_snapshot(snapshot)
    assert vsphere.recorder.image(snapshot.id, 2000) == path
    with pytest.raises(LookupError):
        vsphere.recorder.image("snapshot-999", 2000)

"""Changed areas: exactly what was written between two change ids, in pages, and the faults a backup must expect."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab.faults import Rule
from engine.lab.snapshots import Snapshot
from engine.lab.vm import VM
from engine.lab.vsphere import VSphere
from tests.lab.model import BLOCK, CTX, MIB, bad_day, end, make_vm, model, run

SIZE = 12 * MIB


@pytest.fixture
def vsphere(tmp_path: Path) -> Iterator[VSphere]:
    vsphere = model(tmp_path)
    yield vsphere
    end(vsphere)


@pytest.fixture
def vm(vsphere: VSphere) -> VM:
    """Running, tracking switched on and made effective by a snapshot."""
    vm = make_vm(vsphere, disks=(SIZE,))
    run(vsphere, vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    vm.remove_snapshot(vm.take_snapshot("stun"))
    return vm


def change_id(snapshot: Snapshot, key: int = 2000) -> Any:
    return next(d for d in snapshot.value("config").hardware.device if d.key == key).backing.changeId


def areas(vm: VM, since: str, snapshot: Snapshot | None, key: int = 2000) -> list[tuple[int, int]]:
    """All pages, checked for coverage."""
    found, position, capacity = [], 0, vm.disks[key].capacity
    while position < capacity:
        page = vm.QueryChangedDiskAreas(CTX, key, position, since, snapshot and snapshot.ref)
        assert page.startOffset == position
        assert page.length > 0
        for extent in page.changedArea:
            assert position <= extent.start
            assert extent.start + extent.length <= position + page.length
            found.append((extent.start, extent.length))
        position += page.length
    assert position == capacity
    return found


def blocks(extents: list[tuple[int, int]]) -> set[int]:
    return {b for offset, length in extents for b in range(offset // BLOCK, -(-(offset + length) // BLOCK))}


@pytest.mark.parametrize("page", [1, 3, 2000])
def test_increments_rebuild_every_image(vm: VM, page: int) -> None:
    """Base plus changed areas is the next snapshot, whichever two are compared, also when those between are gone."""
    vm.areas_per_answer = page
    source, points = random.Random(page), list[tuple[str, bytes, set[int]]]()
    snapshot, written = None, set[int]()
    for number in range(5):
        for _ in range(source.randrange(12)):
            offset, data = bad_day(source, SIZE)
            vm.write(2000, offset, data)
            written |= blocks([(offset, len(data))])
        if snapshot is not None and number % 2:
            vm.remove_snapshot(snapshot)
        snapshot = vm.take_snapshot(f"s{number}")
        points.append((change_id(snapshot) or "", vm.read(2000, 0, SIZE, snapshot), written))
        for since, image, known in points:
            changed = areas(vm, since, snapshot)
            rebuilt = bytearray(image)
            for offset, length in changed:
                rebuilt[offset : offset + length] = vm.read(2000, offset, length, snapshot)
            assert rebuilt == points[-1][1]
            later = set().union(*(w for _, _, w in points[points.index((since, image, known)) + 1 :]))
            assert blocks(changed) == later, "true epochs: neither more nor less than what was written"
        vm.write(2000, 0, b"after the snapshot")
        written = {0}


def test_tracking_begins_at_a_stun(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, disks=(SIZE,))
    vm.write(2000, 0, b"before")
    run(vsphere, vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    assert vm.value("config.changeTrackingEnabled") is True
    assert vm.disks[2000].tracking is None, "a running VM is tracked from the next stun on"
    first = vm.take_snapshot("one")
    assert change_id(first)
    assert areas(vm, "*", first) == [(0, BLOCK)]
    off = make_vm(vsphere, "off", (SIZE,), power="poweredOff")
    run(vsphere, off.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    assert off.disks[2000].tracking is not None, "a VM that is powered off is tracked at once"


def test_star_covers_all_data_and_is_paged(vm: VM) -> None:
    vm.areas_per_answer = 2
    for offset in range(0, SIZE, MIB):
        vm.write(2000, offset + 5, b"data")
    first = vm.take_snapshot("one")
    vm.write(2000, MIB // 2, b"in the delta")
    second = vm.take_snapshot("two")
    assert areas(vm, "*", first) == [(offset, BLOCK) for offset in range(0, SIZE, MIB)]
    assert len(areas(vm, "*", second)) == SIZE // MIB + 1


def test_faults(vsphere: VSphere, vm: VM) -> None:
    snapshot = vm.take_snapshot("one")
    vm.take_snapshot("two")
    known = change_id(snapshot)
    other = make_vm(vsphere, "other")
    foreign = other.take_snapshot("theirs")
    wrong = vmodl.fault.InvalidArgument
    cases: list[tuple[Any, Any]] = [
        (wrong, (9999, 0, "*", snapshot.ref)),
        (wrong, (2000, SIZE, "*", snapshot.ref)),
        (wrong, (2000, -1, "*", snapshot.ref)),
        (wrong, (2000, 0, "*", foreign.ref)),
        (vim.fault.FileFault, (2000, 0, "52 00 aa/3", snapshot.ref)),
        (vim.fault.FileFault, (2000, 0, "nonsense", snapshot.ref)),
        (vim.fault.FileFault, (2000, 0, change_id(vm.snapshots[1]), snapshot.ref)),
        (vim.fault.FileFault, (2000, 0, known, None)),
    ]
    for fault, (key, start, since, reference) in cases:
        with pytest.raises(fault):
            vm.QueryChangedDiskAreas(CTX, key, start, since, reference)
    with pytest.raises(vim.fault.FileFault):
        other.QueryChangedDiskAreas(CTX, 2000, 0, "*", foreign.ref)


def test_revert_and_reset_make_change_ids_foreign(vsphere: VSphere, vm: VM) -> None:
    first = vm.take_snapshot("one")
    before = change_id(first)
    run(vsphere, first.RevertToSnapshot_Task(CTX))
    second = vm.take_snapshot("two")
    assert (change_id(second) or "").partition("/")[0] != (before or "").partition("/")[0]
    with pytest.raises(vim.fault.FileFault):
        vm.QueryChangedDiskAreas(CTX, 2000, 0, before, second.ref)
    known = change_id(second)
    vm.remove_snapshot(second)
    vm.remove_snapshot(first)
    for wanted in (False, True):
        run(vsphere, vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=wanted)))
        vm.remove_snapshot(vm.take_snapshot("stun"))
    third = vm.take_snapshot("three")
    with pytest.raises(vim.fault.FileFault):
        vm.QueryChangedDiskAreas(CTX, 2000, 0, known, third.ref)


def test_without_a_snapshot_only_powered_off(vsphere: VSphere, vm: VM) -> None:
    snapshot = vm.take_snapshot("one")
    since = change_id(snapshot) or ""
    vm.remove_snapshot(snapshot)
    vm.write(2000, 3 * MIB, b"x" * 100)
    with pytest.raises(vim.fault.FileFault):
        vm.QueryChangedDiskAreas(CTX, 2000, 0, since)
    run(vsphere, vm.PowerOffVM_Task(CTX))
    assert areas(vm, since, None) == [(3 * MIB, BLOCK)]
    live = next(d for d in vm.value("config").hardware.device if d.key == 2000).backing.changeId
    assert areas(vm, live, None) == []
    run(vsphere, vm.PowerOnVM_Task(CTX))
    vm.write(2000, 5 * MIB, b"y")
    later = vm.take_snapshot("two")
    assert areas(vm, live, later) == [(5 * MIB, BLOCK)], "nothing written after the id was read is missed"


def test_disks_that_cannot_be_tracked_have_no_change_id(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, power="poweredOff")
    independent = vm.add_disk(MIB, mode="independent_persistent")
    physical = vm.add_disk(MIB, kind="rdm-physical")
    run(vsphere, vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    snapshot = vm.take_snapshot("one")
    assert change_id(snapshot) is not None
    assert change_id(snapshot, independent) is None
    assert change_id(snapshot, physical) is None
    with pytest.raises(vim.fault.FileFault):
        vm.QueryChangedDiskAreas(CTX, independent, 0, "*", snapshot.ref)


def test_a_rule_makes_tracking_lie(vsphere: VSphere, vm: VM) -> None:
    first = vm.take_snapshot("one")
    since = change_id(first)
    for offset in (0, 4 * MIB, 8 * MIB):
        vm.write(2000, offset, b"changed")
    second = vm.take_snapshot("two")
    assert areas(vm, since, second) == [(0, BLOCK), (4 * MIB, BLOCK), (8 * MIB, BLOCK)]
    vsphere.faults.add(Rule("QueryChangedDiskAreas", "omit", "data", size=4 * MIB))
    assert areas(vm, since, second) == [(0, BLOCK)], "the coverage looks whole"
    vsphere.faults.add(Rule("QueryChangedDiskAreas", "short", "data", first=1, size=0))
    assert vm.QueryChangedDiskAreas(CTX, 2000, 0, since, second.ref).length == 0
    vsphere.faults.add(Rule("QueryChangedDiskAreas", "corrupt", "data", size=512))
    assert vm.QueryChangedDiskAreas(CTX, 2000, 0, since, second.ref).startOffset == 512
    assert areas(vm, since, second) == [(0, BLOCK), (4 * MIB, BLOCK), (8 * MIB, BLOCK)]

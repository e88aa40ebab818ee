"""The workload: repeatable, only on running VMs, and true to the frozen images."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.lab.guest import Workload
from engine.lab.vsphere import VSphere
from tests.lab.model import CTX, MIB, end, make_vm, model, run


@pytest.fixture
def vsphere(tmp_path: Path) -> Iterator[VSphere]:
    vsphere = model(tmp_path)
    yield vsphere
    end(vsphere)


def test_the_same_seed_writes_the_same(tmp_path: Path) -> None:
    images = []
    for name in ("one", "two"):
        vsphere = model(tmp_path / name)
        vm = make_vm(vsphere, disks=(16 * MIB, 4 * MIB))
        workload = Workload(vsphere, seed=7)
        steps = [workload.step() for _ in range(200)]
        assert all(steps)
        images.append([vm.read(key, 0, disk.capacity) for key, disk in vm.disks.items()])
        end(vsphere)
    assert images[0] == images[1]
    assert images[0][0].count(0) < len(images[0][0])


def test_it_overwrites_appends_and_stays_within_the_disk(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, disks=(32 * MIB,))
    workload = Workload(vsphere)
    before = sum(length for _, length in vm.disks[2000].allocated())
    for _ in range(400):
        workload.step()
    after = sum(length for _, length in vm.disks[2000].allocated())
    assert workload.writes == 400
    assert before < after <= 32 * MIB
    assert any(offset >= 16 * MIB for offset, _ in vm.disks[2000].allocated())


def test_only_running_vms_are_written(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, power="poweredOff")
    make_vm(vsphere, "bare", contents=False)
    workload = Workload(vsphere)
    assert workload.step() is None
    run(vsphere, vm.PowerOnVM_Task(CTX))
    assert workload.step() is not None


def test_frozen_images_stay_while_it_writes(vsphere: VSphere) -> None:
    vm = make_vm(vsphere, disks=(16 * MIB,))
    workload = Workload(vsphere, rate=1000)
    workload.start()
    assert workload.running
    images = []
    for number in range(3):
        snapshot = vm.take_snapshot(str(number))
        images.append((snapshot, vm.read(2000, 0, 16 * MIB, snapshot)))
        written = workload.writes
        while workload.writes < written + 5:
            vm.read(2000, 0, 4096)
    for snapshot, image in images:
        assert vm.read(2000, 0, 16 * MIB, snapshot) == image
    vm.remove_snapshot(images[1][0])
    assert vm.read(2000, 0, 16 * MIB, images[2][0]) == images[2][1]
    workload.stop()
    assert not workload.running
    now = vm.read(2000, 0, 16 * MIB)
    for snapshot, _ in (images[2], images[0]):
        vm.remove_snapshot(snapshot)
    assert vm.read(2000, 0, 16 * MIB) == now
    workload.stop()

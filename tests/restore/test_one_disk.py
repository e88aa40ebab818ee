"""One disk of a point as a new disk of a VM: whole, beside the others, and gone again when anything fails."""

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConfigError, PrivilegeError, VmUnsuitable
from engine.events import DiskProgress, ResultState
from engine.flow.restore_disk import plan_disk, restore_disk
from engine.lab import power
from engine.lab.authorization import ALL_PRIVILEGES
from engine.lab.faults import Rule
from tests.restore.checks import assert_ledgers_closed, frozen, point_of, same


@pytest.fixture
def point(proxy):
    proxy.lab.run_guest(False)
    return point_of(proxy)


@pytest.fixture
def target(proxy, point):
    """Another VM, off."""
    vm = proxy.vm("db01")
    power.enter(vm, "poweredOff")
    return vm


def add(proxy, point, disk="scsi0:1", onto="name:db01", *, cancel=None, **values):
    return restore_disk(point, disk, onto, proxy.settings(**values), proxy.report, cancel or proxy.cancel)


@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
def test_it_is_the_frozen_one(proxy, export_format):
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    vm = proxy.vm("db01")
    power.enter(vm, "poweredOff")
    before = set(vm.disks)
    outcome = add(proxy, point)
    assert (outcome.state, outcome.error) == (ResultState.SUCCESS, None)
    (made,) = set(vm.disks) - before
    disk = vm.disks[made]
    assert disk.file() == outcome.disks[0].target
    assert outcome.job in disk.file()
    same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", frozen(proxy, point)[1])
    assert outcome.disks[0].stored <= disk.capacity // 2, "thin stays thin"
    assert_ledgers_closed()


def test_what_is_refused(proxy, point, target):
    with pytest.raises(ConfigError, match="One disk at a time"):
        plan_disk(point, "", "name:db01", proxy.settings(), proxy.report, CancelToken())
    power.enter(target, "poweredOn")
    assert isinstance(add(proxy, point).error, VmUnsuitable)
    power.enter(target, "poweredOff")
    proxy.lab.vsphere.grant(
        "r@vsphere.local", proxy.lab.password, ALL_PRIVILEGES - {"VirtualMachine.Config.AddNewDisk"}
    )
    assert isinstance(add(proxy, point, USERNAME="r@vsphere.local").error, PrivilegeError)


@pytest.mark.parametrize(
    "fault", ["task", "write", *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("lost answer", "cancel"))]
)
def test_a_failure_takes_it_away_again(proxy, point, target, fault):
    before, cancel = set(target.disks), CancelToken()
    files = {path.name for path in target.home.path.iterdir()}
    if fault == "cancel":
        proxy.on_event.append(lambda event: cancel.cancel() if isinstance(event, DiskProgress) else None)
    elif fault == "write":
        proxy.lab.faults.add(Rule("nfc.write", "drop", "data", last=0))
    elif fault == "task":
        proxy.lab.faults.add(Rule("ReconfigVM_Task", "fault", "task", fault="vim.fault.GenericVmConfigFault"))
    else:
        proxy.lab.faults.add(Rule("ReconfigVM_Task", "drop-after"))
    outcome = add(proxy, point, cancel=cancel)
    assert outcome.error is not None
    assert isinstance(outcome.error, Cancelled) == (fault == "cancel")
    assert not outcome.leftovers
    assert set(target.disks) == before
    assert {path.name for path in target.home.path.iterdir()} == files
    assert_ledgers_closed()

"""A point over the VM's own disks: only what differs is written, and the disk is the frozen one again."""

import pytest

from engine.cancel import CancelToken
from engine.errors import (
    Cancelled,
    ConnectError,
    PolicyError,
    PrivilegeError,
    TransportError,
    VerifyError,
    VmUnsuitable,
)
from engine.events import DiskProgress, ResultState
from engine.flow import restore_in_place as in_place
from engine.flow.ledger import ledgers
from engine.flow.restore_in_place import plan_in_place, restore_in_place
from engine.image.sparse_header import GRAIN
from engine.lab import power
from engine.lab.authorization import ALL_PRIVILEGES
from engine.lab.faults import Rule
from engine.points import restored
from engine.points.restore_files import find_point
from engine.state_directory import StateDirectory
from tests.flow.nights import MIB, Nights
from tests.restore.checks import assert_ledgers_closed, frozen, point_of, same


def put_back(proxy, point, *disks, cancel=None, **values):
    return restore_in_place(point, disks, proxy.settings(**values), proxy.report, cancel or proxy.cancel)


@pytest.fixture
def off(proxy):
    """web01, powered off, with a point of it, and written to since."""
    proxy.lab.run_guest(False)
    vm = proxy.vm()
    point = point_of(proxy)
    key = point.manifest.disk[0].key
    vm.write(key, 3 * MIB + 512, b"an encrypted document" * 100)
    vm.write(key, 50 * MIB, b"and a new one" * 1000)
    vm.write(key, 0, bytes(GRAIN))
    power.enter(vm, "poweredOff")
    return point


def assert_frozen_again(proxy, point):
    for disk, original in zip(proxy.vm().disks.values(), frozen(proxy, point), strict=True):
        same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", original)


@pytest.mark.parametrize("transport", ["nbdssl", "nbd"])
def test_only_what_differs_is_written(proxy, off, transport):
    outcome = put_back(proxy, off, TRANSPORT_MODE=transport)
    assert (outcome.state, outcome.error) == (ResultState.SUCCESS, None)
    assert_frozen_again(proxy, off)
    assert outcome.disks[0].stored <= 4 * GRAIN, "three grains at most were touched, one on a boundary"
    assert outcome.disks[1].stored == 0
    assert_ledgers_closed()
    again = put_back(proxy, off)
    assert [disk.stored for disk in again.disks] == [0, 0]


def test_one_disk_alone(proxy, off):
    outcome = put_back(proxy, off, "scsi0:1")
    assert [disk.name for disk in outcome.disks] == ["scsi0:1"]
    assert outcome.disks[0].stored == 0


def test_no_incremental_builds_on_a_point_that_is_older(proxy):
    nights = Nights(proxy)
    nights.night()
    nights.busy_day()
    assert nights.night().method.kind == "incremental"
    power.enter(nights.vm, "poweredOff")
    first = find_point(str(nights.points[0].point), proxy.root)
    assert put_back(proxy, first, nights.points[0].disks[0].disk.name).state is ResultState.SUCCESS
    power.enter(nights.vm, "poweredOn")
    done = nights.night()
    assert done.method.kind == "full"
    assert "was restored in place after" in done.method.reason
    nights.busy_day()
    assert nights.night().method.kind == "incremental", "that full is newer than the restore"


class TestRefused:
    def test_a_running_vm(self, proxy):
        point = point_of(proxy)
        assert isinstance(put_back(proxy, point).error, VmUnsuitable)
        with pytest.raises(VmUnsuitable, match="not powered off"):
            plan_in_place(point, (), proxy.settings(), proxy.report, CancelToken())

    def test_a_vm_with_snapshots(self, proxy, off):
        proxy.vm().take_snapshot("by hand", "")
        assert "1 snapshot" in put_back(proxy, off).sentence

    def test_a_disk_that_grew(self, proxy, off):
        disk = next(iter(proxy.vm().disks.values()))
        disk.resize(disk.capacity + GRAIN)
        assert "bytes now" in put_back(proxy, off).sentence

    def test_a_point_of_another_vcenter(self, proxy, off):
        path = off.directory / "manifest.toml"
        told = path.read_text().replace(off.manifest.vcenter.instance_uuid, "0" * 36)
        path.write_text(told)
        assert isinstance(put_back(proxy, find_point(str(off.directory), proxy.root)).error, PolicyError)

    def test_without_the_privilege(self, proxy, off):
        rest = ALL_PRIVILEGES - {"VirtualMachine.Provisioning.DiskRandomAccess"}
        proxy.lab.vsphere.grant("restore@vsphere.local", proxy.lab.password, rest)
        assert isinstance(put_back(proxy, off, USERNAME="restore@vsphere.local").error, PrivilegeError)

    def test_a_damaged_point_writes_nothing(self, proxy, off):
        image = off.image(off.manifest.disk[0])
        data = bytearray(image.read_bytes())
        data[len(data) // 2] ^= 1
        image.write_bytes(data)
        before = proxy.vm().disks[off.manifest.disk[0].key].read(3 * MIB, MIB)
        outcome = put_back(proxy, off)
        assert outcome.state is ResultState.FAILURE
        assert outcome.error
        assert "nothing was restored" in outcome.error.hint
        assert proxy.vm().disks[off.manifest.disk[0].key].read(3 * MIB, MIB) == before
        assert not (off.directory.parent / restored.FILE_NAME).exists()


class TestFaults:
    def test_a_dropped_connection_is_replaced(self, proxy, off):
        proxy.lab.faults.add(Rule("nfc.write", "drop", "data", first=2, last=2))
        outcome = put_back(proxy, off)
        assert outcome.state is ResultState.SUCCESS
        assert_frozen_again(proxy, off)

    def test_a_host_that_refuses_leaves_word_and_the_next_run_ends_it(self, proxy, off):
        proxy.lab.faults.add(Rule("nfc.write", "drop", "data", last=0))
        outcome = put_back(proxy, off)
        assert isinstance(outcome.error, (TransportError, ConnectError))
        assert "half old, half restored" in outcome.leftovers[0]
        entries = [entry for _, each in ledgers(StateDirectory.default().jobs) for entry in each]
        assert [entry.kind for entry in entries if entry.open and entry.kind != "job"] == ["disk contents"]
        assert restored.since(off.directory.parent, off.manifest.disk[0].key) is not None
        proxy.lab.faults.clear()
        assert put_back(proxy, off).state is ResultState.SUCCESS
        assert_frozen_again(proxy, off)

    def test_cancelled_half_way(self, proxy, off):
        cancel = CancelToken()
        proxy.on_event.append(lambda event: cancel.cancel() if isinstance(event, DiskProgress) else None)
        outcome = put_back(proxy, off, cancel=cancel)
        assert isinstance(outcome.error, Cancelled)
        assert outcome.leftovers

    def test_what_does_not_come_back_is_an_error(self, proxy, off, monkeypatch):
        monkeypatch.setattr(in_place.NfcDisk, "write", lambda *args: None)
        outcome = put_back(proxy, off)
        assert isinstance(outcome.error, VerifyError)
        assert outcome.leftovers

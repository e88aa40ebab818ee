"""A point as a new VM in the lab: its disks equal the frozen source, it is harmless, and failures leave nothing."""

import pytest
from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import (
    Cancelled,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ImageError,
    LeaseError,
    PolicyError,
    PrivilegeError,
    TargetFull,
    TransportError,
    VcbError,
    VerifyError,
)  # fmt: skip
from engine.events import DiskProgress, DiskStarted, ResultState, StageStarted
from engine.flow import restore_to_vm
from engine.flow.restore_plan import VmWish
from engine.flow.restore_to_vm import plan_vm, restore_vm
from engine.lab import power
from engine.lab.authorization import ALL_PRIVILEGES
from engine.lab.faults import Rule
from engine.vsphere.placement import Wish
from tests.restore.checks import assert_ledgers_closed, frozen, point_of, same


def restored(proxy, point, wish=None, *, cancel=None, **values):
    return restore_vm(point, wish or VmWish(), proxy.settings(**values), proxy.report, cancel or proxy.cancel)


def vms(lab):
    return {vm.id: vm for vm in lab.vsphere.all_of(vim.VirtualMachine)}


def assert_equal_disks(lab, proxy, point, moref):
    vm = vms(lab)[moref]
    originals = frozen(proxy, point)
    assert len(vm.disks) == len(originals)
    for disk, original in zip(vm.disks.values(), originals, strict=True):
        same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", original)


def assert_nothing_made(lab, before):
    assert sorted(vms(lab)) == sorted(before)
    assert not any(lab.vsphere.leases.of(vm) for vm in vms(lab).values())
    stores = {vm.home.datastore.root for vm in before.values()}
    assert not [path for root in stores for path in root.iterdir() if "restored" in path.name]
    assert_ledgers_closed()


@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
def test_the_new_vm_equals_the_frozen_one(lab, proxy, export_format):
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    source = proxy.vm("web01")
    outcome = restored(proxy, point)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert_equal_disks(lab, proxy, point, outcome.moref)
    copy = vms(lab)[outcome.moref]
    assert copy.name.startswith("web01-restored-20")
    assert copy.power == "poweredOff"
    assert not copy.definition.change_tracking
    assert (copy.uuid, copy.instance_uuid) != (source.uuid, source.instance_uuid)
    assert [nic.connected for nic in copy.definition.nics] == [False]
    assert [nic.network_name for nic in copy.definition.nics] == ["VM Network"]
    assert copy.definition.nics[0].mac != source.definition.nics[0].mac
    assert (copy.definition.firmware, copy.definition.memory_mb) == (
        source.definition.firmware, source.definition.memory_mb,
    )  # fmt: skip
    nvram = copy.home.path / f"{copy.stem}.nvram"
    assert nvram.read_bytes() == (point.directory / "vm.nvram").read_bytes()
    assert [disk.stored > 0 for disk in outcome.disks] == [True, True]
    assert_ledgers_closed()


def test_the_identity_and_the_power_only_on_request(lab, proxy):
    point = point_of(proxy)
    source = proxy.vm("web01")
    wish = VmWish(name="web01-twin", keep_identity=True, connect=True, power_on=True)
    outcome = restored(proxy, point, wish)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    copy = vms(lab)[outcome.moref]
    assert copy.name == "web01-twin"
    assert (copy.uuid, copy.instance_uuid) == (source.uuid, source.instance_uuid)
    assert [nic.mac for nic in copy.definition.nics] == [nic.mac for nic in source.definition.nics]
    assert [nic.connected for nic in copy.definition.nics] == [True]
    assert copy.power == "poweredOn"


def test_a_vm_that_cannot_be_powered_on_is_kept_and_told(lab, proxy):
    point = point_of(proxy)
    lab.faults.add(Rule("PowerOnVM_Task", fault="InsufficientResourcesFault"))
    outcome = restored(proxy, point, VmWish(power_on=True))
    assert outcome.state is ResultState.EXCEPTIONS
    assert outcome.moref in vms(lab)


def test_the_plan_says_what_would_be_made(proxy):
    point = point_of(proxy)
    plan = plan_vm(point, VmWish(), proxy.settings(), proxy.report, CancelToken()).to_json()
    assert plan["name"].startswith("web01-restored-")
    assert plan["folder"] == "/Lab/vm"
    assert plan["datastore"] == "/Lab/datastore/labstore"
    assert plan["networks"] == {"VM Network": "/Lab/network/VM Network"}
    assert (plan["power"], plan["adapters"], plan["identity"]) == ("off", "disconnected", "new")
    assert [disk["name"] for disk in plan["disks"]] == ["scsi0:0", "scsi0:1"]


def test_a_name_that_is_taken_is_refused(lab, proxy):
    point, before = point_of(proxy), vms(lab)
    outcome = restored(proxy, point, VmWish(name="db01"))
    assert isinstance(outcome.error, PolicyError)
    assert_nothing_made(lab, before)


def test_disks_that_the_backup_skipped_are_told(lab, proxy):
    outcome = restored(proxy, point_of(proxy, "db01"))
    assert outcome.state is ResultState.EXCEPTIONS
    assert "Hard disk 2" in " ".join(outcome.exceptions)
    assert len(vms(lab)[outcome.moref].disks) == 1


class TestPlaces:
    """The demo's two datacenters: where a VM goes, and what is asked when that is not clear."""

    def test_back_to_where_it_was(self, demo_lab, demo_proxy):
        point = point_of(demo_proxy, "web02")
        plan = plan_vm(point, VmWish(), demo_proxy.settings(), demo_proxy.report, CancelToken()).to_json()
        folder = point.manifest.vm.path.rpartition("/")[0]
        assert plan["folder"] == folder
        assert plan["datastore"].endswith(point.manifest.disk[0].datastore)
        assert plan["host"].startswith("/Tokyo/host/Production/")

    def test_to_another_datacenter_the_choices_are_listed(self, demo_lab, demo_proxy):
        point = point_of(demo_proxy, "web02")
        elsewhere = Wish(host="esx03.lab")
        with pytest.raises(ConfigError) as raised:
            plan_vm(point, VmWish(placement=elsewhere), demo_proxy.settings(), demo_proxy.report, CancelToken())
        assert "--datastore" in raised.value.hint
        assert "/Europe/Berlin/datastore/berlin-vsan" in raised.value.hint
        wish = Wish(host="esx03.lab", datastore="berlin-vmfs01")
        outcome = restored(demo_proxy, point, VmWish(placement=wish))
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        copy = vms(demo_lab)[outcome.moref]
        assert copy.home.datastore.name == "berlin-vmfs01"
        assert [nic.network_name for nic in copy.definition.nics] == ["VM Network Berlin"]
        assert_equal_disks(demo_lab, demo_proxy, point, outcome.moref)

    def test_a_point_of_another_vcenter_asks(self, demo_lab, demo_proxy, monkeypatch):
        point = point_of(demo_proxy, "web02")
        manifest = point.directory / "manifest.toml"
        foreign = manifest.read_text().replace(point.manifest.vcenter.instance_uuid, "another")
        foreign = foreign.replace(point.manifest.disk[0].datastore, "far-away")
        manifest.chmod(0o600)
        manifest.write_text(foreign)
        from engine.points.restore_files import find_point  # noqa: PLC0415 - read again

        again = find_point(str(point.directory), demo_proxy.root)
        with pytest.raises(ConfigError) as raised:
            plan_vm(again, VmWish(), demo_proxy.settings(), demo_proxy.report, CancelToken())
        assert "/Tokyo/host/Production/Resources" in raised.value.hint
        assert "/Europe/Berlin/host/esx03.lab/Resources" in raised.value.hint

    @pytest.mark.parametrize(
        "wish",
        [
            Wish(datastore="x"),
            *(
                pytest.param(wish, marks=pytest.mark.exhaustive)
                for wish in (Wish(pool="x"), Wish(folder="x"), Wish(host="x"))
            ),
        ],
    )
    def test_what_is_not_there_is_answered_with_what_is(self, demo_lab, demo_proxy, wish):
        point = point_of(demo_proxy, "web02")
        with pytest.raises(ConfigError) as raised:
            plan_vm(point, VmWish(placement=wish), demo_proxy.settings(), demo_proxy.report, CancelToken())
        assert "x" in raised.value.sentence
        assert raised.value.hint


class TestFaults:
    @pytest.fixture
    def point(self, proxy):
        return point_of(proxy)

    def test_an_upload_that_drops_is_repeated_when_that_is_allowed(self, lab, proxy, point):
        lab.faults.add(Rule("http", "short", "data", object="*disk*", size=70_000))
        outcome = restored(proxy, point, MAX_RETRIES=1)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        assert_equal_disks(lab, proxy, point, outcome.moref)

    @pytest.mark.parametrize(
        ("rule", "kind"),
        [
            (Rule("http", "short", "data", object="*disk-1*", size=70_000, last=0), ConnectionLost),
            (Rule("http", "drop", "data", object="*disk*", last=0), ConnectionLost),
            (Rule("http", "fault", "data", object="*disk*", last=0), TransportError),
            (Rule("http", "corrupt", "data", object="*disk-0*", size=150_000, last=0), TransportError),
            (Rule("HttpNfcLeaseComplete", fault="Timedout"), LeaseError),
            (Rule("ImportVApp", fault="InsufficientResourcesFault"), VcbError),
            (Rule("CreateImportSpec", fault="ConcurrentAccess"), VcbError),
        ],
    )
    def test_what_fails_leaves_nothing(self, lab, proxy, point, rule, kind):
        before = vms(lab)
        lab.faults.add(rule)
        outcome = restored(proxy, point)
        assert outcome.state is ResultState.FAILURE
        assert isinstance(outcome.error, kind), repr(outcome.error)
        assert outcome.leftovers == []
        assert_nothing_made(lab, before)

    def test_a_lost_answer_leaves_nothing(self, lab, proxy, point):
        before = vms(lab)
        lab.faults.add(Rule("ImportVApp", "drop-after"))
        outcome = restored(proxy, point)
        assert isinstance(outcome.error, ConnectError)
        assert outcome.leftovers == []
        assert_nothing_made(lab, before)

    def test_a_lease_that_times_out(self, lab, proxy, point):
        before = vms(lab)
        lab.vsphere.leases.timeout = 1.0
        lab.faults.add(Rule("HttpNfcLeaseProgress", fault="Timedout", last=0))
        lab.faults.add(Rule("http", "slow", "data", object="*disk*", size=20_000, last=0))
        outcome = restored(proxy, point)
        assert isinstance(outcome.error, LeaseError), repr(outcome.error)
        assert_nothing_made(lab, before)

    def test_a_slow_upload_is_kept_alive(self, lab, proxy, point):
        """The lease would be over after a second; its own thread reports progress, though no byte moves."""
        lab.vsphere.leases.timeout = 1.0
        lab.faults.add(Rule("http", "delay", "data", object="*disk-0*", delay=2.5))
        outcome = restored(proxy, point)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence

    @pytest.mark.parametrize("moment", ["import lease", "restore", "verify"])
    def test_a_cancel_leaves_nothing(self, lab, proxy, point, moment):
        before, cancel = vms(lab), CancelToken()
        proxy.on_event.append(
            lambda event: cancel.cancel() if isinstance(event, StageStarted) and event.stage == moment else None
        )
        outcome = restored(proxy, point, cancel=cancel)
        assert isinstance(outcome.error, Cancelled)
        assert_nothing_made(lab, before)

    def test_a_cancel_in_the_middle_of_a_stalled_upload(self, lab, proxy, point):
        before, cancel = vms(lab), CancelToken()
        lab.faults.add(Rule("http", "slow", "data", object="*disk*", size=20_000, last=0))
        started = (DiskStarted, DiskProgress)
        proxy.on_event.append(lambda event: cancel.cancel() if isinstance(event, started) else None)
        assert restored(proxy, point, cancel=cancel).state is ResultState.CANCELLED
        assert_nothing_made(lab, before)

    def test_the_session_expiring_takes_the_lease_and_leaves_nothing(self, lab, proxy, point):
        before = vms(lab)

        def expire(event):
            if isinstance(event, DiskStarted):
                lab.vsphere.sessions.expire_all()

        proxy.on_event.append(expire)
        lab.faults.add(Rule("http", "slow", "data", object="*disk*", size=200_000, last=0))
        outcome = restored(proxy, point)
        assert outcome.state is ResultState.FAILURE
        assert_nothing_made(lab, before)

    def test_a_damaged_point_makes_nothing(self, lab, proxy, point):
        before = vms(lab)
        image = point.directory / point.manifest.disk[0].files[0]
        data = bytearray(image.read_bytes())
        data[len(data) // 2] ^= 1
        image.write_bytes(data)
        assert isinstance(restored(proxy, point).error, VerifyError)
        assert_nothing_made(lab, before)

    @pytest.mark.parametrize("privilege", ["VApp.Import", "Datastore.AllocateSpace", "Network.Assign"])
    def test_a_missing_privilege_is_named_beforehand(self, lab, proxy, point, privilege):
        before = vms(lab)
        lab.vsphere.grant("restore@vsphere.local", lab.password, ALL_PRIVILEGES - {privilege})
        outcome = restored(proxy, point, USERNAME="restore@vsphere.local")
        assert isinstance(outcome.error, PrivilegeError)
        assert privilege in outcome.error.sentence
        assert_nothing_made(lab, before)

    def test_a_full_datastore_is_told_beforehand(self, lab, proxy, point):
        before = vms(lab)
        store = proxy.vm("web01").home.datastore
        store.props["summary"] = summary_with(store, freeSpace=1000)
        outcome = restored(proxy, point)
        assert isinstance(outcome.error, TargetFull)
        assert_nothing_made(lab, before)


def summary_with(store, **changes):
    summary = store.value("summary")
    for name, value in changes.items():
        setattr(summary, name, value)
    return summary


def test_the_vm_that_is_gone_comes_back_under_its_name(lab, proxy):
    """The disaster that all of this is for."""
    point = point_of(proxy)
    source = proxy.vm("web01")
    power.enter(source, "poweredOff")
    power.delete(source)
    outcome = restored(proxy, point, VmWish(name="web01", keep_identity=True, connect=True, power_on=True))
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert proxy.vm("web01").id == outcome.moref


def test_a_point_that_cannot_be_read_any_more_is_no_trouble_of_the_network(lab, proxy, monkeypatch):
    point, before = point_of(proxy), vms(lab)

    def broken(path):
        raise ImageError(f"{path} cannot be read.")
        yield b""

    monkeypatch.setattr(restore_to_vm, "blocks", broken)
    outcome = restored(proxy, point, MAX_RETRIES=3)
    assert isinstance(outcome.error, ImageError)
    assert_nothing_made(lab, before)

"""Backups over san: the lab's VMFS datastores lie on LUN images, which the engine reads while the guests write."""

import pytest
from pyVmomi import vim

from engine.errors import ConfigError, TransportError
from engine.events import DiskStarted, Fallback
from engine.flow.san_trust import SanTrusts
from engine.flow.san_unsuitable import refuse
from engine.lab import Lab
from engine.state_directory import StateDirectory
from engine.transport.san.source import SanSource
from engine.vsphere.datastores import Datastore
from tests.flow.checks import assert_nothing_left, compare_with_frozen
from tests.flow.conftest import Proxy, _proxy


@pytest.fixture
def san(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.transport.san.source.SETTLE", 0.0)
    with Lab.start(tmp_path / "lab", seed="small", record=True, luns=True) as lab:
        yield _proxy(lab, tmp_path, monkeypatch)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.transport.san.source.SETTLE", 0.0)
    with Lab.start(tmp_path / "lab", seed="demo", record=True, luns=True) as lab:
        yield _proxy(lab, tmp_path, monkeypatch)


def over_san(proxy: Proxy, spec: str = "web01", **values):
    devices = str(proxy.lab.vsphere.san_devices)
    return proxy.backup(spec, TRANSPORT_MODE="san", **{"SAN_DEVICES": devices, **values})


def refusal(proxy: Proxy, spec: str) -> TransportError:
    """What a plan says, which the run says too, before it touches anything."""
    devices = str(proxy.lab.vsphere.san_devices)
    obstacle = proxy.plan(spec, TRANSPORT_MODE="san", SAN_DEVICES=devices).obstacle
    outcome = over_san(proxy, spec)
    assert isinstance(obstacle, TransportError)
    assert str(outcome.error) == str(obstacle)
    assert outcome.snapshot == ""
    assert "nbdssl" in obstacle.hint
    return obstacle


def trusts() -> SanTrusts:
    return SanTrusts(StateDirectory.default())


def test_a_running_vm_over_san_is_what_the_snapshot_froze(san):
    outcome = over_san(san)
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"san"}
    compare_with_frozen(san.lab, outcome)
    assert_nothing_left(san)
    assert "compared with nbdssl on this datastore's first use: all equal" in san.log
    assert [trust.name for trust in trusts().all()] == ["labstore"]
    again = over_san(san)
    compare_with_frozen(san.lab, again)
    assert "compared with nbdssl in this run: all equal" in san.log


def test_incremental_points_over_san(san):
    first = over_san(san, "db01")
    san.vm("db01").write(2000, 9 << 20, b"written between two nights" * 4096)
    second = over_san(san, "db01")
    assert [done.method.kind for done in second.disks] == ["incremental"]
    compare_with_frozen(san.lab, first)
    compare_with_frozen(san.lab, second)


@pytest.mark.parametrize("spec", ["proxy01", "app02"])
def test_a_datastore_with_vmfs5_and_one_of_two_luns(demo, spec):
    outcome = over_san(demo, f"name:{spec}")
    assert outcome.error is None
    compare_with_frozen(demo.lab, outcome)


def test_what_has_no_lun_is_refused_before_the_snapshot(demo):
    assert "its NFS export is not mounted on this proxy" in str(refusal(demo, "archive01"))
    assert "vSAN" in str(refusal(demo, "mail01"))
    assert "raw device mapping" in str(refusal(demo, "file01"))
    assert "snapshot of its own" in str(refusal(demo, "web02"))


@pytest.mark.parametrize(
    ("kind", "reason"), [("VVOL", "vVol"), ("NFS41", "which NFS export"), ("PMEM", "of kind PMEM")]
)
def test_other_datastores_are_refused(demo, kind, reason):
    plan = demo.plan("name:appliance01")
    disk = plan.disks[0].disk
    with pytest.raises(TransportError, match=reason):
        refuse(plan.vm, disk, Datastore(disk.datastore, kind))
    with pytest.raises(TransportError, match="does not list"):
        refuse(plan.vm, disk, None)


def test_a_lun_that_is_not_presented(san, tmp_path):
    (tmp_path / "none").mkdir()
    outcome = over_san(san, SAN_DEVICES=str(tmp_path / "none"))
    assert "is not presented to this proxy" in str(outcome.error)
    assert_nothing_left(san)

    outcome = over_san(san, SAN_DEVICES=str(tmp_path / "none"), TRANSPORT_FALLBACK="nbdssl")
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"nbdssl"}
    assert [(e.asked, e.used) for e in san.events if isinstance(e, Fallback)] == [("san", "nbdssl")]
    compare_with_frozen(san.lab, outcome)


def test_a_replica_in_the_luns_place(san):
    store = san.lab.vsphere.all_of(vim.Datastore)[0]
    store.volume_id = "5f1e7b2a-0c3d4e5f-6a7b-8c9d0e1f2a3b"
    outcome = over_san(san)
    assert "vCenter says 5f1e7b2a-0c3d4e5f-6a7b-8c9d0e1f2a3b" in str(outcome.error)
    assert_nothing_left(san)


def test_a_mismatch_disables_the_datastore_until_the_operator_says_otherwise(san, monkeypatch):
    honest = SanSource.read_into

    def wrong(self, offset, buffer):
        honest(self, offset, buffer)
        buffer[len(buffer) // 2] ^= 1

    monkeypatch.setattr(SanSource, "read_into", wrong)
    outcome = over_san(san)
    assert "between the LUN and nbdssl" in str(outcome.error)
    assert not outcome.point
    assert_nothing_left(san)

    monkeypatch.setattr(SanSource, "read_into", honest)
    outcome = over_san(san)
    assert "san is disabled for labstore" in str(outcome.error)
    assert outcome.error is not None
    assert "vcb san --trust 'labstore'" in outcome.error.hint

    with pytest.raises(ConfigError, match="No datastore other"):
        trusts().trust_again("other")
    trusts().trust_again("labstore")
    outcome = over_san(san)
    assert outcome.error is None
    compare_with_frozen(san.lab, outcome)


def test_a_map_that_changes_while_the_disk_is_read(san):
    """As Storage vMotion, a consolidation or ESXi's own housekeeping would do to a file that should be frozen."""
    done = []

    def move(event) -> None:
        if isinstance(event, DiskStarted) and not done:
            done.append(event)
            disk = next(iter(san.vm("web01").store.values()))
            hole = disk.capacity - (2 << 20)
            disk.layers[0].storage.write(b"not frozen", hole)

    san.on_event.append(move)
    outcome = over_san(san)
    assert done
    assert "moved or changed on its datastore" in str(outcome.error)
    assert not outcome.point
    assert_nothing_left(san)

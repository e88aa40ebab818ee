"""What a mode can't carry is refused before the snapshot: with the reason, and with a mode that then really would."""

from dataclasses import replace

import pytest

from engine.errors import TransportError
from engine.events import Fallback
from engine.flow import hotadd_unsuitable, san_unsuitable
from engine.flow.job import open_session
from engine.flow.mode_checks import hindrance
from engine.lab import Lab
from engine.state_directory import StateDirectory
from engine.transport.modes import MODES
from engine.vsphere import datastores
from engine.vsphere.datastores import Datastore
from engine.vsphere.hotadd import read_proxy
from engine.vsphere.inventory import read_vm
from engine.vsphere.lookup import parse_spec, resolve
from tests.flow.checks import assert_nothing_left, compare_with_frozen
from tests.flow.conftest import Proxy, _proxy
from tests.flow.test_hotadd import settings


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """With LUNs and a proxy VM. A module's: what the tests change, they change back."""
    path = tmp_path_factory.mktemp("refusals")
    with pytest.MonkeyPatch.context() as patch, Lab.start(path / "lab", seed="demo", record=True, luns=True) as lab:
        patch.setattr("engine.transport.san.source.SETTLE", 0.0)
        lab.run_guest(False)
        yield _proxy(lab, path, patch)


def change(proxy: Proxy, name: str, **definition) -> None:
    vm = proxy.vm(name)
    for key, value in definition.items():
        setattr(vm.definition, key, value)
    vm.updated("config")


@pytest.fixture
def encrypted(demo):
    """appliance01 is."""
    change(demo, "appliance01", encrypted=True)
    yield demo
    change(demo, "appliance01", encrypted=False)


def refusal(proxy: Proxy, mode: str, spec: str) -> TransportError:
    """The plan's, which the run tells too, its snapshot not taken; and the doctor's verdict has the same words."""
    values = settings(proxy, mode)
    obstacle = proxy.plan(f"name:{spec}", **values).obstacle
    assert isinstance(obstacle, TransportError)
    outcome = proxy.backup(f"name:{spec}", **values)
    assert str(outcome.error) == str(obstacle)
    assert outcome.snapshot == ""
    verdicts = doctor(proxy, spec)
    assert verdicts[mode] == obstacle.sentence.removesuffix(".")
    named = [name for name in MODES if name in obstacle.hint.replace(",", " ").replace(".", " ").split()]
    works = [name for name in named if not verdicts[name]]
    assert works, (obstacle.hint, verdicts)
    return obstacle


def doctor(proxy: Proxy, spec: str) -> dict[str, str]:
    """By mode: why it would not work, "" where it would."""
    chosen = proxy.settings(**settings(proxy, "nbdssl"))
    session = open_session(chosen, proxy.report, None)
    try:
        vm = read_vm(session, resolve(session, parse_spec(f"name:{spec}", "name")))
        return {mode: hindrance(session, chosen, StateDirectory.default(), vm, mode) for mode in MODES}
    finally:
        session.close()


@pytest.mark.parametrize(
    ("mode", "spec", "reason"),
    [
        ("san", "archive01", "mount -t nfs -o ro,nosuid,nodev,noexec nfs.lab:/export/tokyo-nfs01 /mnt/tokyo-nfs01"),
        ("san", "mail01", "vSAN keeps disks as objects"),
        ("san", "file01", "a raw device mapping's bytes are not on its datastore"),
        ("san", "web02", "a delta above another disk (the VM has a snapshot of its own)"),
        ("hotadd", "file01", "a raw device mapping is no file that could be attached"),
        ("hotadd", "mail01", "it is in the datacenter Europe/Berlin, the proxy proxy01 in Tokyo"),
        ("hotadd", "proxy01", "it is the proxy itself"),
    ],
)
def test_what_is_as_it_is(demo, mode, spec, reason):
    assert reason in str(refusal(demo, mode, spec))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("VVOL", "a vVol is no VMFS LUN"), ("PMEM", "of kind PMEM"), ("NFS41", "does not tell which NFS export")],
)
def test_other_kinds_of_datastores(demo, monkeypatch, kind, reason):
    told = datastores._datastore
    monkeypatch.setattr(datastores, "_datastore", lambda row: Datastore(told(row).name, kind))
    assert reason in str(refusal(demo, "san", "appliance01"))


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("san", "the LUN holds only ciphertext"),
        ("hotadd", "it is encrypted, and the proxy proxy01 is not"),
        ("nbd", "it would cross the network in the clear"),
        ("https", "vSphere exports no encrypted VM"),
    ],
)
def test_an_encrypted_vm(encrypted, mode, reason):
    found = refusal(encrypted, mode, "appliance01")
    assert reason in str(found)
    assert "nbdssl" in found.hint


def test_an_encrypted_vm_falls_back_to_what_carries_it(encrypted):
    outcome = encrypted.backup("name:appliance01", TRANSPORT_MODE="https", TRANSPORT_FALLBACK="nbd, nbdssl")
    assert outcome.error is None
    assert {done.transport for done in outcome.disks} == {"nbdssl"}
    assert [(e.asked, e.used) for e in encrypted.events if isinstance(e, Fallback)][-2:] == [
        ("https", "nbd"),
        ("nbd", "nbdssl"),
    ]
    compare_with_frozen(encrypted.lab, outcome)
    assert_nothing_left(encrypted)


def test_a_proxy_that_is_encrypted_too_may_be_given_the_disks(encrypted):
    change(encrypted, "proxy01", encrypted=True)
    try:
        assert doctor(encrypted, "appliance01")["hotadd"] == ""
    finally:
        change(encrypted, "proxy01", encrypted=False)


def test_a_physical_device_mapping_is_left_out_with_its_reason(demo):
    plan = demo.plan("name:sap01", **settings(demo, "san"))
    (skipped,) = plan.skipped
    assert skipped.skip is not None
    assert (skipped.skip.code, plan.obstacle) == ("physical-rdm", None)
    assert "no snapshot freezes it" in skipped.skip.text


@pytest.mark.parametrize(
    ("change_of", "reason"),
    [
        ({"backing": "sesparse"}, "its file is a delta (SEsparse), not a flat disk"),
        ({"backing": "sparse"}, "its file is a sparse delta, not a flat disk"),
        ({"backing": "rdm-physical"}, "a raw device mapping's bytes"),
        ({"delta": True}, "the VM has a snapshot of its own"),
    ],
)
def test_tops_that_are_no_flat_files(demo, change_of, reason):
    plan = demo.plan("name:appliance01")
    disk = replace(plan.disks[0].disk, **change_of)
    with pytest.raises(TransportError) as caught:
        san_unsuitable.refuse(plan.vm, disk, Datastore(disk.datastore, "VMFS"))
    assert reason in str(caught.value)
    assert "nbdssl" in caught.value.hint


def test_a_lun_whose_file_became_an_sesparse_delta(demo):
    """vCenter calls it flat, the LUN knows better: refused when it is opened, and the snapshot goes again."""
    disk = next(iter(demo.vm("appliance01").disks.values()))
    store = demo.vm("appliance01").home.datastore.luns
    path = disk.file().partition("] ")[2]
    sectors, flat = disk.capacity // 512, path.rpartition("/")[2].replace(".vmdk", "-flat.vmdk")
    store.describe(path, f'createType="seSparse"\nRW {sectors} SESPARSE "x-sesparse.vmdk"\n', anew=True)
    try:
        outcome = demo.backup("name:appliance01", **settings(demo, "san"))
    finally:
        store.describe(path, f'createType="vmfs"\nRW {sectors} VMFS "{flat}"\n', anew=True)
    assert outcome.error is not None
    assert "it is a delta of another disk" in str(outcome.error)
    assert "nbdssl" in outcome.error.hint
    assert_nothing_left(demo)


@pytest.mark.parametrize("name", ["nvme0:0", "sata0:1", "ide0:0"])
def test_disks_of_other_controllers_are_not_attached(demo, name):
    plan = demo.plan("name:appliance01")
    session = open_session(demo.settings(), demo.report, None)
    try:
        proxy = read_proxy(session, demo.vm("proxy01").id)
    finally:
        session.close()
    with pytest.raises(TransportError, match="only disks of SCSI controllers") as caught:
        hotadd_unsuitable.check_disk(proxy, replace(plan.disks[0].disk, name=name), next(iter(proxy.datastores)))
    assert "nbdssl" in caught.value.hint

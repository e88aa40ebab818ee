"""Incremental points on the lab: each night's chain is that night's disk; every doubt makes a full and says why."""

import shutil
import subprocess

import msgspec
import pytest
from pyVmomi import vim

from engine.errors import PolicyError
from engine.events import ResultState
from engine.image.sparse_header import GRAIN
from engine.lab.faults import Rule
from engine.points import manifest, proof as proofs
from engine.points.proof import Depth
from tests.flow.checks import assert_nothing_left
from tests.flow.nights import MIB, Nights
from tests.lab.model import CTX, run
from tests.tools import require_tool


@pytest.fixture
def nights(proxy):
    return Nights(proxy)


def row(outcome):
    return outcome.to_json()["disks"][0]


@pytest.mark.parametrize("transport", ["nbdssl", pytest.param("nbd", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    "export_format", ["compact", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in ("sparse", "flat"))]
)
def test_every_point_of_a_week_is_its_nights_disk(nights, transport, export_format):
    kinds = []
    for _ in range(5):
        kinds.append(nights.night(TRANSPORT_MODE=transport, EXPORT_FORMAT=export_format).method.kind)
        nights.busy_day()
    assert kinds == ["full"] + ["incremental"] * 4
    assert nights.clean()
    nights.compare_all()
    assert [row(point)["method"]["chain"] for point in nights.points] == [1, 2, 3, 4, 5]


def test_the_guest_writes_while_the_backups_run(nights):
    nights.proxy.lab.run_guest(True)
    for _ in range(4):
        nights.night()
    assert [point.disks[0].method.kind for point in nights.points] == ["full"] + ["incremental"] * 3
    nights.compare_all()


def test_only_what_changed_is_read(nights):
    nights.night()
    nights.write(0, 10 * MIB, 20 * MIB + 512, size=4096)
    done = nights.night(CBT_AUDIT="0%")
    assert done.read == 3 * GRAIN
    assert done.stored < 4 * GRAIN + 128 * 1024
    quiet = nights.night(CBT_AUDIT="0%")
    assert (quiet.method.kind, quiet.read) == ("incremental", 0)


def test_what_the_guest_trimmed_is_zeros_and_is_not_read(nights):
    nights.write(0, size=4 * MIB)
    nights.night()
    nights.write(0, size=4 * MIB, zeros=True)
    assert nights.night().method.kind == "incremental"


def test_the_manifest_tells_the_chain(nights):
    nights.night()
    nights.write(0)
    nights.night()
    first, second = (manifest.read(point.point) for point in nights.points)
    full, child = first.disk[0], second.disk[0]
    assert (full.kind, full.parent, full.chain) == ("full", "", 1)
    assert full.reason == "It is the first restore point of this disk."
    assert (child.kind, child.parent, child.parent_cid) == ("incremental", nights.points[0].point.name, full.cid)
    assert (child.chain, child.format, child.grains) == (2, "compact", "scsi0-0.grains")
    assert child.change_id != full.change_id
    assert "changed since" in child.reason
    assert {"scsi0-0.vmdk", "scsi0-0.grains", "vm.ovf"} <= {file.name for file in second.file}
    assert child.audited == GRAIN


def rewrite(point, disk=None, **changes):
    """Changes what the manifest of a point says of itself, or of its first disk."""
    known = manifest.read(point)
    if disk:
        changes["disk"] = [msgspec.structs.replace(known.disk[0], **disk), *known.disk[1:]]
    (point / manifest.FILE_NAME).unlink()
    msgspec.structs.replace(known, **changes).write(point)


def other_vcenter(nights, point):
    rewrite(point, vcenter=msgspec.structs.replace(manifest.read(point).vcenter, instance_uuid="another"))


def other_vm(nights, point):
    rewrite(point, vm=msgspec.structs.replace(manifest.read(point).vm, instance_uuid="another"))


def other_image(nights, point):
    image = point / "scsi0-0.vmdk"
    cid = manifest.read(point).disk[0].cid.encode()
    image.write_bytes(image.read_bytes().replace(b"CID=" + cid, b"CID=0badcafe", 1))


def damaged_list(nights, point):
    with (point / "scsi0-0.grains").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\xff")


def grown(nights, point):
    spec = vim.vm.device.VirtualDeviceSpec(operation="edit", device=device(nights.vm, nights.key))
    spec.device.capacityInBytes = 96 * MIB
    spec.device.capacityInKB = 96 * 1024
    run(nights.proxy.lab.vsphere, nights.vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(deviceChange=[spec])))


def device(vm, key):
    return next(each for each in vm.value("config").hardware.device if each.key == key)


def refuses(nights, point):
    file = vim.fault.FileFault(file="db01.vmdk").file
    nights.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", fault="FileFault", properties={"file": file}))


DOUBTS = {
    "changeId missing": (lambda n, p: rewrite(p, disk={"change_id": ""}), "no changeId"),
    "tracking reset": (lambda n, p: n.vm.disks[n.key].reset_tracking(), "reset since"),
    "FileFault": (refuses, "FileFault"),
    "capacity changed": (grown, "capacity changed from 67,108,864 to 100,663,296"),
    "another disk": (lambda n, p: rewrite(p, disk={"backing_uuid": "6000C29"}), "another disk"),
    "moved": (lambda n, p: rewrite(p, disk={"file": "[other] db01/db01.vmdk"}), "moved from [other] db01"),
    "another vCenter": (other_vcenter, "another vCenter"),
    "another VM": (other_vm, "another VM"),
    "image missing": (lambda n, p: (p / "scsi0-0.vmdk").unlink(), "missing"),
    "list missing": (lambda n, p: rewrite(p, disk={"grains": ""}), "no list of grain hashes"),
    "list damaged": (damaged_list, "not what was written"),
    "found damaged": (lambda n, p: proofs.record(p, Depth.FILES, ["vm.ovf is wrong."]), "found damaged: vm.ovf is"),
    "another image": (other_image, "its CID is 0badcafe"),
    "manifest unreadable": (lambda n, p: (p / manifest.FILE_NAME).write_text("format = ["), "can't be read"),
    "point gone": (lambda n, p: shutil.rmtree(p), "first restore point"),
    "page shifted": (lambda n, p: n.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", "corrupt", "data", size=512)),
                     "CoverageGap"),
    "page covers nothing": (lambda n, p: n.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", "short", "data")),
                            "CoverageGap"),
    "page with areas beyond its end": (
        lambda n, p: n.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", "short", "data", size=512)), "CoverageGap"),
}  # fmt: skip


QUICK = ("page shifted", "tracking reset", next(iter(DOUBTS)))


@pytest.mark.parametrize(
    "doubt", [doubt if doubt in QUICK else pytest.param(doubt, marks=pytest.mark.exhaustive) for doubt in DOUBTS]
)
def test_a_doubt_makes_a_full_that_says_why(nights, doubt):
    meddle, says = DOUBTS[doubt]
    nights.night()
    nights.write(0, 20 * MIB)
    point = nights.points[0].point
    meddle(nights, point)
    done = nights.night()
    assert done.method.kind == "full"
    assert says in done.method.reason
    made = manifest.read(nights.points[-1].point).disk[0]
    assert (made.kind, made.reason, made.parent, made.chain) == ("full", done.method.reason, "", 1)
    assert row(nights.points[-1])["method"]["reason"] == done.method.reason
    assert done.method.reason in nights.proxy.log
    nights.write(0)
    after = nights.night().method
    assert (after.kind, after.chain) == ("incremental", 2), "the next one builds on the full"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BACKUP_TYPE": "full"}, "BACKUP_TYPE is full"),
        ({"CHANGE_TRACKING": "off"}, "CHANGE_TRACKING is off"),
        ({"TRANSPORT_MODE": "https"}, "https carries whole disks"),
        ({"FULL_EVERY": 1}, "FULL_EVERY is 1"),
    ],
)
def test_what_the_operator_asks_for_makes_a_full(nights, settings, says):
    nights.night()
    assert says in nights.night(**settings).method.reason
    assert nights.night().method.kind == "incremental", "also after a full over https"


def test_a_fallback_to_https_carries_whole_disks(nights):
    nights.night()
    nights.proxy.lab.faults.add(Rule("nfc.open", "drop", "data", last=0))
    done = nights.night(TRANSPORT_FALLBACK="https")
    assert (done.method.kind, done.transport) == ("full", "https")
    assert done.method.reason == "https carries whole disks."


def test_a_chain_ends_where_full_every_says(nights):
    kinds = [nights.night(FULL_EVERY=3, check=False).method.kind for _ in range(7)]
    assert kinds == ["full", "incremental", "incremental"] * 2 + ["full"]


def test_a_mount_holds_whole_disks(nights):
    nights.night()
    outcome = nights.proxy.mount("db01", EXCLUDE_DISKS="scsi0:1")
    assert outcome.error is None
    assert outcome.disks[0].method.reason == "A mount point always holds whole disks."
    nights.proxy.unmount(outcome.point)
    assert nights.night().method.parent_point == nights.points[0].point.name


def test_backup_type_incremental_fails_rather_than_read_whole_disks(nights):
    outcome = nights.proxy.backup("db01", EXCLUDE_DISKS="scsi0:1", BACKUP_TYPE="incremental")
    assert isinstance(outcome.error, PolicyError)
    assert "needs a full: It is the first" in outcome.sentence
    nights.night()
    assert nights.night(BACKUP_TYPE="incremental").method.kind == "incremental"
    refuses(nights, None)
    outcome = nights.proxy.backup("db01", EXCLUDE_DISKS="scsi0:1", BACKUP_TYPE="incremental")
    assert isinstance(outcome.error, PolicyError)
    assert "FileFault" in outcome.sentence
    assert_nothing_left(nights.proxy, "db01")


def test_plan_tells_the_method_before(nights):
    assert nights.proxy.plan("db01").to_json()["disks"][0]["method"]["kind"] == "full"
    nights.night()
    told = nights.proxy.plan("db01").to_json()["disks"][0]["method"]
    assert told == {
        "kind": "incremental",
        "reason": f"What changed since {nights.points[0].point.name}.",
        "parent": nights.points[0].point.name,
        "chain": 2,
    }


def test_a_failed_run_advances_nothing(nights):
    nights.night()
    nights.write(MIB)
    nights.proxy.lab.faults.add(Rule("nfc.read", "drop", "data", last=0))
    failed = nights.proxy.backup("db01", EXCLUDE_DISKS="scsi0:1")
    assert failed.error is not None
    nights.proxy.lab.faults.clear()
    nights.write(20 * MIB)
    done = nights.night()
    assert done.method.parent_point == nights.points[0].point.name
    assert done.read >= 2 * GRAIN, "what the failed run was to bring is brought now"


def test_one_disk_full_the_other_incremental(nights):
    vm = nights.vm
    second = vm.add_disk(32 * MIB)
    vm.stun()
    vm.write(second, 0, b"data" * 100_000)
    nights.night()
    vm.disks[second].reset_tracking()
    nights.write(0)
    vm.write(second, MIB, b"more")
    nights.night()
    kinds = {done.disk.key: done.method.kind for done in nights.points[-1].disks}
    assert kinds == {nights.key: "incremental", second: "full"}
    assert manifest.read(nights.points[-1].point).disk[1].reason.startswith("Its change tracking was reset")


def lying(nights, **settings):
    """A night in which CBT leaves out all that was written from 8 MiB on."""
    nights.night()
    nights.write(0, *range(8 * MIB, 24 * MIB, GRAIN))
    nights.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", "omit", "data", size=8 * MIB))
    return nights.night(**settings)


def test_a_lying_cbt_is_caught_and_the_disk_read_whole(nights):
    done = lying(nights, CBT_AUDIT="50%")
    outcome = nights.points[-1]
    assert outcome.state is ResultState.EXCEPTIONS
    assert "CBT of scsi0:0 is wrong" in outcome.sentence
    assert outcome.to_json()["cbt_to_reset"] == ["scsi0:0"]
    assert "CBT of scsi0:0 is wrong" in nights.proxy.log
    assert done.method.kind == "full"
    assert manifest.read(outcome.point).disk[0].distrusted


@pytest.mark.exhaustive
def test_a_tracking_that_lied_is_not_trusted_until_it_is_reset(nights):
    lying(nights, CBT_AUDIT="100%")
    assert "caught lying" in nights.night().method.reason
    assert "BACKUP_TYPE" in nights.night(BACKUP_TYPE="full").method.reason
    assert "caught lying" in nights.night().method.reason, "other fulls between do not make it honest"
    nights.vm.disks[nights.key].reset_tracking()
    assert "reset since" in nights.night().method.reason
    nights.write(0)
    assert nights.night().method.kind == "incremental"
    assert not manifest.read(nights.points[-1].point).disk[0].distrusted


def test_backup_type_incremental_fails_when_cbt_lies(nights):
    nights.night()
    nights.write(*range(8 * MIB, 24 * MIB, GRAIN))
    nights.proxy.lab.faults.add(Rule("QueryChangedDiskAreas", "omit", "data"))
    outcome = nights.proxy.backup("db01", EXCLUDE_DISKS="scsi0:1", BACKUP_TYPE="incremental", CBT_AUDIT="100%")
    assert isinstance(outcome.error, PolicyError)
    assert "CBT of scsi0:0 is wrong" in outcome.sentence
    assert_nothing_left(nights.proxy, "db01")


def test_tracking_is_enabled_when_asked_for(proxy):
    nights = Nights(proxy, "web01")
    assert nights.night().method.reason.startswith("The VM has no changed block tracking")
    assert nights.night(CHANGE_TRACKING="enable").method.kind == "full"
    assert nights.vm.definition.change_tracking
    nights.write(0)
    assert nights.night().method.kind == "incremental"
    assert nights.clean()


def test_tracking_is_not_enabled_beside_a_snapshot(proxy):
    nights = Nights(proxy, "web01")
    nights.vm.take_snapshot("before the upgrade", "by hand")
    plan = proxy.plan("web01", CHANGE_TRACKING="enable")
    assert not plan.enable_tracking
    assert any("it has snapshots (before the upgrade)" in warning for warning in plan.warnings)
    nights.night(CHANGE_TRACKING="enable")
    assert not nights.vm.definition.change_tracking


def test_tracking_that_cannot_be_enabled_costs_no_point(proxy):
    nights = Nights(proxy, "web01")
    proxy.lab.faults.add(Rule("ReconfigVM_Task", fault="vmodl.fault.NotSupported"))
    nights.night(CHANGE_TRACKING="enable")
    assert "could not be switched on" in nights.points[-1].sentence


def test_the_ovf_of_a_child_does_not_import_as_a_whole_disk(nights):
    qemu_img = require_tool("qemu-img")
    nights.night()
    nights.write(0)
    point = nights.points[0].point
    assert "scsi0-0.vmdk" in (point / "vm.ovf").read_text()
    nights.night()
    point = nights.points[1].point
    ovf = (point / "vm.ovf").read_text()
    assert "scsi0-0-whole.vmdk" in ovf
    assert "scsi0-0.vmdk" not in ovf
    whole = point / "scsi0-0-whole.vmdk"
    convert = [qemu_img, "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", point / "scsi0-0.vmdk", whole]
    subprocess.run(convert, check=True)
    frozen = nights.proxy.lab.frozen_image(nights.points[1].snapshot, nights.key)
    subprocess.run([qemu_img, "compare", "-f", "vmdk", "-F", "raw", whole, frozen], check=True, capture_output=True)

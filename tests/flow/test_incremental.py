"""Incremental points on the lab: each night's chain is that night's disk; every doubt makes a full and says why."""

import pytest

from engine.image.sparse_header import GRAIN
from engine.points import manifest
from tests.flow.nights import MIB, Nights


@pytest.fixture
def nights(proxy):
    return Nights(proxy)


def row(outcome):
    return outcome.to_json()["disks"][0]


@pytest.mark.parametrize("transport", ["nbdssl", "nbd"])
@pytest.mark.parametrize("export_format", ["compact", "flat"])
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

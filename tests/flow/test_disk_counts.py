"""Points of VMs that have no disk, one, and 64, which is what one PVSCSI controller and another hold."""

import pytest

from engine.events import ResultState
from engine.flow.point_check import PointChecks
from engine.flow.restore_to_files import restore_files
from engine.points.proof import Depth
from engine.points.restore_files import find_point
from tests.flow.checks import assert_nothing_left, compare_with_frozen
from tests.restore.checks import frozen, same

SECTOR = 512
MIB = 1 << 20


def give(vm, count: int) -> None:
    """So many small disks of odd sizes, the first empty, the others with something of their own at both ends."""
    vm.definition.disks.clear()
    vm.touch("config", "layoutEx", "summary", "storage", "datastore")
    for number in range(count):
        capacity = MIB * (number % 5 + 1) + number * SECTOR + (32 * MIB if number % 7 == 3 else 0)
        key = vm.add_disk(capacity)
        if number:
            vm.write(key, 0, bytes([number]) * SECTOR)
            vm.write(key, capacity - SECTOR, bytes([255 - number]) * SECTOR)


@pytest.mark.parametrize(
    ("count", "export_format"),
    [
        (0, "compact"),
        (1, "sparse"),
        pytest.param(64, "sparse", marks=pytest.mark.exhaustive),
        pytest.param(64, "flat", marks=pytest.mark.exhaustive),
    ],
)
def test_a_point_of_so_many_disks(proxy, tmp_path, count, export_format):
    give(proxy.vm("off01"), count)
    outcome = proxy.backup("off01", EXPORT_FORMAT=export_format)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert_nothing_left(proxy, "off01")
    assert len({done.disk.name for done in outcome.disks}) == count
    if count:
        compare_with_frozen(proxy.lab, outcome)
    assert outcome.point is not None
    checked = PointChecks(Depth.CHAIN, proxy.cancel, proxy.report).check(outcome.point)
    assert (checked.findings, checked.notes, checked.recorded) == ([], [], True)
    assert {"vm.vmx", "vm.ovf"} <= {path.name for path in outcome.point.iterdir()}
    point = find_point(str(outcome.point), proxy.root)
    restored = restore_files(point, tmp_path / "out", "raw", proxy.report, proxy.cancel)
    assert (restored.state is ResultState.SUCCESS) == (count > 0), restored.sentence
    files = [tmp_path / "out" / f"{disk.name.replace(':', '-')}.raw" for disk in point.manifest.disk]
    for file, original in zip(files, frozen(proxy, point), strict=True):
        same(file, "raw", original)

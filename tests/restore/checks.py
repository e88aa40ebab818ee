"""What the tests of restores want to know: a foreign comparison, and that nothing is left."""

import subprocess
from pathlib import Path

from engine.flow.ledger import ledgers
from engine.points.restore_files import Point, find_point
from engine.state_directory import StateDirectory
from tests.tools import require_tool


def point_of(proxy, spec="web01", **values) -> Point:
    """A fresh restore point."""
    outcome = proxy.backup(spec, **values)
    assert outcome.point is not None, outcome.sentence
    return find_point(str(outcome.point), proxy.root)


def frozen(proxy, point: Point) -> list[Path]:
    """The lab's raw copies of the disks as the snapshot froze them, in the order of the manifest."""
    return [proxy.lab.frozen_image(point.manifest.snapshot.moref, disk.key) for disk in point.manifest.disk]


def same(left: Path, left_format: str, right: Path, right_format: str = "raw") -> None:
    """qemu-img finds both disks identical."""
    command = [require_tool("qemu-img"), "compare", "-f", left_format, "-F", right_format, left, right]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def assert_ledgers_closed() -> None:
    """Every ledger accounts for everything."""
    for _, entries in ledgers(StateDirectory.default().jobs):
        assert [str(entry) for entry in entries if entry.open and entry.kind != "job"] == []

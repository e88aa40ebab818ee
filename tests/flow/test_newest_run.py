"""Which run was the newest, and whether it left a point: retention holds everything after one that did not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.flow.ledger import Kind, Ledger
from engine.flow.newest_run import trouble_since

IDENTITY = ("vcenter", "vm-1")
POINT = datetime(2026, 11, 22, 2, 15, 3, tzinfo=UTC)


def run(jobs: Path, job: str, *, good: bool) -> None:
    (jobs / job).mkdir(parents=True)
    ledger = Ledger(jobs / job)
    ledger.intent(Kind.JOB, pid=1, vcenter=IDENTITY[0], vm=IDENTITY[1])
    number = ledger.intent(Kind.DIRECTORY, path="x")
    if good:
        ledger.left(number, "a restore point")
    else:
        ledger.undone(number)
    ledger.close()


@pytest.mark.parametrize("ids", [("aaaa", "bbbb"), ("bbbb", "aaaa")])
@pytest.mark.parametrize("good", [True, False])
def test_of_two_runs_in_one_second_the_later_counts(tmp_path: Path, ids: tuple[str, str], good: bool) -> None:
    run(tmp_path / "jobs", f"20261122T021503Z-{ids[0]}", good=not good)
    run(tmp_path / "jobs", f"20261122T021503Z-{ids[1]}", good=good)
    trouble = trouble_since(tmp_path / "jobs", tmp_path, IDENTITY, POINT)
    assert bool(trouble) is not good
    assert good or ids[1] in trouble


def test_runs_before_the_newest_point_do_not_count(tmp_path: Path) -> None:
    run(tmp_path / "jobs", "20261122T021502Z-aaaa", good=False)
    assert trouble_since(tmp_path / "jobs", tmp_path, IDENTITY, POINT) == ""

"""Plan and result at 80 columns, word for word, and no wider than the terminal at other widths."""

import pytest
from rich.cells import cell_len
from rich.text import Text

from tests.cli import shapes
from tui.cli import render

PLAN = """\
Plan for web01
  Inventory      /Tokyo/vm/Web/web01
  Object         vm-21, poweredOn
  Transport      nbdssl, compact
  Snapshot       automatic: A snapshot is created and removed at the end.
  Quiesce        auto; the guest can be quiesced
  Goes to        /srv/vcb/fullvm-web01-vm-21
  Space          at most 1.0 GiB needed, 20.0 GiB free (of which 1.0 GiB stay
                 free)

  Disk      Label         Capacity  Allocated   To move  Action
  scsi0:0   Hard disk 1   72.0 GiB    1.0 GiB   1.0 GiB  export
            [datastore1] web01/web01.vmdk, persistent
  scsi0:1   Hard disk 2   10.0 GiB    unknown         0  skip
            [datastore1] web01/web01_1.vmdk, independent persistent
            independent: an independent disk takes no part in snapshots
  2 disks, 1 skipped: 82.0 GiB provisioned, 1.0 GiB allocated, 1.0 GiB to move
  Snapshots of this VM
    "before update", 6 years old, foreign (snapshot-9)
  warning: The guest tools are old."""

SUMMARY = """\
COMPLETED WITH EXCEPTIONS  web01
  scsi0:1 (Hard disk 2) was skipped: an independent disk takes no part in
  snapshots.
  Transport      nbdssl
  Quiesce        quiesced (asked: auto)
  Snapshot       _VCB-BACKUP_ snapshot-31, removed
  Provisioned    82.0 GiB, of which 1.0 GiB allocated
  Read           1.0 GiB (1.2% of provisioned)
  Stored         412 MiB (40.2% of what was read)
  Restore point  /srv/vcb/fullvm-web01-vm-21

  Disk      Label         Capacity      Read    Stored        Time
  scsi0:0   Hard disk 1   72.0 GiB   1.0 GiB   412 MiB      10.5 s
            nbdssl, 97.5 MiB/s, web01.vmdk
  scsi0:1   Hard disk 2   10.0 GiB   skipped
            independent: an independent disk takes no part in snapshots
  Stages         lookup 0.1 s, export 10.6 s, remove snapshot 1 min 15 s
  warning: The guest tools are old."""

FAILURE = """\
FAILURE  web01
  error: Another task holds web01.
  fault: vim.fault.TaskInProgress
  what to do: Wait for it, or set MAX_RETRIES.
  Transport      nbdssl
  Quiesce        not reached (asked: auto)

  Disk      Label         Capacity      Read    Stored        Time
  scsi0:0   Hard disk 1   72.0 GiB   not exported
  scsi0:1   Hard disk 2   10.0 GiB   skipped
            independent: an independent disk takes no part in snapshots
  Stages         snapshot 0.3 s (failed)
  left behind: snapshot snapshot-31 of web01"""


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


@pytest.fixture(autouse=True)
def _the_snapshot_is_six_years_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "age", lambda created: "6 years old")


def test_plan_at_80_columns() -> None:
    assert text(render.plan(shapes.plan(), 80)) == PLAN


def test_the_run_tells_warnings_itself() -> None:
    assert "old." not in text(render.plan(shapes.plan(), 80, warnings=False))


def test_summary_at_80_columns() -> None:
    assert text(render.summary(shapes.outcome(), 80)) == SUMMARY


def test_failure_at_80_columns() -> None:
    assert text(render.summary(shapes.failed_outcome(), 80)) == FAILURE


def test_what_stands_in_the_way_is_told() -> None:
    shape = shapes.plan(
        error=shapes.FAULT,
        privileges_missing=[{"entity": "web01", "privilege": "VirtualMachine.State.CreateSnapshot"}],
        findings=[{"rule": "nbd-clear", "severity": "warning", "text": "Unencrypted.", "options": []}],
    )
    said = text(render.plan(shape, 80))
    assert "error: missing privilege VirtualMachine.State.CreateSnapshot on web01" in said
    assert "warning: Unencrypted." in said
    assert "fault: vim.fault.TaskInProgress" in said
    assert "what to do: Wait for it" in said


def test_an_outcome_without_a_plan_is_shown() -> None:
    shape = {"state": "failure", "sentence": "No.", "error": {"sentence": "No."}, "disks": [], "disks_skipped": []}
    assert text(render.summary(shape, 80)) == "FAILURE\n  error: No."


@pytest.mark.parametrize("width", [60, 80, 132])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    wide = shapes.disk(2002, "scsi0:2", "データベースのディスク", file="[ds] db/db.vmdk")
    plan = shapes.plan(vm="データベース", disks=[*shapes.plan()["disks"], wide])
    result = shapes.outcome(disks=[*shapes.outcome()["disks"], wide | {"files": []}])
    for line in [*render.plan(plan, width), *render.summary(result, width)]:
        assert cell_len(line.plain) <= width


def test_names_cannot_paint() -> None:
    shape = shapes.plan(vm="evil\x1b[2J", path="/x\x1b]0;y\x07")
    assert "\x1b" not in text(render.plan(shape, 80))

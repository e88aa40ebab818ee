"""Retention over a BACKUPROOT: the lock, the newest run, what became of things between the question and the answer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import BusyError, Cancelled
from engine.flow import retain
from engine.flow.ledger import FILE_NAME, Kind, Ledger
from engine.flow.locks import vm_lock
from engine.flow.retain import Removals, VmRetention
from engine.points import mount_point as mounts, proof as proofs
from engine.points.catalog import look
from engine.points.mount_point import Marker
from engine.points.naming import point_name
from engine.points.proof import Depth
from engine.points.removal import TOMBSTONE_PREFIX
from engine.reporter import silent
from engine.state_directory import StateDirectory
from tests.points.made import START, flip, home, small_point

LAST_TWO = Settings.of(KEEP_LAST=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def carry_out(plans: list[VmRetention], root: Path, state: StateDirectory, settings: Settings = LAST_TWO) -> Removals:
    return retain.carry_out(plans, settings, root, state, report=silent(), cancel=CancelToken())


def run(
    state: StateDirectory, at: datetime, *, vm: str = "vm-1", made_point: bool = False, pid: int | None = 7
) -> Path:
    """The ledger that a run leaves."""
    ledger = Ledger(state.job(f"{point_name(at)}-abcdef"))
    ledger.intent(Kind.JOB, vm=vm, vcenter="vc-1", **({"pid": pid} if pid else {}))
    number = ledger.intent(Kind.DIRECTORY, path="x")
    if made_point:
        ledger.left(number, "a restore point")
    else:
        ledger.undone(number)
    ledger.close()
    return ledger.path


def test_the_older_ones_go_and_the_catalogue_does_not_miss_them(root: Path, state: StateDirectory) -> None:
    points = [small_point(root, day) for day in range(5)]
    other = small_point(root, 0, "vm-2", name="db")
    plans = retain.plan(LAST_TWO, root, state)
    assert [(plan.vm, [point.directory for point in plan.going]) for plan in plans] == [
        ("db", []),
        ("web01", [points[2], points[1], points[0]]),
    ]
    done = carry_out(plans, root, state)
    assert (done.removed, done.errors) == ([points[2], points[1], points[0]], [])
    assert done.freed == sum(point.stored for point in plans[1].going)
    found = look(root, state.root)
    assert {point.directory for point in found.points} == {points[3], points[4], other}
    assert found.notices == ()
    assert carry_out(retain.plan(LAST_TWO, root, state), root, state).removed == []


def test_only_the_vms_asked_for(root: Path, state: StateDirectory) -> None:
    for day in range(4):
        small_point(root, day)
        small_point(root, day, "vm-2", name="db")
    plans = retain.plan(LAST_TWO, root, state, [("vc-1", "vm-2")])
    assert [plan.vm for plan in plans] == ["db"]
    carry_out(plans, root, state)
    assert len(list(home(root).iterdir())) == 4


def test_a_chain_goes_as_a_whole_or_not_at_all(root: Path, state: StateDirectory) -> None:
    full = small_point(root, 0)
    child = small_point(root, 1, parent=full)
    last = small_point(root, 2, parent=child)
    assert carry_out(retain.plan(Settings.of(KEEP_LAST=1), root, state), root, state).removed == []
    small_point(root, 3)
    once = Settings.of(KEEP_LAST=1)
    assert carry_out(retain.plan(once, root, state), root, state, once).removed == [last, child, full]


@pytest.mark.parametrize("trouble", ["failed", "partial", "unreadable ledger", "unreadable point", "damaged newest"])
def test_nothing_goes_while_the_newest_run_is_not_known_to_be_good(
    root: Path, state: StateDirectory, trouble: str
) -> None:
    points = [small_point(root, day) for day in range(4)]
    later = START + timedelta(days=3, hours=1)
    if trouble == "failed":
        run(state, later)
    elif trouble == "partial":
        marker = Marker(job="j", proxy="other", vcenter="vc-1", vm="vm-1", vm_name="web01", snapshot_policy="automatic",
                        contents=[])  # fmt: skip
        mounts.create(root / "fullvm-web01-vm-1.partial", marker)
    elif trouble == "unreadable ledger":
        run(state, later).write_text("{torn\n")
    elif trouble == "unreadable point":
        flip(points[0] / "manifest.toml", 3, 7)
    else:
        proofs.record(points[3], Depth.FILES, ["vm.vmx is missing."])
    plans = retain.plan(LAST_TWO, root, state)
    assert plans[0].going == ()
    assert all("nothing goes" in decision.reason for _, decision in plans[0].decisions)
    assert carry_out(plans, root, state).removed == []


def test_runs_that_say_nothing_against_it(root: Path, state: StateDirectory) -> None:
    """An older failure, a good run, another VM's failure, an unmount."""
    for day in range(4):
        small_point(root, day)
    run(state, START + timedelta(days=2, hours=1))
    run(state, START + timedelta(days=3, hours=1), vm="vm-9")
    run(state, START + timedelta(days=3, hours=2), pid=None)
    assert len(retain.plan(LAST_TWO, root, state)[0].going) == 2
    run(state, START + timedelta(days=3, hours=3))
    assert retain.plan(LAST_TWO, root, state)[0].going == ()
    run(state, START + timedelta(days=3, hours=4), made_point=True)
    assert len(retain.plan(LAST_TWO, root, state)[0].going) == 2


def test_a_run_that_failed_between_question_and_answer_counts(root: Path, state: StateDirectory) -> None:
    for day in range(4):
        small_point(root, day)
    plans = retain.plan(LAST_TWO, root, state)
    run(state, datetime.now(UTC))
    assert carry_out(plans, root, state).removed == []


def test_a_vm_that_is_being_backed_up_is_left_alone(root: Path, state: StateDirectory) -> None:
    for day in range(4):
        small_point(root, day)
        small_point(root, day, "vm-2", name="db")
    plans = retain.plan(LAST_TWO, root, state)
    with vm_lock(state, "vc-1", "vm-2", "j1"):
        done = carry_out(plans, root, state)
    assert [type(error) for error in done.errors] == [BusyError]
    assert {path.parent.name for path in done.removed} == {"web01-vm-1"}


def test_what_was_not_confirmed_does_not_go(root: Path, state: StateDirectory) -> None:
    points = [small_point(root, day) for day in range(4)]
    plans = retain.plan(LAST_TWO, root, state)
    small_point(root, 4)
    done = carry_out(plans, root, state)
    assert done.removed == []
    assert [type(error) for error in done.errors] == [BusyError]
    assert all(point.is_dir() for point in points)


def test_a_child_that_cannot_go_keeps_its_parent(root: Path, state: StateDirectory) -> None:
    full = small_point(root, 0)
    child = small_point(root, 1, parent=full)
    (child / "diary.txt").write_text("x")
    for day in (2, 3):
        small_point(root, day)
    done = carry_out(retain.plan(LAST_TWO, root, state), root, state)
    assert done.removed == []
    assert "diary.txt" in done.errors[0].sentence
    assert full.is_dir()


def test_a_manifest_cannot_point_the_lock_elsewhere(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    for day in range(3):
        small_point(root, day, "vm-1/../../../x", name="evil")
    plans = retain.plan(Settings.of(KEEP_LAST=1), root, state)
    done = carry_out(plans, root, state, Settings.of(KEEP_LAST=1))
    assert done.removed == []
    assert not list(tmp_path.glob("*.lock"))


def test_a_cut_off_removal_is_completed(root: Path, state: StateDirectory) -> None:
    point = small_point(root, 0)
    small_point(root, 1)
    point.rename(root / f"{TOMBSTONE_PREFIX}web01-vm-1-{point.name}")
    assert len(look(root, state.root).tombstones) == 1
    assert carry_out([], root, state) == Removals()
    assert look(root, state.root).tombstones == ()


def test_cancel_stops_between_two_points(root: Path, state: StateDirectory) -> None:
    for day in range(4):
        small_point(root, day)
    cancel = CancelToken()
    plans = retain.plan(LAST_TWO, root, state)
    cancel.cancel()
    with pytest.raises(Cancelled):
        retain.carry_out(plans, LAST_TWO, root, state, report=silent(), cancel=cancel)
    assert len(list(home(root).iterdir())) == 4


def test_the_ledger_of_these_tests_is_as_the_flow_writes_it(state: StateDirectory) -> None:
    path = run(state, START, made_point=True)
    assert path.name == FILE_NAME
    assert json.loads(path.read_text().splitlines()[-1])["fate"] == "left"

"""Merges between the nights of a VM of the lab: what is made on a merged point, and what is restored from one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.events import ResultState
from engine.flow import merge as merging
from engine.flow.reconcile.leftover import Verdict
from engine.flow.reconcile.reconcile import reconciling
from engine.flow.restore_plan import VmWish
from engine.flow.restore_to_vm import restore_vm
from engine.points import catalog, manifest as manifests, replacement
from engine.points.restore_files import find_point
from engine.state_directory import StateDirectory
from tests.flow.nights import Nights
from tests.restore.test_to_vm import assert_equal_disks


@pytest.fixture
def nights(proxy):
    return Nights(proxy, "web01")


def merged(nights: Nights, wanted) -> None:
    """`wanted` of the newest point, and the points that went forgotten."""
    state, proxy = StateDirectory.default(), nights.proxy
    catalogue = catalog.look(proxy.root, state.root)
    asked = wanted(catalogue, catalogue.points[-1])
    merging.merge_points(asked, proxy.settings(), proxy.root, state, report=proxy.report, cancel=CancelToken())
    gone = {point.directory for point in asked.absorbed}
    nights.points = [outcome for outcome in nights.points if outcome.point not in gone]


def days(nights: Nights, count: int) -> None:
    for _ in range(count):
        nights.busy_day(5)
        for key in nights.vm.disks:
            nights.vm.write(key, 3 << 20, nights.random.randbytes(70_000))
        nights.night(CHANGE_TRACKING="enable")


@pytest.mark.parametrize("how", ["merged", pytest.param("whole", marks=pytest.mark.exhaustive)])
def test_a_night_after_a_merge_is_incremental_and_restores_what_was_frozen(lab, nights, how):
    days(nights, 2)
    merged(nights, merging.parents_merge if how == "merged" else merging.whole)
    days(nights, 1)
    newest = nights.points[-1]
    assert [done.method.kind for done in newest.disks] == ["incremental", "incremental"]
    nights.compare_all()
    catalogue = catalog.look(nights.proxy.root, StateDirectory.default().root)
    assert len(catalogue.chain(catalogue.points[-1])) == 2  # counted anew, whatever the manifest says
    assert len(newest.disks[0].method.links) == 1
    for outcome in nights.points[-2:]:  # the point that was made of several, and the one made on it
        point = find_point(str(outcome.point), nights.proxy.root)
        wish = VmWish(name=f"back-{point.directory.name}")
        done = restore_vm(point, wish, nights.proxy.settings(), nights.proxy.report, CancelToken())
        assert done.state is ResultState.SUCCESS, done.sentence
        assert_equal_disks(lab, nights.proxy, point, done.moref)


def test_full_every_counts_the_chain_as_it_is(nights):
    days(nights, 3)
    merged(nights, merging.parents_merge)
    assert [done.method.kind for done in nights.proxy.backup("web01", FULL_EVERY=3).disks] == ["incremental"] * 2
    assert [done.method.kind for done in nights.proxy.backup("web01", FULL_EVERY=3).disks] == ["full"] * 2


def cut_off(nights: Nights, *, swapped: bool) -> Path:
    """A merge that dies before, or right after, the new point took its place."""
    with pytest.MonkeyPatch.context() as patch:
        swap = replacement.Replacement.swap
        patch.setattr(replacement.Replacement, "settle", lambda self, forget: False)

        def dies(self) -> None:
            if swapped:
                swap(self)
            raise KeyboardInterrupt

        patch.setattr(replacement.Replacement, "swap", dies)
        with pytest.raises(KeyboardInterrupt):
            merged(nights, merging.parents_merge)
    (work,) = replacement.directories(nights.proxy.root)
    return work


@pytest.mark.parametrize("swapped", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_a_backup_settles_a_merge_that_was_cut_off(nights, swapped):
    days(nights, 2)
    full, child = (outcome.point for outcome in nights.points)
    work = cut_off(nights, swapped=swapped)
    outcome = nights.proxy.backup("web01")
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert not work.exists()
    assert full.exists() is not swapped
    assert [disk.method.kind for disk in outcome.disks] == ["incremental"] * 2
    assert manifests.read(outcome.point).disk[0].parent == child.name
    nights.compare(outcome)
    assert f"{'Completed' if swapped else 'Undid'} the merge of {child}" in nights.proxy.log


def test_reconcile_settles_a_merge_that_was_cut_off(nights):
    days(nights, 2)
    full = nights.points[0].point
    work = cut_off(nights, swapped=True)
    never = nights.proxy.root / ".merging-never"
    never.mkdir()
    stranger = nights.proxy.root / ".merging-stranger"
    stranger.mkdir()
    (stranger / "file").write_bytes(b"whose?")
    scratch = nights.proxy.root / ".vcb-drill-dead"
    scratch.write_bytes(b"x")
    with reconciling(nights.proxy.settings(), nights.proxy.report, CancelToken()) as work_of:
        found = work_of.look()
        assert {each.id: each.verdict for each in found.shown} == {
            str(work): Verdict.OURS,
            str(never): Verdict.OURS,
            str(stranger): Verdict.UNPROVEN,
            str(scratch): Verdict.OURS,
        }
        assert work.exists()
        done = work_of.clean(found.to_clean)
    assert done.failed == []
    assert sorted(path.name for path in nights.proxy.root.iterdir()) == [stranger.name, "points"]
    assert not full.exists()
    nights.points = nights.points[1:]
    nights.compare_all()


def test_reconcile_leaves_a_merge_at_work_alone(nights):
    days(nights, 2)
    work = cut_off(nights, swapped=False)
    plan = replacement.read(work).plan
    holder = (
        "import sys\nfrom pathlib import Path\nfrom engine.flow.locks import vm_lock\n"
        "from engine.state_directory import StateDirectory\n"
        "with vm_lock(StateDirectory.default(), sys.argv[1], sys.argv[2], 'merging'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holder, plan.vcenter, plan.vm]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with reconciling(nights.proxy.settings(), nights.proxy.report, CancelToken()) as reconcile:
            found = {each.id: each.verdict for each in reconcile.look().shown}
        assert process.stdin is not None
        process.stdin.close()
    assert found == {str(work): Verdict.RUNNING}
    assert work.exists()

"""SNAPSHOT_POLICY, PREEXISTING_VCB_SNAPSHOT and PREEXISTING_MOUNTPOINT on the lab: what is done, what stays."""

import pytest

from engine.errors import PolicyError
from engine.events import ResultState
from engine.points import mount_point as mounts
from engine.points.naming import mount_point
from engine.state_directory import StateDirectory
from engine.vsphere.snapshots import SNAPSHOT_NAME, OwnershipToken
from tests.flow.checks import assert_nothing_left, backup_snapshots, compare_with_frozen
from tests.flow.test_policies import CELLS, REFUSED


@pytest.fixture
def vm(proxy):
    return proxy.vm("web01")


def token_of(context, machine, **changes) -> str:
    fields = {
        "job": "earlier", "proxy": StateDirectory.default().proxy_id,
        "vcenter": context.lab.vsphere.instance_uuid, "vm": machine.id,
    }  # fmt: skip
    return OwnershipToken(**{**fields, **changes}).to_description()


@pytest.mark.parametrize(("policy", "existing", "preexisting"), CELLS)
def test_every_cell_on_the_lab(proxy, vm, policy, existing, preexisting):
    vm.take_snapshot("somebody's own", "before the upgrade")
    before = [vm.take_snapshot(SNAPSHOT_NAME, token_of(proxy, vm)).id for _ in range(existing)]
    outcome = proxy.backup(SNAPSHOT_POLICY=policy, PREEXISTING_VCB_SNAPSHOT=preexisting)
    after = backup_snapshots(proxy)
    expected = CELLS[policy, existing, preexisting]
    assert "somebody's own" in [snapshot.name for snapshot in vm.snapshots]
    if expected == REFUSED:
        assert isinstance(outcome.error, PolicyError)
        assert after == before
        assert proxy.leftovers() == []
        return
    removed_first, created, used, removed_after = expected
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    if used:
        assert outcome.snapshot == before[0]
    assert len(after) == existing - removed_first + created - removed_after
    compare_with_frozen(proxy.lab, outcome)


@pytest.mark.parametrize("description", ["", "left by another product"])
@pytest.mark.parametrize("policy", ["automatic", "createonly", "deleteonly"])
def test_a_backup_snapshot_that_is_not_provably_ours_is_never_removed(proxy, vm, policy, description):
    stranger = vm.take_snapshot(SNAPSHOT_NAME, description).id
    outcome = proxy.backup(SNAPSHOT_POLICY=policy, PREEXISTING_VCB_SNAPSHOT="delete")
    assert isinstance(outcome.error, PolicyError)
    assert f"--adopt {stranger}" in outcome.error.hint
    assert backup_snapshots(proxy) == [stranger]


@pytest.mark.parametrize("change", [{"proxy": "another"}, {"vcenter": "another"}, {"vm": "vm-999"}])
def test_a_token_of_another_proxy_vcenter_or_vm_proves_nothing(proxy, vm, change):
    stranger = vm.take_snapshot(SNAPSHOT_NAME, token_of(proxy, vm, **change)).id
    outcome = proxy.backup(PREEXISTING_VCB_SNAPSHOT="delete")
    assert isinstance(outcome.error, PolicyError)
    assert backup_snapshots(proxy) == [stranger]


def test_the_operators_word_makes_it_removable(proxy, vm):
    stranger = vm.take_snapshot(SNAPSHOT_NAME, "left by another product").id
    outcome = proxy.backup(PREEXISTING_VCB_SNAPSHOT="delete", adopt=stranger)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    assert_nothing_left(proxy)


def test_createonly_then_deleteonly(proxy):
    first = proxy.backup(SNAPSHOT_POLICY="createonly")
    assert backup_snapshots(proxy) == [first.snapshot]
    second = proxy.backup(SNAPSHOT_POLICY="deleteonly")
    assert second.snapshot == first.snapshot
    assert second.state is ResultState.SUCCESS, second.sentence
    assert_nothing_left(proxy)


class TestMountPoint:
    """PREEXISTING_MOUNTPOINT x (nothing, ours, a stranger's directory, a symlink)."""

    @pytest.fixture
    def path(self, proxy, vm):
        return proxy.root / mount_point("web01", vm.id)

    @pytest.mark.parametrize("value", ["fail", "delete"])
    def test_nothing_there(self, proxy, path, value):
        assert proxy.mount(PREEXISTING_MOUNTPOINT=value).point == path

    def test_ours_and_fail(self, proxy, path):
        mounted = proxy.mount()
        again = proxy.mount()
        assert isinstance(again.error, PolicyError)
        assert f"vcb unmount {path}" in again.error.hint
        assert backup_snapshots(proxy) == [mounted.snapshot]
        assert path.is_dir()

    def test_ours_and_delete_takes_its_snapshot_along(self, proxy, path):
        mounted = proxy.mount()
        again = proxy.mount(PREEXISTING_MOUNTPOINT="delete")
        assert again.state is ResultState.SUCCESS, again.sentence
        assert again.point == path
        assert backup_snapshots(proxy) == [again.snapshot] != [mounted.snapshot]

    def test_a_partial_one_of_a_dead_job_counts(self, proxy, path, vm):
        marker = mounts.Marker(
            job="dead", proxy=StateDirectory.default().proxy_id, vcenter=proxy.lab.vsphere.instance_uuid,
            vm=vm.id, vm_name="web01", snapshot_policy="automatic", contents=["scsi0-0.vmdk"],
        )  # fmt: skip
        mounts.create(mounts.partial(path), marker)
        (mounts.partial(path) / "scsi0-0.vmdk").write_bytes(b"half")
        assert isinstance(proxy.backup().error, PolicyError)
        assert mounts.partial(path).exists()
        assert proxy.backup(PREEXISTING_MOUNTPOINT="delete").state is ResultState.SUCCESS
        assert_nothing_left(proxy)

    @pytest.mark.parametrize("value", ["fail", "delete"])
    def test_a_strangers_directory_stays(self, proxy, path, value):
        path.mkdir()
        (path / "precious").write_text("data")
        outcome = proxy.backup(PREEXISTING_MOUNTPOINT=value)
        assert isinstance(outcome.error, PolicyError)
        assert (path / "precious").read_text() == "data"
        assert backup_snapshots(proxy) == []

    @pytest.mark.parametrize("value", ["fail", "delete"])
    def test_a_symlink_stays_and_its_target_too(self, proxy, path, value, tmp_path):
        target = tmp_path / "elsewhere"
        target.mkdir()
        (target / "precious").write_text("data")
        path.symlink_to(target)
        outcome = proxy.backup(PREEXISTING_MOUNTPOINT=value)
        assert isinstance(outcome.error, PolicyError)
        assert path.is_symlink()
        assert (target / "precious").read_text() == "data"
        assert backup_snapshots(proxy) == []

    def test_ours_with_a_strangers_file_inside_stays_whole(self, proxy, path):
        mounted = proxy.mount()
        (path / "notes.txt").write_text("mine")
        outcome = proxy.backup(PREEXISTING_MOUNTPOINT="delete")
        assert isinstance(outcome.error, PolicyError)
        assert "notes.txt" in outcome.sentence
        assert (path / "notes.txt").exists()
        assert (path / "manifest.toml").exists()
        assert mounted.point == path


class TestUnmount:
    def test_removes_directory_and_snapshot(self, proxy):
        mounted = proxy.mount()
        assert backup_snapshots(proxy) == [mounted.snapshot]
        outcome = proxy.unmount(mounted.point)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        assert outcome.snapshot_fate == "removed"
        assert_nothing_left(proxy)

    def test_takes_a_bare_name_in_backuproot(self, proxy):
        mounted = proxy.mount()
        assert proxy.unmount(mounted.point.name).state is ResultState.SUCCESS
        assert_nothing_left(proxy)

    def test_createonly_keeps_the_snapshot(self, proxy):
        mounted = proxy.mount(SNAPSHOT_POLICY="createonly")
        outcome = proxy.unmount(mounted.point)
        assert "createonly" in outcome.snapshot_fate
        assert backup_snapshots(proxy) == [mounted.snapshot]

    def test_refuses_what_is_not_ours(self, proxy, tmp_path):
        stranger = proxy.root / "stranger"
        stranger.mkdir()
        assert isinstance(proxy.unmount(stranger).error, PolicyError)
        assert isinstance(proxy.unmount(tmp_path).error, PolicyError)
        (proxy.root / "link").symlink_to(tmp_path)
        assert isinstance(proxy.unmount(proxy.root / "link").error, PolicyError)
        assert stranger.exists()

    def test_a_restore_point_is_not_a_mount_point(self, proxy):
        outcome = proxy.backup()
        assert isinstance(proxy.unmount(outcome.point).error, PolicyError)
        assert outcome.point.exists()


def test_hotadd_needs_equal_values_and_manual_contradicts_delete(proxy):
    for values in (
        {"TRANSPORT_MODE": "hotadd", "PREEXISTING_MOUNTPOINT": "delete"},
        {"SNAPSHOT_POLICY": "manual", "PREEXISTING_MOUNTPOINT": "delete"},
    ):
        outcome = proxy.backup(**values)
        assert outcome.state is ResultState.FAILURE
        assert outcome.error.code == "config"
        assert_nothing_left(proxy)
